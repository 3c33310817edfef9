"""What becomes of a producer that was given up, with doubles in the place of the client library's."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException

from freshet.rekey.writer import Aborted, Writer
from freshet.runtime.settings import KafkaSettings


class Member:
    """A consumer of a group."""

    def consumer_group_metadata(self) -> None:
        pass


MEMBER = cast(Consumer, Member())
MADE: list[weakref.ref[Client]] = []
"""All that were made, as long as they live."""


class Client:
    """A producer with records under way."""

    def __init__(self) -> None:
        self.under_way = 0
        self.purged = False
        self.answered = threading.Event()
        self.answered.set()
        MADE.append(weakref.ref(self))

    def __len__(self) -> int:
        return self.under_way

    def init_transactions(self, _seconds: float) -> None:
        pass

    def begin_transaction(self) -> None:
        pass

    def produce(self, *_arguments: object) -> None:
        self.under_way += 1

    def send_offsets_to_transaction(self, *_arguments: object) -> None:
        assert self.answered.wait(20)

    def commit_transaction(self, _seconds: float) -> None:
        self.under_way = 0

    def purge(self, *, in_flight: bool, blocking: bool) -> None:
        self.purged = (in_flight, blocking) == (False, False)

    def poll(self, _seconds: float) -> int:
        if not self.purged:
            return 0
        raise KafkaException(KafkaError(KafkaError._FENCED, fatal=True))


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> Writer:
    MADE.clear()
    monkeypatch.setattr("freshet.stores.kafka.producer", lambda *_, **__: Client())
    return Writer(KafkaSettings(bootstrap="localhost:1"), "copies", "murmur2", "writer")


def living() -> list[Client]:
    """What the client library has not been told to end."""
    gc.collect()
    return [one for ref in MADE if (one := ref()) is not None]


def test_one_that_was_given_up_ends_when_nothing_of_it_is_under_way(writer: Writer) -> None:
    writer.open()
    writer.send(b"{}", b"key", None, -1)
    writer.abort()
    (old,) = living()
    assert old.purged
    writer.open()
    assert len(living()) == 2
    old.under_way = 0
    del old
    writer.abort()
    assert living() == []


def test_closing_waits_for_what_is_under_way_but_not_for_ever(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    writer.open()
    writer.send(b"{}", b"key", None, -1)
    (old,) = living()
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        old.under_way = len(naps) < 3

    monkeypatch.setattr("freshet.rekey.writer.time.sleep", nap)
    writer.close()
    assert len(naps) == 3
    monkeypatch.setattr("freshet.rekey.writer._CALL_SECONDS", 0.0)
    writer.open()
    writer.send(b"{}", b"key", None, -1)
    writer.close()
    assert len(naps) == 3


def test_offsets_that_are_not_answered_are_waited_for_no_longer_than_is_good(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freshet.stores.answers._GRACE_SECONDS", 0.01)
    monkeypatch.setattr("freshet.rekey.writer._CALL_SECONDS", 0.01)
    writer.open()
    writer.send(b"{}", b"key", None, -1)
    (old,) = living()
    old.answered.clear()
    with pytest.raises(Aborted, match="not committed: no answer within"):
        writer.commit([], MEMBER)
    old.under_way = 0
    writer.open()
    writer.send(b"{}", b"key", None, -1)
    writer.commit([], MEMBER)
    assert len(living()) == 2, "a client may not end while it is called"
    old.answered.set()
    del old
    while len(living()) == 2:
        time.sleep(0.01)
        writer.abort()
        writer.open()
