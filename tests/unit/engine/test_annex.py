"""The parts of a state without a fixed width: what their sketches promise, what a limit does, how they are stored."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Sequence

import numpy as np
import pytest

from freshet.engine.accumulators import Events
from freshet.engine.aggregates import distinct, percentile
from freshet.engine.column import Column
from freshet.engine.events import EventBatch
from freshet.engine.layout import FORMAT, Layout, LayoutError
from freshet.engine.reader import Reader
from freshet.engine.state import PartitionState
from freshet.spec.definition import Aggregate, Definition, Input
from freshet.spec.expr.tree import Name, Type
from tests.unit.engine.build import AMOUNT, EVERY, HOUR, HOUR_WINDOW, MINUTE, T0, WEEK_WINDOW, definition, feature

KIND = Input(Name("kind", Type.TEXT), None)
DISTINCT = feature(Aggregate.DISTINCT, HOUR_WINDOW, KIND, kind=Type.INTEGER)
EVERYTHING = definition(
    DISTINCT,
    feature(Aggregate.DISTINCT, None, AMOUNT, kind=Type.INTEGER),
    feature(Aggregate.MODE, HOUR_WINDOW, KIND, kind=Type.TEXT),
    feature(Aggregate.PERCENTILE, HOUR_WINDOW, quantile=0.5),
    feature(Aggregate.LAST_N, WEEK_WINDOW, KIND, n=3, kind=Type.LIST),
    feature(Aggregate.LAST, HOUR_WINDOW, KIND, kind=Type.TEXT),
    feature(Aggregate.FIRST, None, KIND, kind=Type.TEXT),
    feature(Aggregate.COUNT, HOUR_WINDOW, EVERY),
)


def events(rows: Sequence[tuple[int, str | None, float]], *, offset: int = 0) -> EventBatch:
    """Rows of (ms after T0, kind, amount) of the entity `a`."""
    kinds = np.empty(len(rows), object)
    kinds[:] = [kind or "" for _, kind, _ in rows]
    valid = np.array([kind is not None for _, kind, _ in rows], np.bool_)
    t = np.array([T0 + at for at, _, _ in rows], np.int64)
    fields = {"kind": Column(kinds, valid), "amount": Column(np.array([amount for _, _, amount in rows], np.float64))}
    offsets = np.arange(offset, offset + len(rows))
    return EventBatch(offsets, t, t, ["a"] * len(rows), [None] * len(rows), fields)


def states_of(made: Definition, batches: Sequence[EventBatch]) -> tuple[PartitionState, list[bool], int]:
    """The state after all batches, whether each was written whole, and how many entities became coarser."""
    states = PartitionState(made, Layout(made))
    states.load(["a"], [None])
    whole, coarser = [], 0
    for one in batches:
        coarser += states.apply(one, np.ones(len(one), np.bool_)).tally.coarser
        [write] = states.encode(states.slots(["a"]))
        whole.append(write.whole)
    return states, whole, coarser


def blob_of(states: PartitionState) -> bytes:
    [write] = states.encode(states.slots(["a"]), renew_before_ms=1)
    return write.blob


def read(made: Definition, blob: bytes, now: int) -> dict[str, object]:
    columns = Reader(made, Layout(made)).read(["a"], [blob], T0 + now).columns
    return {name: column.values.tolist()[0] if column.mask()[0] else None for name, column in columns.items()}


def test_an_erasure_forgets_it_too() -> None:
    rows: list[tuple[int, str | None, float]] = [(0, "b", 1.0), (MINUTE, "a", 2.0), (2 * MINUTE, "c", 3.0)]
    states, _, _ = states_of(EVERYTHING, [events(rows)])
    states.erase(states.slots(["a"]), np.array([3]))
    later = events([(3 * MINUTE, "d", 5.0)], offset=4)
    states.apply(later, np.ones(1, np.bool_))
    fresh, _, _ = states_of(EVERYTHING, [later])
    assert read(EVERYTHING, blob_of(states), 0) == read(EVERYTHING, blob_of(fresh), 0)


def test_each_window_holds_its_own_and_texts_are_given_back() -> None:
    rows = [(0, "b", 1.0), (MINUTE, "a", 2.0), (2 * MINUTE, None, 2.0), (90 * MINUTE, "ü" * 300, 5.0)]
    states, _, _ = states_of(EVERYTHING, [events(rows)])
    blob = blob_of(states)
    early, late, idle = (read(EVERYTHING, blob, at) for at in (0, 90 * MINUTE + 1, 300 * MINUTE))
    assert early["distinct_1h"] == late["distinct_1h"] == 1  # a read is never older than the newest event
    assert late["mode_1h"] == "ü" * 256
    assert late["last_n_7d"] == ["ü" * 256, "a", "b"]
    assert idle == {
        "distinct_1h": 0,
        "distinct": 3,
        "mode_1h": None,
        "percentile_1h": None,
        "last_n_7d": ["ü" * 256, "a", "b"],
        "last_1h": None,
        "first": "b",
        "count_1h": 0,
    }


def test_mode_takes_the_most_frequent_then_the_smallest_bytes() -> None:
    made = definition(feature(Aggregate.MODE, HOUR_WINDOW, KIND, kind=Type.TEXT))
    states, _, _ = states_of(made, [events([(i, kind, 0.0) for i, kind in enumerate("zzbaab")])])
    assert read(made, blob_of(states), MINUTE) == {"mode_1h": "a"}
    many, _, _ = states_of(made, [events([(i, f"k{i % 65}", 0.0) for i in range(130)])])
    assert read(made, blob_of(many), MINUTE) == {"mode_1h": None}


def test_a_known_value_writes_only_the_front() -> None:
    made = definition(feature(Aggregate.DISTINCT, WEEK_WINDOW, KIND, kind=Type.INTEGER), feature(Aggregate.COUNT))
    batches = [events([(0, "a", 1.0)]), events([(1, "a", 1.0)], offset=1), events([(2, "b", 1.0)], offset=2)]
    _, whole, _ = states_of(made, batches)
    assert whole == [True, False, True]


@pytest.mark.parametrize("count", [64, 65, 1000, 30_000])
def test_distinct_is_exact_to_64_and_then_within_five_standard_errors(count: int) -> None:
    made = definition(feature(Aggregate.DISTINCT, HOUR_WINDOW, KIND, kind=Type.INTEGER))
    rows = [(i % (30 * MINUTE), f"value {i}", 0.0) for i in range(count)]
    whole, _, _ = states_of(made, [events(rows)])
    cut, _, _ = states_of(made, [events(rows[i : i + 7000], offset=i) for i in range(0, count, 7000)])
    value = read(made, blob_of(whole), 30 * MINUTE)["distinct_1h"]
    assert isinstance(value, float)
    assert value == read(made, blob_of(cut), 30 * MINUTE)["distinct_1h"]
    assert abs(value - count) <= (0 if count <= 64 else 5 * 1.04 / 32 * count)


def test_the_error_of_distinct_is_what_is_said() -> None:
    """Over 200 sketches of 2,000 values each: the root of the mean square is 3.3 %, and there is no bias."""
    values = np.random.default_rng(1).random(200 * 2000)
    run = np.repeat(np.arange(200), 2000)
    rows = np.column_stack((np.full(len(values), -1.0), values))
    merged, owner = distinct.Distinct(AMOUNT).merge(rows, run, np.zeros(200, np.int64))
    got = distinct.estimated(merged, owner, np.arange(200), np.full(200, distinct.PRECISION)) / 2000 - 1
    assert 0.022 < np.sqrt(np.mean(got**2)) < 0.039
    assert abs(np.mean(got)) < 0.008


def test_a_sketch_made_coarser_is_the_sketch_made_coarse() -> None:
    part = distinct.Distinct(AMOUNT)
    values = np.random.default_rng(2).random(3000)
    rows, run = np.column_stack((np.full(3000, -1.0), values)), np.zeros(3000, np.int64)
    fine, fine_run = part.merge(rows, run, np.zeros(1, np.int64))
    for level in range(1, 7):
        coarse = part.merge(rows, run, np.array([level]))[0]
        assert part.merge(fine, fine_run, np.array([level]))[0].tolist() == coarse.tolist()
        assert len(coarse) <= 2 ** distinct.precision(np.array([level]))[0]


def test_percentiles_are_within_a_hundredth_of_any_value() -> None:
    values = np.concatenate((np.logspace(-9, 15, 20_001), -np.logspace(-9, 15, 20_001), [0.0, 1e-10, 1e300]))
    part = percentile.Buckets(AMOUNT)
    size = len(values)
    seen = np.ones(size, np.bool_)
    rows = part.lift(dataclasses.replace(_EVENTS, value=values, seen=seen, t=values, offset=values))
    words, _, _ = part.pack(rows, np.zeros(size, np.int64), 1)
    again, _ = part.unpack(words, np.zeros(size, np.int64), np.zeros(size, np.int64))
    assert again.tolist() == rows.tolist()
    found = percentile.value_of(rows[:, 0], np.zeros(size, np.int64))
    want = np.where(np.abs(values) < 1e-9, 0.0, np.clip(values, -1e15, 1e15))
    assert (np.abs(found - want) <= 0.0100001 * np.abs(want)).all()


_EVENTS = Events(np.zeros(0), np.zeros(0, np.bool_), np.zeros(0), np.zeros(0))


def many_kinds(count: int) -> list[tuple[int, str | None, float]]:
    return [(i * 1000 % (50 * MINUTE), f"a rather long kind {i}", float(1.1**i)) for i in range(count)]


LIMITED = dataclasses.replace(EVERYTHING, entity_bytes=16_384)


def test_beyond_its_limit_an_entity_is_counted_once_and_its_sets_are_sketches() -> None:
    states, _, coarser = states_of(LIMITED, [events(many_kinds(300)), events(many_kinds(300), offset=300)])
    assert coarser == 1
    blob = blob_of(states)
    assert len(blob) < 2 * 16_384
    got = read(LIMITED, blob, 50 * MINUTE)
    assert got["mode_1h"] is None
    assert got["distinct_1h"] == pytest.approx(300, rel=0.5)
    assert got["last_n_7d"] == [f"a rather long kind {i}" for i in (299, 299, 298)]


def test_what_a_limit_does_depends_on_the_log_alone() -> None:
    rows = many_kinds(300)
    blobs = set()
    for step in (3, 50, 300):
        batches = [events(rows[i : i + step], offset=i) for i in range(0, len(rows), step)]
        states, _, coarser = states_of(LIMITED, batches)
        assert coarser == 1
        blobs.add(str(read(LIMITED, blob_of(states), 50 * MINUTE)))
    assert len(blobs) == 1


def test_texts_that_nothing_refers_to_are_dropped() -> None:
    made = definition(feature(Aggregate.LAST, None, KIND, kind=Type.TEXT))
    states, _, _ = states_of(made, [events([(i, f"text {i}", 0.0)], offset=i) for i in range(100)])
    blob = blob_of(states)
    assert read(made, blob, MINUTE) == {"last": "text 99"}
    assert len(blob) < 400


def test_an_erased_entity_has_no_annex() -> None:
    states, _, _ = states_of(EVERYTHING, [events([(0, "a", 1.0), (1, "b", 2.0)])])
    slots = states.slots(["a"])
    assert states.erase(slots, np.array([2])).all()
    states.apply(events([(2, "c", 3.0)], offset=3), np.ones(1, np.bool_))
    got = read(EVERYTHING, blob_of(states), MINUTE)
    assert (got["distinct_1h"], got["mode_1h"], got["last_n_7d"], got["first"]) == (1, "c", ["c"], "c")


def test_format_1_is_read_where_there_is_no_annex() -> None:
    made = definition(feature(Aggregate.COUNT, HOUR_WINDOW, EVERY))
    states, _, _ = states_of(made, [events([(0, "a", 1.0)])])
    blob = blob_of(states)
    assert struct.unpack_from("<H", blob) == (FORMAT,)
    old = struct.pack("<H", 1) + blob[2:]
    assert read(made, old, HOUR - MINUTE) == read(made, blob, HOUR - MINUTE) == {"count_1h": 1.0}
    with pytest.raises(LayoutError, match="format 3"):
        read(made, struct.pack("<H", 3) + blob[2:], 0)


def test_an_annex_where_none_may_be_is_refused() -> None:
    made = definition(feature(Aggregate.COUNT, HOUR_WINDOW, EVERY))
    states, _, _ = states_of(made, [events([(0, "a", 1.0)])])
    blob = bytearray(blob_of(states) + bytes(8))
    struct.pack_into("<I", blob, 8, len(blob))
    with pytest.raises(LayoutError):
        read(made, bytes(blob), 0)
