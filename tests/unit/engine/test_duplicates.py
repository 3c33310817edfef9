"""The duplicate filter against its own definition, one record at a time (design §5, §6.9)."""

from __future__ import annotations

import itertools
from collections.abc import Collection

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.engine.duplicates import DuplicateFilter, event_hashes
from freshet.engine.hashtable import ABSENT, Hashes, HashTable

SPAN = 90_000

records = st.lists(
    st.tuples(
        st.integers(-30_000, 60_000),  # broker time moves by this, sometimes back
        st.integers(0, 5),  # which event id; 0: none
        st.booleans(),  # whether the record is valid
        st.integers(1, 3),  # offsets have gaps
    ),
    max_size=60,
)


def by_definition(rows: list[tuple[int, int, int, bool]]) -> list[bool]:
    """Accepted or not, for (offset, broker_ms, id, valid): the sentence of design §5, word for word."""
    accepted: dict[int, int] = {}
    out: list[bool] = []
    log_time = -1
    for _, broker_ms, event_id, valid in rows:
        log_time = max(log_time, broker_ms)
        duplicate = event_id in accepted and accepted[event_id] >= log_time - SPAN
        out.append(valid and not (event_id and duplicate))
        if out[-1]:
            accepted[event_id] = log_time
    return out


def rows_of(drawn: list[tuple[int, int, bool, int]]) -> list[tuple[int, int, int, bool]]:
    out, offset, broker_ms = [], 0, 1_800_000_000_000
    for step, event_id, valid, gap in drawn:
        offset, broker_ms = offset + gap, broker_ms + step
        out.append((offset, broker_ms, event_id, valid))
    return out


def feed(seen: DuplicateFilter, rows: list[tuple[int, int, int, bool]], gone: Collection[int] = ()) -> list[bool]:
    """Of the ids in `gone` nothing but the hashes is left."""
    every = [i for i, row in enumerate(rows) if row[3]]
    valid = [i for i in every if rows[i][2] not in gone]
    hashes = hashes_of(rows, valid)
    bare = [i for i in every if rows[i][2] in gone]
    others = (np.array(bare, np.int64), hashes_of(rows, bare)) if bare else None
    accepted = seen.accept(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        np.array(valid, np.int64),
        hashes,
        others,
    )
    out = [False] * len(rows)
    for i, good in zip(valid, accepted.tolist(), strict=True):
        out[i] = good
    return out


def hashes_of(rows: list[tuple[int, int, int, bool]], at: list[int]) -> Hashes:
    return event_hashes(["user"] * len(at), [str(rows[i][2]) if rows[i][2] else None for i in at])


@given(records, st.integers(0, 60), st.sets(st.integers(1, 5)))
def test_hashes_alone_count_as_the_events_that_they_are_of(
    drawn: list[tuple[int, int, bool, int]], cut: int, gone: set[int]
) -> None:
    rows = rows_of(drawn)
    seen, expected = DuplicateFilter(SPAN), by_definition(rows)
    asked = [row[2] not in gone for row in rows[:cut]]
    assert feed(seen, rows[:cut], gone) == [a and e for a, e in zip(asked, expected, strict=False)]
    assert feed(seen, rows[cut:]) == expected[cut:]


@given(records, st.lists(st.integers(0, 60), max_size=4))
def test_any_cut_into_batches_accepts_what_the_definition_accepts(
    drawn: list[tuple[int, int, bool, int]], cuts: list[int]
) -> None:
    rows = rows_of(drawn)
    seen, got = DuplicateFilter(SPAN), []
    edges = [0, *sorted(c for c in cuts if c < len(rows)), len(rows)]
    for a, b in itertools.pairwise(edges):
        got += feed(seen, rows[a:b])
    assert got == by_definition(rows)


@given(records, st.integers(0, 60), st.integers(0, 60))
def test_a_filter_stored_at_an_offset_and_replayed_from_it_goes_on_as_before(
    drawn: list[tuple[int, int, bool, int]], first: int, second: int
) -> None:
    rows = rows_of(drawn)
    first, second = sorted((min(first, len(rows)), min(second, len(rows))))
    stored: dict[int, bytes] = {}
    index = None
    seen = DuplicateFilter(SPAN)
    feed(seen, rows[:second])
    # Two moves of progress, the second behind what memory has seen, as when an output holds the offset back.
    for cut in (first // 2, first):
        offset = rows[cut][0] if cut < len(rows) else rows[-1][0] + 1 if rows else 0
        changes = seen.changes(offset)
        for minute, data in changes.append.items():
            stored[minute] = stored.get(minute, b"") + data
        for minute in changes.drop:
            stored.pop(minute, None)
        index = changes.index
    again = DuplicateFilter(SPAN, index)
    again.load({minute: stored[minute] for minute in again.minutes})
    assert feed(again, rows[first:]) == by_definition(rows)[first:]


def test_the_edge_is_inclusive() -> None:
    at = 1_800_000_000_000
    seen = DuplicateFilter(SPAN)
    assert feed(seen, [(0, at, 1, True), (1, at + SPAN, 1, True), (2, at + SPAN + 1, 1, True)]) == [True, False, True]


def test_without_a_span_everything_is_accepted_and_nothing_is_kept() -> None:
    seen = DuplicateFilter(0)
    assert feed(seen, [(0, 1, 1, True), (1, 1, 1, True)]) == [True, True]
    assert seen.changes(2).append == {}


def test_the_same_id_of_two_entities_is_two_events() -> None:
    hashes = event_hashes(["a", "b", "a"], ["1", "1", None])
    assert hashes[0] != hashes[1]
    assert hashes[2] == 0


def test_a_broken_bucket_is_refused() -> None:
    with pytest.raises(ValueError, match="buffer size"):
        DuplicateFilter(SPAN).load({1: b"short"})


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 1000)), max_size=200), st.integers(1, 50))
def test_the_table_is_a_dict_that_forgets_small_values(pairs: list[tuple[int, int]], step: int) -> None:
    table, truth = HashTable(4), {}
    for i in range(0, len(pairs), step):
        part = dict(pairs[i : i + step])
        hashes = np.array([key * 4 for key in part], np.uint64)  # many collisions
        table.put(hashes, np.array(list(part.values()), np.int64), keep_from=100)
        truth.update(part)
    got = table.get(np.array([key * 4 for key in range(1, 41)], np.uint64))
    for key in range(1, 41):
        want = truth.get(key, ABSENT)
        assert got[key - 1] == want or (want < 100 and got[key - 1] == ABSENT)
