"""`POST /features:batch`: many entities in one answer, as rows or as columns.

An entity whose partition is not complete does not spoil the others: its row says `error` instead of `features`.
Only where no entity at all can be answered is the whole answer a 503.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from freshet.runtime.timestamps import rfc3339
from freshet.serving import keys
from freshet.serving.catalogue import Served
from freshet.serving.documents import Block, Documents, window_bounds
from freshet.serving.problems import Problem, invalid, near, shown
from freshet.serving.reads import Answers, Reads
from freshet.serving.recall import Recall
from freshet.serving.selection import Part, Selection, Selector
from freshet.spec.definition import AggregateFeature

MAX_ENTITIES = 1000
FIELDS = ("entities", "features", "entity", "featureset", "version", "bounds", "format")


@dataclass(frozen=True, slots=True)
class Batch:
    """A checked body."""

    selection: Selection
    entities: list[str]
    """In the request's order; repeats are answered as often as they are asked."""
    columns: bool


def parse(body: Mapping[str, Any], selector: Selector) -> Batch:
    """Raises Problem: 400 for a wrong body, 404 for unknown names."""
    for name in body:
        if name not in FIELDS:
            message = f"no field {shown(name)}; there is {', '.join(FIELDS)}"
            raise Problem(400, "unknown_field", message, near(name, FIELDS))
    features = body.get("features")
    if features is not None and not _is_texts(features):
        raise invalid("bad_field", "features: a list of names, or leave it out for all")
    fields = {name: body[name] for name in ("entity", "featureset", "version") if body.get(name) is not None}
    if not _is_texts(list(fields.values())):
        raise invalid("bad_field", "entity, featureset and version are strings")
    bounds = body.get("bounds", False)
    if not isinstance(bounds, bool):
        raise invalid("bad_field", "bounds: true or false")
    form = body.get("format", "rows")
    if form not in ("rows", "columns"):
        raise invalid("bad_field", "format: 'rows' or 'columns'")
    return Batch(selector.select(fields, features, bounds), _entities(body.get("entities")), form == "columns")


def _is_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _entities(given: object) -> list[str]:
    if not isinstance(given, list) or not given:
        raise invalid("bad_field", "entities: a list of at least one entity key is required")
    if len(given) > MAX_ENTITIES:
        raise invalid("too_many_entities", f"entities: {len(given)} given, at most {MAX_ENTITIES} at a time")
    return keys.all_from_json(given, "entities")


async def answer(batch: Batch, reads: Reads, recall: Recall | None = None) -> bytes:
    """The JSON body. Raises Problem (503) if no entity can be answered."""
    distinct = list(dict.fromkeys(batch.entities))
    answers = await reads.read({part.served: distinct for part in batch.selection.parts})
    if recall is not None:
        await recall.recall(answers)
    problems: dict[str, Problem] = {}
    for found in reversed(answers.values()):  # of two problems of a key the first FeatureSet's is told
        problems |= found.problems
    if len(problems) == len(distinct):
        raise problems[distinct[0]]
    return (_columns if batch.columns else _rows)(batch, answers, problems)


def _rows(batch: Batch, answers: Mapping[Served, Answers], problems: Mapping[str, Problem]) -> bytes:
    found = [answers[part.served].rows for part in batch.selection.parts]
    documents = Documents(batch.selection, b'{"results":[', b",")
    for key in batch.entities:
        if key in problems:
            documents.add_error(key, problems[key].error())
        else:
            documents.add(key, [rows[key] for rows in found])
    return documents.text(b"]}")


def _columns(batch: Batch, answers: Mapping[Served, Answers], problems: Mapping[str, Problem]) -> bytes:
    """One list a feature, in the order of the entities; null and an entry in `errors` where there is a problem."""
    features: dict[str, list[Any]] = {}
    computed_at: dict[str, list[str | None]] = {}
    windows: dict[str, Any] = {}
    stale: dict[str, list[bool]] = {}
    for part in batch.selection.parts:
        found = answers[part.served]
        places = [None if key in problems else found.rows[key] for key in batch.entities]
        features.update(column_values(part, places))
        times = [int(place[0].vectors.q_ms[place[1]]) if place else None for place in places]
        computed_at[part.served.name] = [None if q_ms is None else rfc3339(q_ms) for q_ms in times]
        windows.update(_windows(part, times))
        marks = [place is not None and place[0].stale for place in places]
        if any(marks):
            stale[part.served.name] = marks
    said: dict[str, Any] = {batch.selection.key: batch.entities, "features": features, "computed_at": computed_at}
    if batch.selection.bounds:
        said["windows"] = windows
    if stale:
        said["stale"] = stale
    said["errors"] = [
        {"index": index, **problems[key].error()} for index, key in enumerate(batch.entities) if key in problems
    ]
    return msgspec.json.encode(said)


def _windows(part: Part, times: Sequence[int | None]) -> dict[str, Any]:
    """Start and end of each windowed feature's window for every row, by label."""
    found = {}
    for name, label in zip(part.names, part.labels, strict=True):
        feature = part.served.features[name]
        if isinstance(feature, AggregateFeature) and feature.window is not None:
            spans = [None if q_ms is None else window_bounds(feature.window, q_ms) for q_ms in times]
            found[label] = {
                "start": [span and rfc3339(span[0]) for span in spans],
                "end": [span and rfc3339(span[1]) for span in spans],
            }
    return found


def column_values(part: Part, places: Sequence[tuple[Block, int] | None]) -> dict[str, list[Any]]:
    """Plain values of each of the part's features at some places, by label; None where there is no place."""
    columns = {}
    for name, label in zip(part.names, part.labels, strict=True):
        kind = part.served.features[name].type
        columns[label] = [None if place is None else place[0].column(name, kind)[place[1]] for place in places]
    return columns
