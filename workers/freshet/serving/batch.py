"""`POST /features:batch`: many entities in one answer, as rows or as columns.

An entity whose partition is not complete does not spoil the others: its row says `error` instead of `features`.
Only where no entity at all can be answered is the whole answer a 503.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from freshet.engine.vectors import plain
from freshet.serving import keys
from freshet.serving.catalogue import Served
from freshet.serving.documents import STALE, PartTexts, window_bounds
from freshet.serving.problems import Problem, invalid, near, shown
from freshet.serving.reads import Answers, Reads
from freshet.serving.recall import Recall
from freshet.serving.selection import Part, Selection, Selector
from freshet.serving.timestamps import rfc3339
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
    return [keys.from_json(value, f"entities[{index}]") for index, value in enumerate(given)]


async def answer(batch: Batch, reads: Reads, recall: Recall | None = None) -> bytes:
    """The JSON body. Raises Problem (503) if no entity can be answered."""
    distinct = list(dict.fromkeys(batch.entities))
    answers = await reads.read({part.served: distinct for part in batch.selection.parts})
    if recall is not None:
        await recall.recall(answers)
    problems = {key: problem for key in distinct if (problem := _problem(batch.selection, answers, key))}
    if len(problems) == len(distinct):
        raise next(iter(problems.values()))
    return (_columns if batch.columns else _rows)(batch, answers, problems)


def _problem(selection: Selection, answers: Mapping[Served, Answers], key: str) -> Problem | None:
    found = (answers[part.served].problems.get(key) for part in selection.parts)
    return next((problem for problem in found if problem), None)


def _rows(batch: Batch, answers: Mapping[Served, Answers], problems: Mapping[str, Problem]) -> bytes:
    selection = batch.selection
    texts = {
        (part, index): PartTexts(part, vectors, index in answers[part.served].stale)
        for part in selection.parts
        for index, vectors in enumerate(answers[part.served].vectors)
    }
    name = msgspec.json.encode(selection.key)
    rows = []
    for key in batch.entities:
        if key in problems:
            said = b'"error":' + msgspec.json.encode(problems[key].error())
        else:
            members = []
            for part in selection.parts:
                index, row = answers[part.served].rows[key]
                members.append(texts[part, index].members(row, selection.bounds))
            stale = any(answers[part.served].is_stale(key) for part in selection.parts)
            said = b'"features":{%b}%b' % (b",".join(members), STALE if stale else b"")
        rows.append(b"{%b:%b,%b}" % (name, msgspec.json.encode(key), said))
    return b'{"results":[%b]}' % b",".join(rows)


def _columns(batch: Batch, answers: Mapping[Served, Answers], problems: Mapping[str, Problem]) -> bytes:
    """One list a feature, in the order of the entities; null and an entry in `errors` where there is a problem."""
    features: dict[str, list[Any]] = {}
    computed_at: dict[str, list[str | None]] = {}
    windows: dict[str, Any] = {}
    stale: dict[str, list[bool]] = {}
    for part in batch.selection.parts:
        found = answers[part.served]
        places = [None if key in problems else found.rows[key] for key in batch.entities]
        features.update(column_values(part, found, places))
        times = [int(found.vectors[place[0]].q_ms[place[1]]) if place else None for place in places]
        computed_at[part.served.name] = [None if q_ms is None else rfc3339(q_ms) for q_ms in times]
        windows.update(_windows(part, times))
        if found.stale:
            marks = [key not in problems and found.is_stale(key) for key in batch.entities]
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


def column_values(part: Part, found: Answers, places: Sequence[tuple[int, int] | None]) -> dict[str, list[Any]]:
    """Plain values of each of the part's features at some places, by label; None where there is no place."""
    columns = {}
    for name, label in zip(part.names, part.labels, strict=True):
        kind = part.served.features[name].type
        lists = [plain(vectors.columns[name], kind) for vectors in found.vectors]
        columns[label] = [None if place is None else lists[place[0]][place[1]] for place in places]
    return columns
