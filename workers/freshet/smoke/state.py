"""What the checks of one run share: clients, the time left, and what earlier checks have found."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from freshet.smoke import manifests
from freshet.smoke.deadline import Deadline
from freshet.smoke.events import Plan
from freshet.smoke.http import Answer, Client
from freshet.smoke.options import METRICS_URL, Options
from freshet.smoke.report import NotChecked, ProbeFailed
from freshet.spec.definition import FeatureSet

PREFIX = "freshet-smoke-"
"""Of every synthetic entity's key."""


@dataclass(slots=True)
class Sent:
    """What ingest has acknowledged."""

    plan: Plan
    last: float
    """time.monotonic() of the last acknowledgement."""


class Run:
    """The state of one run. Raises ConfigurationError, ManifestError for options that cannot be used."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.deadline = Deadline(options.timeout_seconds)
        self.key = PREFIX + secrets.token_hex(6)
        self.ingest = Client("ingest", "--ingest", options.ingest, self.deadline)
        self.serving = Client("serving", "--serving", options.serving, self.deadline)
        urls = options.metrics or (METRICS_URL,)
        self.metrics = [Client("the metrics port", "--metrics", url, self.deadline) for url in urls]
        self.given = manifests.read(options.manifests)
        self.down: set[str] = set()
        """URLs that have not answered at the start: nobody waits for them again."""
        self.sent: Sent | None = None
        self.readable_seconds: float | None = None
        """From the last acknowledgement until everything was readable."""
        self.chosen: str | None = None
        """The FeatureSet that is looked at, once it is known."""
        self._failure = ""
        self._catalogue: list[dict[str, Any]] | None = None
        self._details: dict[str, Any] | None = None

    def close(self) -> None:
        """Closes all connections."""
        for client in (self.ingest, self.serving, *self.metrics):
            client.close()

    def need(self, client: Client) -> Client:
        """The client. Raises NotChecked where it is down."""
        if client.url in self.down:
            raise NotChecked(f"{client.name} does not answer (see 1)")
        return client

    def catalogue(self) -> list[dict[str, Any]]:
        """What is served, in short. Raises NotChecked; ProbeFailed the first time that it is not had."""
        if self._failure:
            raise NotChecked(self._failure)
        if self._catalogue is None:
            try:
                self._catalogue = _list_of(self.need(self.serving).get("/featuresets"))
            except ProbeFailed as error:
                raise self._remembered(error) from None
        return self._catalogue

    def empty(self) -> bool:
        """Whether serving answers and has no FeatureSet."""
        try:
            return not self.catalogue()
        except (NotChecked, ProbeFailed):
            return False

    def _remembered(self, error: ProbeFailed) -> ProbeFailed:
        """One cause is one failure: what needs the same later is skipped."""
        self._failure = f"{error} (has failed before)"
        return error

    def name(self) -> str:
        """The FeatureSet to look at: the one asked for, else the first of the manifests that is served, else the first.

        Raises NotChecked where none is served, ProbeFailed where that one is not.
        """
        names = [str(one.get("name")) for one in self.catalogue()]
        asked = self.options.featureset
        if asked is not None and asked not in names:
            sentence = f'serving has no FeatureSet "{asked}"; it has {", ".join(names) or "none"}'
            raise self._remembered(ProbeFailed(sentence, "apply its manifest, or give another name with --featureset"))
        if not names:
            raise NotChecked("no FeatureSet is applied yet")
        self.chosen = asked or next((one.name for one in self.given if one.name in names), names[0])
        return self.chosen

    def details(self) -> dict[str, Any]:
        """The catalogue's entry of the FeatureSet, with features. Raises NotChecked, ProbeFailed."""
        if self._details is None:
            answer = self.serving.get("/featuresets/" + quote(self.name(), safe=""))
            found = answer.json()
            if answer.status != 200 or not {"name", "revision", "entity", "source", "features"} <= set(found):
                sentence = f"GET /featuresets/{self.name()} answers {answer.said()}"
                raise self._remembered(ProbeFailed(sentence, "see serving's log; is --serving the right URL?"))
            self._details = found
        return self._details

    def definition(self) -> FeatureSet | None:
        """The FeatureSet of the manifests given that means what is served; None where none does."""
        return self._given(self.details())

    def beside(self) -> list[FeatureSet]:
        """Where the FeatureSet is re-keyed: those that read its events as they come in, and must be able to.

        Raises NotChecked where the manifest of one is not given.
        """
        origin = self.details()["source"].get("origin")
        entries = [one for one in self.catalogue() if origin is not None and one["source"]["topic"] == origin]
        found = {one["name"]: self._given(one) for one in entries}
        unknown = [name for name, given in found.items() if given is None]
        if unknown:
            raise NotChecked(
                f"its events come in on topic {origin}, which {', '.join(unknown)} reads too and would refuse events"
                " without its fields; give that manifest, too, with --manifest"
            )
        return [given for given in found.values() if given is not None]

    def _given(self, entry: dict[str, Any]) -> FeatureSet | None:
        wanted = (entry["name"], entry["revision"])
        return next((one for one in self.given if (one.name, one.definition.revision) == wanted), None)

    def read(self, key: str, *, bounds: bool = False) -> Answer:
        """GET /features/{key} of the FeatureSet."""
        query = f"?featureset={quote(self.name(), safe='')}{'&bounds=true' if bounds else ''}"
        return self.need(self.serving).get(f"/features/{quote(key, safe='')}{query}")

    def post(self, body: bytes, content_type: str = "application/json") -> Answer:
        """POST /ingest to the FeatureSet's topic; once more after a second where ingest asks for patience."""
        path = f"/ingest?featureset={quote(self.name(), safe='')}"
        answer = self.need(self.ingest).post(path, body, content_type)
        if answer.status in (429, 503) and self.deadline.left > 2:
            time.sleep(1)
            answer = self.ingest.post(path, body, content_type)
        return answer


def _list_of(answer: Answer) -> list[dict[str, Any]]:
    if answer.status in (404, 503) and answer.error()[0] not in ("", "not_found", "unexpected"):
        return []  # a service without a FeatureSet may say so instead of giving an empty list
    found = answer.json()
    listed = found.get("featuresets") if isinstance(found, dict) else None
    if answer.status != 200 or not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        sentence = f"{answer.url} answers {answer.said()} and no list of FeatureSets"
        raise ProbeFailed(sentence, "this is not Freshet's serving: check --serving")
    return listed
