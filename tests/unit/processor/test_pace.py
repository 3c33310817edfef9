"""How long dirty states wait: not at all when caught up, with a backlog for a share of its age."""

from __future__ import annotations

from freshet.processor.runner import Pace


def test_without_a_backlog_the_setting_counts() -> None:
    assert Pace().wait_ms(None) == 0
    assert Pace(coalesce_ms=20).wait_ms(None) == 20


def test_with_a_backlog_its_age_counts_up_to_a_limit() -> None:
    pace = Pace(coalesce_ms=20)
    assert pace.wait_ms(2_000) == 500
    assert pace.wait_ms(16_000) == 4_000
    assert pace.wait_ms(86_400_000) == 10_000


def test_a_clock_that_is_behind_the_brokers_makes_nothing_wait_less_than_the_setting() -> None:
    assert Pace(coalesce_ms=20).wait_ms(-3_600_000) == 20
    assert Pace(coalesce_ms=20).wait_ms(40) == 20
