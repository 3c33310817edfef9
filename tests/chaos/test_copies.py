"""The topic of the copies is held against the origin: what is missing, doubled, misplaced or out of order is told."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest

from freshet.engine.rekeying import KeyReader, rekeyed
from freshet.spec.headers import CONTROL, ERASE
from freshet.spec.partitioning import partition_of
from tests.chaos import stream
from tests.chaos.copies import judge_copies
from tests.chaos.topics import Message
from tests.chaos.verdict import Verdict

NOW = 1_800_000_000_000
ORIGIN_PARTITIONS, PARTITIONS = 4, 3


@pytest.fixture(scope="module")
def origin() -> list[Message]:
    """Events as a round has them, a broken record without a key, and a user to be forgotten."""
    source = stream.events(5, lambda: NOW)
    found: dict[int, list[Message]] = defaultdict(list)
    for number in range(500):
        event = next(source)
        key, value = event["user_id"].encode(), json.dumps({**event, "try": number}).encode()
        p = partition_of(event["user_id"], ORIGIN_PARTITIONS, "murmur2")
        found[p].append(Message(p, len(found[p]), NOW, value, key, []))
    for number in range(2):
        found[3].append(Message(3, len(found[3]), NOW, b"{broken", None, [("number", str(number).encode())]))
    found[3].append(Message(3, len(found[3]), NOW, None, b"user_50", [(CONTROL, ERASE.encode())]))
    return [message for _, part in sorted(found.items()) for message in part]


@pytest.fixture(scope="module")
def copies(origin: list[Message]) -> list[Message]:
    """What the stage makes of them, and an erasure of a card by somebody else."""
    reader = KeyReader("card_id")
    found: dict[int, list[Message]] = defaultdict(list)
    for message in origin:
        fate = rekeyed(reader, message.key, message.value, message.headers)
        if fate.copied:
            key = fate.key
            p = partition_of(key.decode(), PARTITIONS, "murmur2") if key else message.partition % PARTITIONS
            found[p].append(message._replace(partition=p, offset=len(found[p]), key=key))
    found[0].append(Message(0, len(found[0]), NOW, None, b"card_40", [(CONTROL, ERASE.encode())]))
    return [message for _, part in sorted(found.items()) for message in part]


def judged(origin: list[Message], copies: list[Message]) -> tuple[int, int, int]:
    """How many are lost, doubled and wrong."""
    found = Verdict()
    judge_copies(origin, copies, PARTITIONS, found)
    assert found.looked["copies"] > 400
    return len(found.lost), len(found.doubled), len(found.wrong)


def test_what_the_stage_makes_of_the_origin_is_good(origin: list[Message], copies: list[Message]) -> None:
    assert judged(origin, copies) == (0, 0, 0)


def test_a_copy_that_is_missing_is_lost(origin: list[Message], copies: list[Message]) -> None:
    assert judged(origin, copies[1:]) == (1, 0, 0)


def test_a_copy_that_is_there_twice_is_doubled(origin: list[Message], copies: list[Message]) -> None:
    assert judged(origin, [copies[0], *copies]) == (0, 1, 0)


def test_what_is_not_to_be_copied_is_doubled(origin: list[Message], copies: list[Message]) -> None:
    nobody = next(m for m in origin if m.value and b"card_id" not in m.value and m.key)
    assert judged(origin, [*copies, nobody._replace(partition=2)]) == (0, 1, 0)
    assert judged(origin, [*copies, origin[-1]._replace(partition=2)]) == (0, 1, 0), "an erasure of a user"


def test_a_copy_in_another_partition_or_under_another_key_is_told(origin: list[Message], copies: list[Message]) -> None:
    other = copies[0]._replace(partition=(copies[0].partition + 1) % PARTITIONS)
    assert judged(origin, [*copies[1:], other]) == (1, 1, 0)
    assert judged(origin, [copies[0]._replace(key=b"card_x"), *copies[1:]]) == (1, 1, 0)
    assert judged(origin, [copies[0]._replace(headers=[("more", b"")]), *copies[1:]]) == (1, 1, 0)


def test_copies_out_of_order_are_told(origin: list[Message], copies: list[Message]) -> None:
    assert judged(origin, [*copies[1:4], copies[0], *copies[4:]])[2] == 1
