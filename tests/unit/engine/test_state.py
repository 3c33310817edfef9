"""What a partition's states do beside computing values: skipping, encoding, evicting, refusing."""

from __future__ import annotations

import numpy as np
import pytest

from freshet.engine.events import EventBatch
from freshet.engine.layout import Layout, LayoutError
from freshet.engine.reader import Reader
from freshet.engine.state import Applied, PartitionState, Write
from freshet.spec.definition import Aggregate
from tests.unit.engine.build import (
    DAY,
    EVERY,
    HOUR,
    HOUR_WINDOW,
    MINUTE,
    T0,
    WEEK_WINDOW,
    batch,
    definition,
    feature,
)

DEFINITION = definition(
    feature(Aggregate.COUNT, HOUR_WINDOW, EVERY),
    feature(Aggregate.COUNT, WEEK_WINDOW, EVERY),
    feature(Aggregate.SUM),
    feature(Aggregate.SESSION_COUNT, of=EVERY, gap_ms=30 * MINUTE),
)
LAYOUT = Layout(DEFINITION)


def apply(states: PartitionState, rows: EventBatch) -> Applied:
    missing = states.missing(rows.keys)
    states.load(missing, [None] * len(missing))
    return states.apply(rows, np.ones(len(rows), np.bool_))


def encode(states: PartitionState, *keys: str, **options: int) -> list[Write]:
    return states.encode(states.slots(keys), **options)


def read(key: str, blob: bytes, now: int) -> dict[str, float]:
    columns = Reader(DEFINITION, LAYOUT).read([key], [blob], T0 + now).columns
    return {name: float(column.values[0]) for name, column in columns.items()}


def test_events_at_or_below_the_applied_offset_are_skipped() -> None:
    states = PartitionState(DEFINITION, LAYOUT)
    apply(states, batch([("a", 0), ("b", 1), ("a", 2)]))
    again = apply(states, batch([("a", 0), ("b", 1), ("a", 2), ("b", 3)]))
    assert again.applied.tolist() == [False, False, False, True]
    assert again.skipped.tolist() == [True, True, True, False]
    assert read("a", encode(states, "a")[0].blob, 10)["count_1h"] == 2


def test_a_hot_entity_writes_only_its_front() -> None:
    states = PartitionState(DEFINITION, LAYOUT)
    apply(states, batch([("a", 0), ("a", 2 * MINUTE)]))
    first = encode(states, "a")[0]
    apply(states, batch([("a", 2 * MINUTE + 1)], offset=2))
    front = encode(states, "a")[0]
    apply(states, batch([("a", 3 * MINUTE)], offset=3))
    closed = encode(states, "a")[0]
    apply(states, batch([("a", 1)], offset=4))
    late = encode(states, "a")[0]
    assert [w.whole for w in (first, front, closed, late)] == [True, False, True, True]
    assert len(front.blob) == LAYOUT.front_bytes < front.length == len(first.blob)
    patched = front.blob + first.blob[len(front.blob) :]
    assert read("a", patched, HOUR - MINUTE)["count_1h"] == 3
    assert read("a", late.blob, HOUR - MINUTE)["count_1h"] == 5


def test_a_state_is_written_whole_when_its_ttl_is_to_be_renewed() -> None:
    states = PartitionState(DEFINITION, LAYOUT)
    apply(states, batch([("a", 0)]))
    encode(states, "a", now_ms=1000)
    apply(states, batch([("a", 1)], offset=1))
    assert not encode(states, "a", now_ms=1500, renew_before_ms=1000)[0].whole
    apply(states, batch([("a", 2)], offset=2))
    assert encode(states, "a", now_ms=2500, renew_before_ms=1001)[0].whole


def test_evicted_entities_come_back_as_they_were_and_their_slots_are_used_again() -> None:
    states = PartitionState(DEFINITION, LAYOUT, slots=2)
    apply(states, batch([("a", 0, 5.0), ("b", 1, 7.0)]))
    stored = {w.key: w.blob for w in encode(states, "a", "b")}
    states.evict(states.slots(["a"]))
    assert states.missing(["a", "b"]) == ["a"]
    apply(states, batch([("c", 2, 1.0)], offset=2))
    assert read("c", encode(states, "c")[0].blob, 10)["sum"] == 1
    states.load(["a"], [stored["a"]])
    apply(states, batch([("a", 3, 2.0)], offset=3))
    assert read("a", encode(states, "a")[0].blob, 10) == {"count_1h": 2, "count_7d": 2, "sum": 7, "session_count": 1}
    assert read("b", encode(states, "b")[0].blob, 10)["sum"] == 7


def test_late_and_too_late_events_are_counted() -> None:
    states = PartitionState(DEFINITION, LAYOUT)
    apply(states, batch([("a", 0)]))
    applied = apply(states, batch([("a", -HOUR - 1), ("a", -9 * DAY), ("a", 5)], offset=1))
    tally = applied.tally
    assert (tally.late, tally.too_late, tally.left_out_of_sessions) == (2, 1, 2)
    values = read("a", encode(states, "a")[0].blob, 10)
    assert (values["count_1h"], values["count_7d"], values["sum"]) == (2, 3, 4)


def test_tiles_stay_within_twice_the_least_number() -> None:
    states = PartitionState(DEFINITION, LAYOUT)
    for i in range(3000):
        apply(states, batch([("a", i * 17 * MINUTE)], offset=i))
    # 7 days by the hour and one hour by the minute, and 17 minutes apart at most one tile an event.
    assert states.table.tiles is not None
    assert states.table.tiles.count[0] < 2 * (7 * 24 + 60)


@pytest.mark.parametrize("damage", ["short", "long", "format", "layout"])
def test_a_blob_of_another_layout_is_refused(damage: str) -> None:
    states = PartitionState(DEFINITION, LAYOUT)
    apply(states, batch([("a", 0)]))
    blob = encode(states, "a")[0].blob
    other = {
        "short": blob[:-8],
        "long": blob + bytes(8),
        "format": b"\x09" + blob[1:],
        "layout": blob[:4] + b"\x00\x00\x00\x00" + blob[8:],
    }[damage]
    with pytest.raises(LayoutError, match=r"expected"):
        PartitionState(DEFINITION, LAYOUT).load(["a"], [other])
    with pytest.raises(LayoutError, match=r"expected"):
        Reader(DEFINITION, LAYOUT).read(["a"], [other], T0)


def test_definitions_of_other_meaning_have_other_layouts() -> None:
    other = definition(*DEFINITION.features[:-1], feature(Aggregate.SESSION_COUNT, of=EVERY, gap_ms=MINUTE))
    assert Layout(other).checksum != LAYOUT.checksum
    assert Layout(definition(*DEFINITION.features)).checksum == LAYOUT.checksum


def test_an_erasure_forgets_what_came_before_it_once() -> None:
    states = PartitionState(DEFINITION, LAYOUT)
    apply(states, batch([("b", 0), ("b", 1), ("a", 2), ("a", 3)]))
    slots = states.slots(["a", "b"])
    reset = states.erase(slots, np.array([3, 2]))
    assert reset.tolist() == [False, True], "a has an event behind it: whoever applied that knew of the erasure"
    assert states.empty(slots).tolist() == [False, True]
    again = apply(states, batch([("b", 1), ("b", 2), ("b", 3)], offset=1))
    assert again.skipped.tolist() == [True, True, False]
    (write,) = encode(states, "b")
    assert write.whole
    assert read("b", write.blob, 10)["count_1h"] == 1


def test_events_that_come_a_few_tiles_late_make_the_tiles_that_they_make_in_order() -> None:
    times = [0, 5 * MINUTE, 2 * MINUTE, 4 * MINUTE, 5 * MINUTE + 1, 3 * MINUTE, 4 * MINUTE + 1, 1, 2 * MINUTE + 1]
    rows: list[tuple[list[list[float]], list[int]]] = []
    for order in (times, sorted(times)):
        for together in (True, False):
            states = PartitionState(DEFINITION, LAYOUT)
            events = [("a", t) for t in order]
            for first in range(0, len(events), len(events) if together else 1):
                part = events[first:] if together else events[first : first + 1]
                apply(states, batch(part, offset=first))
            _, tiles, counts, _ = states.table.gather(states.rows(states.slots(["a"])))
            rows.append((tiles.tolist(), counts.tolist()))
    assert rows[0][1] == [5]
    assert all(one == rows[0] for one in rows[1:])


def test_a_row_that_was_given_back_is_taken_again_after_the_tiles_were_packed() -> None:
    states = PartitionState(DEFINITION, LAYOUT, slots=2)
    apply(states, batch([(f"e{i}", i) for i in range(1_000)]))
    assert states.table.tiles is not None
    before, offset = len(states.table.tiles.data), 1_000
    states.evict(states.resident())
    for _ in range(2_000):
        if len(states.table.tiles.data) < before:
            break
        apply(states, batch([("a", 0)], offset=offset))
        states.evict(states.resident())
        offset += 1
    assert len(states.table.tiles.data) < before, "packed"
    apply(states, batch([(f"f{i}", i) for i in range(1_000)], offset=offset))
    assert {read(key, write.blob, 2_000)["count_1h"] for key, write in _written(states)} == {1}


def _written(states: PartitionState) -> list[tuple[str, Write]]:
    return [(write.key, write) for write in states.encode(states.resident())]
