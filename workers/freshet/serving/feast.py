"""`POST /get-online-features`: Feast's wire contract, so that an unmodified Feast SDK reads Freshet.

A feature view is a FeatureSet, a reference is `view:feature` or `view@version:feature`, and a feature service is a
FeatureSet with all its features. Statuses are the true ones, columns come in the requested order, and a request's
mistake is 404 or 422, which the SDK reports at once, never 500, which it would try again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from freshet.runtime.timestamps import rfc3339
from freshet.serving import keys
from freshet.serving.batch import MAX_ENTITIES, column_values
from freshet.serving.catalogue import Catalogue, Served
from freshet.serving.problems import Problem, shown, unknown
from freshet.serving.reads import Answers, Reads
from freshet.serving.recall import Recall
from freshet.serving.selection import Part

EPOCH = "1970-01-01T00:00:00Z"
"""What Feast gives as event time of a join key."""

_ERRORS = {"unknown_featureservice": "FeatureServiceNotFoundException"}


@dataclass(frozen=True, slots=True)
class Column:
    """One requested feature."""

    served: Served
    feature: str
    label: str


@dataclass(frozen=True, slots=True)
class Question:
    """A checked body."""

    columns: tuple[Column, ...]
    entities: Mapping[str, list[str]]
    """join key → keys, one a row."""
    given: Mapping[str, list[Any]]
    """join key → the values as they were sent: the answer repeats them."""
    versions: bool
    """Whether the answer names the versions of the views."""


class Invalid(Exception):
    """A body that Feast's contract does not allow: 422."""

    def __init__(self, where: Sequence[str | int], message: str) -> None:
        super().__init__(message)
        self.where = ["body", *where]

    def body(self) -> bytes:
        """FastAPI's own form, which the SDK expects of a 422."""
        return msgspec.json.encode({"detail": [{"type": "value_error", "loc": self.where, "msg": str(self)}]})


def problem_body(problem: Problem) -> bytes:
    """A FeastError: a JSON string that holds JSON, from which the SDK rebuilds the exception."""
    name = _ERRORS.get(problem.code, "FeatureViewNotFoundException" if problem.status == 404 else "FeastError")
    inner = {"module": "feast.errors", "class": name, "message": problem.message}
    return msgspec.json.encode(msgspec.json.encode(inner).decode())


def parse(body: Mapping[str, Any], catalogue: Catalogue) -> Question:
    """Raises Invalid (422), or Problem (404) for an unknown view, version or service."""
    full = _flag(body, "full_feature_names")
    columns = _columns(body, catalogue, full)
    _no_collision(columns)
    given = _join_keys(body.get("entities"), columns)
    entities = {name: _checked(name, values) for name, values in given.items()}
    return Question(columns, entities, given, _flag(body, "include_feature_view_version_metadata"))


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise Invalid([name], "must be true or false")
    return bool(value)


def _columns(body: Mapping[str, Any], catalogue: Catalogue, full: bool) -> tuple[Column, ...]:
    catalogue.require_any()
    service = body.get("feature_service")
    if service is not None:
        if not isinstance(service, str):
            raise Invalid(["feature_service"], "must be a string")
        if service not in catalogue.served:
            raise unknown("FeatureService", service, catalogue.served)
        served = catalogue.served[service]
        return tuple(_column(served, name, full) for name in served.features)
    references = body.get("features")
    if not isinstance(references, list) or not references:
        raise Invalid(["features"], "must name at least one feature as view:feature, or feature_service must be given")
    return tuple(_reference(given, index, catalogue, full) for index, given in enumerate(references))


def _reference(given: object, index: int, catalogue: Catalogue, full: bool) -> Column:
    where: list[str | int] = ["features", index]
    if not isinstance(given, str) or given.count(":") != 1:
        raise Invalid(where, "must be view:feature or view@version:feature")
    view, _, feature = given.partition(":")
    name, _, version = view.partition("@")
    served = catalogue.find(name, version or None)
    if feature not in served.features:
        raise Invalid(where, str(unknown("feature", feature, served.features, f" in the view {shown(name)}")))
    return _column(served, feature, full)


def _column(served: Served, feature: str, full: bool) -> Column:
    return Column(served, feature, f"{served.name}__{feature}" if full else feature)


def _no_collision(columns: Sequence[Column]) -> None:
    seen: set[str] = set()
    for column in columns:
        if column.label in seen:
            message = f"the feature name {shown(column.label)} comes twice; set full_feature_names or ask for it once"
            raise Invalid(["features"], message)
        seen.add(column.label)


def _join_keys(entities: object, columns: Sequence[Column]) -> dict[str, list[Any]]:
    """The columns of `entities` that the views need; others are ignored but for their length."""
    if not isinstance(entities, dict) or not entities:
        raise Invalid(["entities"], "must be an object of join key to list of values")
    lengths = set()
    for name, values in entities.items():
        if not isinstance(values, list):
            raise Invalid(["entities", name], "must be a list of values")
        lengths.add(len(values))
    if len(lengths) != 1:
        raise Invalid(["entities"], "all lists must have the same length")
    if not 0 < max(lengths) <= MAX_ENTITIES:
        raise Invalid(["entities"], f"must have 1 to {MAX_ENTITIES} rows")
    needed = dict.fromkeys(column.served.definition.key for column in columns)
    for name in needed:
        if name not in entities:
            raise Invalid(["entities"], f"the join key {name!r} is missing")
    return {name: entities[name] for name in needed}


def _checked(name: str, values: Sequence[object]) -> list[str]:
    found = []
    for index, value in enumerate(values):
        try:
            found.append(keys.from_json(value, f"entities.{name}[{index}]"))
        except Problem as problem:
            raise Invalid(["entities", name, index], problem.message) from None
    return found


async def answer(question: Question, reads: Reads, recall: Recall | None = None) -> bytes:
    """The JSON body. Raises Problem (503) if one of the entities cannot be answered: Feast knows no error of a row."""
    wanted = {c.served: list(dict.fromkeys(question.entities[c.served.definition.key])) for c in question.columns}
    answers = await reads.read(wanted)
    if recall is not None:
        await recall.recall(answers)
    for found in answers.values():
        if found.problems:
            raise next(iter(found.problems.values()))
    results = [_join_result(values) for values in question.given.values()]
    views = {served: _View(served, answers[served], question) for served in wanted}
    results += [views[column.served].result(column.feature) for column in question.columns]
    names = [*question.given, *(column.label for column in question.columns)]
    metadata: dict[str, Any] = {"feature_names": names}
    if question.versions:
        metadata["feature_view_metadata"] = [_version(served) for served in wanted]
    return msgspec.json.encode({"results": results, "metadata": metadata})


def _join_result(values: list[Any]) -> dict[str, Any]:
    return {"values": values, "statuses": ["PRESENT"] * len(values), "event_timestamps": [EPOCH] * len(values)}


class _View:
    """The columns of one view in an answer."""

    def __init__(self, served: Served, found: Answers, question: Question) -> None:
        names = tuple(dict.fromkeys(c.feature for c in question.columns if c.served is served))
        places = [found.rows[key] for key in question.entities[served.definition.key]]
        self._values = column_values(Part(served, names, names), places)
        self._known = [bool(block.vectors.newest_ms[row] >= 0) for block, row in places]
        self._stale = [block.stale for block, _ in places]
        self._times = [rfc3339(int(block.vectors.q_ms[row])) for block, row in places]

    def result(self, feature: str) -> dict[str, Any]:
        values = self._values[feature]
        statuses = [
            _status(value, known, stale) for value, known, stale in zip(values, self._known, self._stale, strict=True)
        ]
        return {"values": values, "statuses": statuses, "event_timestamps": self._times}


def _status(value: object, known: bool, stale: bool) -> str:
    if stale:  # the value is there, but nobody vouches that it still holds
        return "OUTSIDE_MAX_AGE"
    return "NOT_FOUND" if not known else "NULL_VALUE" if value is None else "PRESENT"


def _version(served: Served) -> dict[str, Any]:
    """Feast's versions are whole numbers; a version that is none is left out, as Feast leaves out 0."""
    number = re.fullmatch(r"v?([0-9]{1,9})", served.version)
    return {"name": served.name} | ({"version": int(number[1])} if number else {})
