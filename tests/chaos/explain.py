"""The shortest log that shows a wrong value: which events of the entity it counts twice or leaves out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from freshet.dev.oracle.compare import Difference
from freshet.dev.oracle.log import Log
from freshet.dev.oracle.run import Oracle, Reads
from freshet.engine.column import Ints
from freshet.spec.definition import AggregateFeature
from tests.chaos.schedule import Applied
from tests.chaos.verdict import Wrong

_MOST_TRIES = 400
_SHOWN = 12
_AROUND_SECONDS = 6.0
_COUNTER = "ever"


def explain(oracle: Oracle, logs: Mapping[int, Log], wrong: Sequence[Wrong], applied: Sequence[Applied]) -> str:
    """Sentences for a person about the first wrong read."""
    first = wrong[0]
    same = [w for w in wrong if _read(w) == _read(first)]
    log = of_entity(logs[first.partition], first.difference.entity, first.upto)
    found = explanation(oracle, log, same)
    if found is None:
        what, at = "no run of its events, left out or counted twice, explains it; its newest events are", None
        chosen = np.flatnonzero(log.accepted(oracle.definition))[-_SHOWN:]
    else:
        what, at = found
        chosen = at
    lines = [
        f"{first.what} of {first.difference.entity!r}, partition {first.partition}, q {first.difference.q_ms}: {what}"
    ]
    lines += [f"    {_event(log, i)}" for i in chosen[:_SHOWN].tolist()]
    lines += [f"    … {len(chosen) - _SHOWN} more, to {_event(log, int(chosen[-1]))}"] if len(chosen) > _SHOWN else []
    near = [a for a in applied if len(chosen) and _near(a, log.broker_ms[chosen])]
    return "\n".join([*lines, "  faults around them:", *(f"    {_clock(a.began)} {a}" for a in near)])


def explanation(oracle: Oracle, log: Log, wrong: Sequence[Wrong]) -> tuple[str, Ints] | None:
    """What happened to which records of an entity's log, if that makes every one of these values SQL's."""
    counted = [w.difference for w in wrong if w.difference.feature == _COUNTER]
    if not counted or counted[0].engine is None or counted[0].sql is None:
        return None
    more = int(float(counted[0].engine) - float(counted[0].sql))
    events = np.flatnonzero(log.accepted(oracle.definition))
    for run in _runs(events, abs(more)):
        other = doubled(log, run) if more > 0 else without(log, run)
        if _explains(oracle, other, wrong):
            how = "counted twice" if more > 0 else "left out"
            return f"as if {len(run)} of its {len(events)} events had been {how}:", run
    return None


def of_entity(log: Log, entity: str, upto: int) -> Log:
    """The records of one entity below an offset."""
    at = np.flatnonzero((log.offset < upto) & np.array([key == entity for key in log.keys], np.bool_))
    return _take(log, at)


def without(log: Log, run: Ints) -> Log:
    """The log as if some records were not there."""
    return _take(log, np.setdiff1d(np.arange(len(log)), run))


def doubled(log: Log, run: Ints) -> Log:
    """The log as if some records stood in it twice, each time as an event of its own."""
    every = np.concatenate([np.arange(len(log)), run])
    order = np.argsort(every, kind="stable")
    ids = [log.event_ids[every[i]] if i < len(log) else None for i in order.tolist()]
    return replace(_take(log, every[order]), event_ids=ids)


def _take(log: Log, at: Ints) -> Log:
    return Log(
        log.offset[at],
        log.broker_ms[at],
        log.event_ms[at],
        [log.keys[i] for i in at.tolist()],
        [log.event_ids[i] for i in at.tolist()],
        {name: column.take(at) for name, column in log.fields.items()},
        log.malformed[at],
        log.erase[at],
    )


def _runs(events: Ints, size: int) -> Iterator[Ints]:
    """Runs of that many events, the newest first: what is lost in a fault lies together."""
    if 0 < size <= len(events):
        for start in range(len(events) - size, max(-1, len(events) - size - _MOST_TRIES), -1):
            yield events[start : start + size]


def _explains(oracle: Oracle, log: Log, wrong: Sequence[Wrong]) -> bool:
    one = wrong[0]
    reads = Reads([one.difference.entity], np.array([one.upto], np.int64), np.array([one.difference.q_ms], np.int64))
    values = oracle.values(log, reads)
    return all(
        _agrees(values.columns[w.difference.feature].values[0], w.difference) for w in wrong if _aggregate(oracle, w)
    )


def _aggregate(oracle: Oracle, wrong: Wrong) -> bool:
    names = {f.name for f in oracle.definition.features if isinstance(f, AggregateFeature)}
    return wrong.difference.feature in names


def _agrees(value: float, difference: Difference) -> bool:
    engine = 0.0 if difference.engine is None else float(difference.engine)
    return abs(float(value) - engine) <= max(1e-6, 1e-6 * abs(engine))


def _read(wrong: Wrong) -> tuple[str, str, int, int]:
    return wrong.what, wrong.difference.entity, wrong.difference.q_ms, wrong.upto


def _near(applied: Applied, broker_ms: Ints) -> bool:
    began, ended = applied.began - _AROUND_SECONDS, applied.ended + _AROUND_SECONDS
    return bool(((broker_ms / 1000 >= began) & (broker_ms / 1000 <= ended)).any())


def _event(log: Log, i: int) -> str:
    record = log.record(i)
    told = f"offset {record.offset} at {_clock(record.broker_ms / 1000)}, t {_clock(record.t / 1000)}"
    return f"{told}, {record.event_id} {dict(record.fields)}"


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds * 1000) % 1000:03d}"
