"""What a restored topic of copies lacks of its origin, told from the rows of both."""

from __future__ import annotations

import json

import pytest

from freshet.dev.recopy import Copies
from freshet.spec.load import parse_featureset
from freshet.spec.partitioning import partition_of
from freshet.stores.event_log import Row, Status
from tests.chaos.manifests import cards

PARTITIONS = 3
HERE, THERE = (
    "card_0",
    next(
        f"card_{n}" for n in range(9) if partition_of(f"card_{n}", 3, "murmur2") != partition_of("card_0", 3, "murmur2")
    ),
)


def row(offset: int, card: object, status: int = Status.ACCEPTED, entity: str | None = "user_1") -> Row:
    """An event of the origin; with the card's name it may stand for its copy."""
    return Row(offset, 1_000 + offset, status, entity, None, json.dumps({"n": offset, "card_id": card}))


def home(card: str) -> int:
    return partition_of(card, PARTITIONS, "murmur2")


@pytest.fixture
def copies() -> Copies:
    return Copies(parse_featureset(cards("events")))


def lacking(copies: Copies) -> list[int]:
    return [json.loads(one.payload)["n"] for one in copies.lacks()]


def test_what_comes_after_the_last_copy_of_its_way_is_lacking(copies: Copies) -> None:
    rows = [row(n, HERE if n % 2 else THERE) for n in range(10)]
    for one in rows[:6]:
        card = json.loads(one.payload or "")["card_id"]
        if card == HERE or one.offset < 2:
            copies.holds(home(card), one)
    for one in rows:
        copies.sees(0, one)
    assert lacking(copies) == [2, 4, 6, 7, 8, 9], "each partition was recorded up to another moment"
    assert {one.partition for one in copies.lacks()} == {home(HERE), home(THERE)}
    assert {one.key for one in copies.lacks()} == {HERE, THERE}


def test_an_event_that_was_sent_twice_is_not_there_for_having_been_copied_once(copies: Copies) -> None:
    copies.holds(home(HERE), row(1, HERE))
    for one in (row(1, HERE), row(2, HERE), row(1, HERE)._replace(offset=3, broker_ms=1_003)):
        copies.sees(0, one)
    assert lacking(copies) == [2, 1]


def test_partitions_of_the_origin_are_ways_of_their_own(copies: Copies) -> None:
    copies.holds(home(HERE), row(5, HERE))
    copies.sees(0, row(1, HERE))
    copies.sees(1, row(5, HERE))
    assert lacking(copies) == [1], "one that is there says nothing of another partition"


def test_a_copy_whose_payload_is_not_kept_is_there_if_a_later_one_is(copies: Copies) -> None:
    copies.holds(home(HERE), row(1, HERE)._replace(payload=None, status=Status.INVALID))
    copies.holds(home(HERE), row(2, HERE))
    copies.sees(0, row(1, HERE))
    copies.sees(0, row(2, HERE))
    assert lacking(copies) == []


def test_what_was_erased_does_not_come_back(copies: Copies) -> None:
    copies.holds(home(HERE), Row(1, 1_005, Status.CONTROL, HERE, None, None))
    copies.sees(0, row(4, HERE))
    copies.sees(0, row(6, HERE))
    assert lacking(copies) == [6]


def test_what_is_no_event_of_the_entity_is_not_copied(copies: Copies) -> None:
    for one in (
        row(1, None),
        row(2, 1.5),
        row(3, HERE)._replace(replay_for="a/b/c"),
        row(4, HERE)._replace(payload=None),
    ):
        copies.sees(0, one)
    copies.sees(0, row(5, 7))
    assert [(one.key, one.partition) for one in copies.lacks()] == [("7", home("7"))]


def test_broker_times_never_go_back(copies: Copies) -> None:
    copies.holds(home(HERE), row(500, HERE))
    copies.sees(0, row(1, HERE))
    copies.sees(0, row(700, HERE))
    assert [one.broker_ms for one in copies.lacks()] == [1_500, 1_700]
