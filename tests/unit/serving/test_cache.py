"""The cache keeps a state for its age, and never more states than it may."""

from __future__ import annotations

from freshet.serving.cache import AgingCache, State
from tests.unit.serving.build import ACTIVITY, catalogue

SERVED = catalogue(ACTIVITY).find("user-activity")


def test_a_state_is_known_until_it_is_too_old() -> None:
    cache: AgingCache[State] = AgingCache(50, 10)
    cache.put_all([((SERVED, "a"), b"state")], asked=100.0)
    assert cache.get_all(SERVED, ["a"], 100.05) == ({"a": b"state"}, [])
    assert cache.get_all(SERVED, ["a"], 100.06) == ({}, ["a"])


def test_an_entity_without_events_is_known_too() -> None:
    cache: AgingCache[State] = AgingCache(50, 10)
    cache.put_all([((SERVED, "a"), None)], asked=0.0)
    assert cache.get_all(SERVED, ["b", "a"], 0.0) == ({"a": None}, ["b"])


def test_the_oldest_go_first() -> None:
    cache: AgingCache[State] = AgingCache(1000, 2)
    for at, key in enumerate(("a", "b", "a", "c")):
        cache.put_all([((SERVED, key), None)], asked=at / 1000)
    assert cache.get_all(SERVED, "abc", 0.004) == ({"a": None, "c": None}, ["b"])


def test_old_states_do_not_stay_in_memory() -> None:
    cache: AgingCache[State] = AgingCache(50, 1000)
    for i in range(100):
        cache.put_all([((SERVED, str(i)), b"")], asked=float(i))
    assert len(cache) == 1


def test_many_at_once_are_no_more_than_it_may_hold() -> None:
    cache: AgingCache[State] = AgingCache(50, 3)
    cache.put_all([((SERVED, key), key.encode()) for key in "abcde"], asked=0.0)
    assert cache.get_all(SERVED, "abcde", 0.0) == ({"c": b"c", "d": b"d", "e": b"e"}, ["a", "b"])


def test_no_age_is_no_cache() -> None:
    cache: AgingCache[State] = AgingCache(0, 10)
    cache.put_all([((SERVED, "a"), b"")], asked=0.0)
    assert cache.get_all(SERVED, ["a"], 0.0) == ({}, ["a"])
