"""Events into ingest, a plain account of them, and what serving must say: computed here without Freshet."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from tests.e2e.cluster import Door

Object = dict[str, Any]

EXPECTED = ("activity_count_24h", "purchase_amount_24h", "purchase_largest_24h", "purchase_last")
"""Features that both the example and `featureset` have."""
_BATCH = 5000
_PAST_SECONDS = 3600


def featureset(namespace: str, name: str, **spec: Any) -> Object:
    """A small FeatureSet with a topic and an entity of its own; `spec` replaces fields."""
    purchase = "event_type = 'purchase'"
    given: Object = {
        "version": "v1",
        "entity": {"name": name.replace("-", "_"), "key": "user_id"},
        "source": {
            "topic": f"{namespace}.{name}",
            "partitions": 4,
            "retention": "3d",
            "fields": {"event_type": {"type": "string", "required": True}, "amount": {"type": "double"}},
        },
        "features": [
            {"name": "activity_count", "aggregate": "count", "windows": ["24h"]},
            {"name": "purchase_amount", "aggregate": "sum", "of": "amount", "where": purchase, "windows": ["24h"]},
            {"name": "purchase_largest", "aggregate": "max", "of": "amount", "where": purchase, "windows": ["24h"]},
            {"name": "purchase_last", "aggregate": "last", "of": "amount", "where": purchase},
        ],
        "output": {"topic": f"{namespace}.{name}.features"},
        "processor": {"minReplicas": 1, "maxReplicas": 1},
    }
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "freshet.dev/v1alpha1", "kind": "FeatureSet", "metadata": meta, "spec": {**given, **spec}}


@dataclass
class Account:
    """What was sent of each user of one FeatureSet."""

    ingest: Door
    serving: Door
    featureset: str
    entity: str
    users: int = 20
    amounts: dict[str, list[int]] = field(default_factory=dict)
    """User → amounts in the order of event time."""

    def __post_init__(self) -> None:
        self._prefix = uuid.uuid4().hex[:8]
        self._sent = 0
        # Old enough for any difference between clocks, and each later than the one before.
        self._begun_ms = int((time.time() - _PAST_SECONDS) * 1000)

    def send(self, count: int, seconds: float = 120) -> None:
        """Sends so many purchases, whole amounts, until all are acknowledged: again with the same ids if need be."""
        while count > 0:
            events = [self._event() for _ in range(min(count, _BATCH))]
            self._deliver(events, seconds)
            count -= len(events)

    def _event(self) -> Object:
        number = self._sent
        self._sent += 1
        user, amount = f"{self._prefix}-{number % self.users}", 1 + number * 7919 % 500
        self.amounts.setdefault(user, []).append(amount)
        at = datetime.fromtimestamp((self._begun_ms + number) / 1000, UTC)
        return {
            "event_id": f"{self._prefix}-{number}",
            "user_id": user,
            "event_type": "purchase",
            "amount": amount,
            "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }

    def _deliver(self, events: list[Object], seconds: float) -> None:
        end = time.monotonic() + seconds
        path = f"/ingest?featureset={quote(self.featureset)}"
        while True:
            answer = self.ingest.request("POST", path, events, max(1.0, end - time.monotonic()))
            if answer.status_code == 202:
                rejected = answer.json()["rejected"]
                assert not rejected, rejected[:3]
                return
            told = f"ingest: {answer.status_code} {answer.text[:500]}"
            assert answer.status_code in (404, 429, 503), told  # 404: this pod has not heard of the FeatureSet yet
            assert time.monotonic() < end, told
            time.sleep(0.5)

    def expected(self) -> dict[str, Object]:
        """User → feature → value."""
        return {
            user: dict(zip(EXPECTED, (len(amounts), sum(amounts), max(amounts), amounts[-1]), strict=True))
            for user, amounts in self.amounts.items()
        }

    def wrong(self) -> str:
        """Empty: every user's features are as expected; else what is not."""
        for user, expected in self.expected().items():
            answer = self.serving.request("GET", self.path(user), seconds=30)
            if answer.status_code != 200:
                return f"{user}: {answer.status_code} {answer.text[:300]}"
            served = {name: entry["value"] for name, entry in answer.json()["features"].items()}
            if served != expected:
                return f"{user}: {served} instead of {expected}"
        return ""

    def path(self, user: str) -> str:
        """Of a read of the expected features."""
        query = f"entity={quote(self.entity)}&featureset={quote(self.featureset)}&features={','.join(EXPECTED)}"
        return f"/features/{quote(user, safe='')}?{query}"

    def check(self, seconds: float = 60) -> float:
        """Waits until every value is right; returns how long that took."""
        begun = time.monotonic()
        while told := self.wrong():
            assert time.monotonic() - begun < seconds, f"not within {seconds:g} s: {told}"
            time.sleep(0.3)
        return time.monotonic() - begun
