"""Faults come evenly, the same ones from the same seed, and never two of one target at once."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.chaos import campaign
from tests.chaos.schedule import Applied, Deck, Fault, NotMet, Steps, apply
from tests.chaos.world import World

ALL = [*campaign.COMMON, *(fault for found in campaign.OF_STORE.values() for fault in found)]


class _World:
    tended = 0

    def tend(self) -> None:
        self.tended += 1


def test_every_fault_has_a_name_of_its_own() -> None:
    assert len({fault.name for fault in ALL}) == len(ALL)


def test_a_deck_is_even_and_follows_from_its_seed() -> None:
    drawn = [fault.name for _ in range(30) for fault in Deck(ALL, random.Random(1)).draw(len(ALL))]
    assert set(Counter(drawn).values()) == {30}
    deck, again = Deck(ALL, random.Random(2)), Deck(ALL, random.Random(2))
    assert deck.draw(50) == again.draw(50)
    assert Deck(ALL, random.Random(3)).draw(50) != again.draw(50)


def test_two_faults_of_one_target_never_overlap() -> None:
    running: list[str] = []
    most: Counter[str] = Counter()

    def steps(_world: World, rng: random.Random) -> Steps:
        target = "a" if rng.random() < 2 else ""
        running.append(target)
        most[target] = max(most[target], running.count(target))
        yield 0.3
        running.remove(target)
        return "told"

    def other(_world: World, _rng: random.Random) -> Steps:
        yield 0.1
        return None

    world, done = _World(), list[Applied]()
    drawn = [Fault("one", "a", steps), Fault("two", "a", steps), Fault("three", "b", other)]
    apply(world, drawn, random.Random(1), lambda _: None, done)  # type: ignore[arg-type]
    assert most["a"] == 1
    assert Counter(one.fault.name for one in done) == {"one": 1, "two": 1, "three": 1}
    assert all(one.ended > one.began for one in done)
    assert {one.told for one in done if one.fault.target == "a"} == {"told"}
    assert world.tended > 10


def test_a_fault_that_did_not_come_to_pass_does_not_count() -> None:
    def steps(_world: World, _rng: random.Random) -> Steps:
        yield 0.1
        raise NotMet("script 7 never came")

    done: list[Applied] = []
    apply(_World(), [Fault("one", "a", steps)], random.Random(1), lambda _: None, done)  # type: ignore[arg-type]
    assert [(one.met, one.told) for one in done] == 2 * [(False, "script 7 never came")], "it gets a second try"


def test_a_fault_that_cannot_mend_itself_is_an_error() -> None:
    def steps(_world: World, _rng: random.Random) -> Steps:
        yield 0.1
        raise AssertionError("the replica does not follow")

    done: list[Applied] = []
    with pytest.raises(AssertionError, match="does not follow"):
        apply(_World(), [Fault("one", "a", steps)], random.Random(1), lambda _: None, done)  # type: ignore[arg-type]
    assert "not over" in str(done[0])


def test_a_campaign_has_every_fault_ten_times_and_follows_from_its_seed() -> None:
    played = [*campaign.plans(7, 25, 17, 300.0)]
    assert min(campaign.dealt(played).values()) > 10
    assert played == [*campaign.plans(7, 25, 17, 300.0)]
    assert played[:4] == [*campaign.plans(7, 4, 17, 300.0)], "the short form is the beginning of the long one"
    assert played != [*campaign.plans(8, 25, 17, 300.0)]
    assert all(len(plan.faults) == 17 for plan in played)
