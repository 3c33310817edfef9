"""Figures of a rebuild: share, time left, and what people read."""

from __future__ import annotations

from freshet.processor.rebuild import Rebuild, sentence


def test_states_and_events_are_one_task() -> None:
    rebuild = Rebuild()
    assert (rebuild.ratio(), rebuild.waits_for) == (0.0, "its turn")
    rebuild.planned(300, 1000, 1700)
    assert rebuild.ratio() == 0.0
    rebuild.restored(100)
    assert rebuild.ratio() == 0.1
    rebuild.restored(200)
    assert rebuild.ratio(1000) == 0.3
    assert rebuild.ratio(1350) == 0.65
    assert rebuild.ratio(2000) == 1.0


def test_nothing_to_build_is_done() -> None:
    rebuild = Rebuild()
    rebuild.planned(0, 70, 70)
    assert rebuild.ratio(70) == 1.0


def test_the_time_left_is_that_of_the_last_half_minute() -> None:
    rebuild = Rebuild()
    assert rebuild.eta_seconds(0, 0.0) is None
    assert rebuild.eta_seconds(10_000, 0.1) == 90.0
    for second in range(11, 100):
        rebuild.eta_seconds(second * 1000, 0.1 + (second - 10) * 0.005)
    left = rebuild.eta_seconds(100_000, 0.55)
    assert left is not None
    assert 85 < left < 95


def test_what_people_read() -> None:
    assert sentence(3, 0.417, 118) == "rebuilding partition 3: 41 %, 2 min"
    assert sentence(3, 0.0, None) == "rebuilding partition 3: 0 %"
    assert sentence(0, 0.99, 0.2) == "rebuilding partition 0: 99 %, 1 s"
    assert sentence(0, 0.1, 9000) == "rebuilding partition 0: 10 %, 2.5 h"
    assert sentence(1, 0, None, "its turn") == "rebuilding partition 1: waits for its turn"
