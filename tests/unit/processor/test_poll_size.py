"""How many records are asked for: what takes about a third of a second."""

from __future__ import annotations

from freshet.processor.poll_size import PollSize


def settled(seconds_a_record: float) -> int:
    size = PollSize()
    for _ in range(20):
        size.took(size.records, size.records * seconds_a_record)
    return size.records


def test_a_fast_processor_asks_for_more_and_a_slow_one_for_less() -> None:
    assert settled(0.000_003) == 40_000
    assert 29_000 <= settled(0.000_01) <= 31_000
    assert 2_900 <= settled(0.000_1) <= 3_100
    assert settled(0.01) == 1_000


def test_it_grows_step_by_step() -> None:
    size = PollSize()
    size.took(10_000, 0.01)
    assert size.records == 20_000


def test_what_was_not_a_backlog_tells_nothing() -> None:
    size = PollSize()
    for records, seconds in [(0, 0.1), (10, 0.5), (4_999, 3.0)]:
        assert not size.full(records)
        size.took(records, seconds)
    assert size.records == 10_000
    assert size.full(5_000)
