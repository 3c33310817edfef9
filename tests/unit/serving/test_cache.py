"""The cache keeps a state for its age, and never more states than it may."""

from __future__ import annotations

from freshet.serving.cache import AgingCache, State
from tests.unit.serving.build import ACTIVITY, catalogue

SERVED = catalogue(ACTIVITY).find("user-activity")


def test_a_state_is_known_until_it_is_too_old() -> None:
    cache: AgingCache[State] = AgingCache(50, 10)
    cache.put((SERVED, "a"), b"state", asked=100.0)
    assert cache.get((SERVED, "a"), 100.05) == (b"state",)
    assert cache.get((SERVED, "a"), 100.06) is None


def test_an_entity_without_events_is_known_too() -> None:
    cache: AgingCache[State] = AgingCache(50, 10)
    cache.put((SERVED, "a"), None, asked=0.0)
    assert cache.get((SERVED, "a"), 0.0) == (None,)
    assert cache.get((SERVED, "b"), 0.0) is None


def test_the_oldest_go_first() -> None:
    cache: AgingCache[State] = AgingCache(1000, 2)
    for at, key in enumerate(("a", "b", "a", "c")):
        cache.put((SERVED, key), None, asked=at / 1000)
    assert [cache.get((SERVED, key), 0.004) for key in "abc"] == [(None,), None, (None,)]


def test_old_states_do_not_stay_in_memory() -> None:
    cache: AgingCache[State] = AgingCache(50, 1000)
    for i in range(100):
        cache.put((SERVED, str(i)), b"", asked=float(i))
    assert len(cache) == 1


def test_no_age_is_no_cache() -> None:
    cache: AgingCache[State] = AgingCache(0, 10)
    cache.put((SERVED, "a"), b"", asked=0.0)
    assert cache.get((SERVED, "a"), 0.0) is None
