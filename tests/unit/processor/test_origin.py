"""Where a partition's states go on from: every case, and that nothing is ever skipped without being asked to."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.processor.origin import LogBounds, Origin, origin
from freshet.processor.partition import SourceTruncated
from freshet.stores.event_log import Recorded
from freshet.stores.states import Checkpoint

_TOPIC = UUID(int=1)
OFFSETS = st.integers(0, 12)


def at(offset: int) -> Checkpoint:
    return Checkpoint(_TOPIC, offset, None)


def log(start: int, end: int = 100, horizon: int | None = None) -> LogBounds:
    return LogBounds(start, end, horizon)


@pytest.mark.parametrize(
    ("stored", "bounds", "checkpoint", "recorded", "expected"),
    [
        # The store has states.
        (40, log(0), None, None, Origin(40)),
        (40, log(40), None, None, Origin(40)),
        (40, log(60), None, Recorded(10, 70), Origin(40, history_until=60)),
        (40, log(60), None, Recorded(40, 60), Origin(40, history_until=60)),
        (40, log(60, horizon=80), None, None, Origin(80)),
        # The store has none.
        (None, log(0), None, None, Origin(0)),
        (None, log(0), at(30), None, Origin(30, restore=True)),
        (None, log(20), at(30), None, Origin(30, restore=True)),
        (None, log(50), at(30), Recorded(5, 60), Origin(30, restore=True, history_until=50)),
        (None, log(50), at(30), Recorded(0, 45), "stop"),
        (None, log(50, horizon=70), at(30), None, Origin(70, restore=True)),
        (None, log(50, horizon=70), None, None, Origin(70)),
        (None, log(50), None, Recorded(0, 60), Origin(0, history_until=50)),
        (None, log(50), None, Recorded(7, 60), Origin(7, history_until=50)),
        (None, log(50), None, Recorded(7, 45), Origin(50)),
        (None, log(50), None, None, Origin(50)),
        # Nothing reaches.
        (40, log(60), None, None, "stop"),
        (40, log(60), None, Recorded(41, 70), "stop"),
        (40, log(60), None, Recorded(10, 59), "stop"),
        (140, log(60), None, Recorded(10, 59), "stop"),
        (None, log(50), at(30), None, "stop"),
        (None, log(50), at(130), None, "stop"),
        (None, log(0), at(130), None, "stop"),
    ],
)
def test_where_states_go_on_from(
    stored: int | None,
    bounds: LogBounds,
    checkpoint: Checkpoint | None,
    recorded: Recorded | None,
    expected: Origin | str,
) -> None:
    if isinstance(expected, Origin):
        assert origin(3, stored, bounds, checkpoint, recorded) == expected
    else:
        with pytest.raises(SourceTruncated, match=r"partition 3: .* is at offset"):
            origin(3, stored, bounds, checkpoint, recorded)


def test_a_gap_is_skipped_only_when_asked_and_counted() -> None:
    assert origin(0, 40, log(60), None, None, skip_gaps=True) == Origin(60, lost=20)
    assert origin(0, None, log(60), at(40), None, skip_gaps=True) == Origin(60, restore=True, lost=20)
    with pytest.raises(SourceTruncated, match="the topic ends at 100"):
        origin(0, 140, log(60), None, None, skip_gaps=True)


@given(
    st.none() | OFFSETS,
    OFFSETS,
    OFFSETS,
    st.none() | OFFSETS,
    st.none() | OFFSETS,
    st.none() | st.tuples(OFFSETS, OFFSETS),
)
def test_every_event_that_shows_is_read_or_the_partition_stops(
    stored: int | None,
    start: int,
    length: int,
    newest: int | None,
    taken: int | None,
    span: tuple[int, int] | None,
) -> None:
    bounds = LogBounds(start, start + length, None if newest is None or newest <= start else newest)
    recorded = None if span is None else Recorded(min(span), max(span))
    checkpoint = None if taken is None else at(taken)
    try:
        found = origin(0, stored, bounds, checkpoint, recorded)
    except SourceTruncated:
        assert stored is not None or checkpoint is not None
        return
    if stored is not None or checkpoint is not None:
        held = stored if stored is not None else taken if found.restore else 0
        assert held is not None
        assert found.offset <= max(held, bounds.horizon or 0)
        assert found.offset >= held
    if found.history_until is None:
        assert found.offset >= start
    else:
        assert recorded is not None
        assert recorded.first <= found.offset
        assert recorded.next >= found.history_until == start
