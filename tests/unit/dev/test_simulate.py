"""The simulated shop: the same for the same seed, and as lively as it says."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

from freshet.dev.reshape import parse_time
from freshet.dev.simulate import Sent, Traffic

START = 1_767_609_000.0


def take(count: int, **options: Any) -> list[Sent]:
    return list(islice(Traffic(start=START, **options).events(), count))


def lateness(sent: Sent) -> float:
    happened = parse_time(sent.event["timestamp"], None)  # type: ignore[arg-type]  # all have a zone
    assert happened is not None
    return START + sent.at - happened


def test_the_seed_decides_everything() -> None:
    assert take(2000, seed=7) == take(2000, seed=7)
    assert take(2000, seed=7) != take(2000, seed=8)


def test_the_rate_is_kept() -> None:
    sent = take(5000, rate=250)
    assert 18 < sent[-1].at < 22
    assert [one.at for one in sent] == sorted(one.at for one in sent)


def test_shares_of_late_and_duplicate_events() -> None:
    sent = take(20_000, late=0.05, duplicates=0.03)
    ids = Counter(one.event["event_id"] for one in sent)
    twice = sum(count - 1 for count in ids.values())
    assert 400 < twice < 800
    assert max(ids.values()) == 2
    late = sum(lateness(one) > 1 for one in sent)
    assert 700 < late < 1300
    assert not any(lateness(one) < -0.001 for one in sent), "nothing comes from the future"


def test_without_late_and_duplicates_there_are_none() -> None:
    sent = take(5000, late=0, duplicates=0)
    assert len({one.event["event_id"] for one in sent}) == 5000
    assert max(map(lateness, sent)) < 0.002


def test_purchases_have_amounts_and_only_they() -> None:
    sent = take(5000)
    kinds = Counter(one.event["event_type"] for one in sent)
    assert set(kinds) == {"login", "page_view", "search", "add_to_cart", "purchase"}
    for one in sent:
        assert ("amount" in one.event) == (one.event["event_type"] == "purchase")
        assert one.event.get("amount", 1) > 0
        assert one.event["geo"]["city"]
        assert one.event["device_type"] in ("mobile", "desktop", "tablet")


def test_the_first_users_are_the_busiest_and_all_are_known() -> None:
    users = Counter(one.event["user_id"] for one in take(30_000, users=50))
    assert set(users) == {f"user_{number:04d}" for number in range(50)}
    assert users["user_0000"] > 2 * users["user_0049"]
