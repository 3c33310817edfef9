"""Waits grow while nothing comes of a try, and no clock makes them longer."""

from __future__ import annotations

from freshet.runtime.tries import FIRST_WAIT_MS, LONGEST_WAIT_MS, Tries

ERROR = ValueError("why")


def test_waits_double_up_to_the_longest_and_begin_anew_after_a_success() -> None:
    tries: Tries[int] = Tries()
    waits = [tries.failed(1, ERROR, 0).wait_ms for _ in range(9)]
    assert waits[:3] == [FIRST_WAIT_MS, 2 * FIRST_WAIT_MS, 4 * FIRST_WAIT_MS]
    assert waits[-2:] == [LONGEST_WAIT_MS, LONGEST_WAIT_MS]
    tries.begun(1)
    assert tries.due(10**9) == []
    assert tries.failed(1, ERROR, 0).wait_ms == LONGEST_WAIT_MS, "what was begun has come to nothing"
    tries.over(1)
    assert tries.due(10**9) == []
    found = tries.failed(1, ERROR, 7)
    assert (found.reason, found.sentence, found.at_ms) == ("ValueError", "why", 7 + FIRST_WAIT_MS)


def test_what_waits_is_due_at_its_time_or_when_the_clock_is_set_back() -> None:
    tries: Tries[int] = Tries()
    tries.failed(1, ERROR, 10_000)
    tries.failed(1, ERROR, 10_000)
    times = (10_000, 10_199, 10_200, 9_999, 0)
    assert [bool(tries.due(now)) for now in times] == [False, False, True, True, True]
