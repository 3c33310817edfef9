"""Checkpoints in a real PostgreSQL: what is replaced, what is refused, and that a reader may stop anywhere."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from uuid import UUID

import numpy as np
import pytest

from freshet.dev.servers import EmbeddedValkey
from freshet.engine.layout import FORMAT, LayoutError
from freshet.processor.rebuild import Rebuild
from freshet.processor.restore import Restore
from freshet.recorder.fence import Step, advance, take_over
from freshet.recorder.rows import Place
from freshet.spec import naming
from freshet.stores.event_log import EventLog, Recorded, Status
from freshet.stores.fence import PartitionFence, Refused, Script
from freshet.stores.postgres import connect, migrate
from freshet.stores.redis import connect as connect_store
from freshet.stores.states import Checkpoint, Delta, Stale, States, StoredState, Writer
from tests.model.world import COMPILED

pytestmark = pytest.mark.server

TOPIC = UUID(int=7)
PLACE = ("shop/clicks/0123456789", 3)


@pytest.fixture
def states(database: str) -> States:
    migrate(database)
    return States(database)


@pytest.fixture
def writer(states: States) -> Iterator[Writer]:
    with states.writer() as found:
        yield found


def at(offset: int) -> Checkpoint:
    return Checkpoint(TOPIC, offset, b"index%d" % offset)


def state(key: str, offset: int, expires_ms: int | None = None) -> StoredState:
    return StoredState(key, offset, expires_ms, f"{key}@{offset}".encode())


def delta(*found: StoredState, gone: tuple[str, ...] = (), everything: bool = False) -> Delta:
    return Delta(iter([list(found)]), iter([list(gone)]), everything)


def stored(states: States, now_ms: int = 0) -> dict[str, StoredState]:
    with states.snapshot(*PLACE) as snapshot:
        assert snapshot is not None
        return {one.key: one for part in snapshot.states(now_ms, 2) for one in part}


def test_a_checkpoint_replaces_what_changed(states: States, writer: Writer) -> None:
    assert writer.latest(*PLACE) is None
    with states.snapshot(*PLACE) as nothing:
        assert nothing is None
    first = delta(state("a", 5), state("b", 9), state("c", 7), everything=True)
    assert writer.write(PLACE, None, at(10), first, iter([(1, b"one"), (2, b"two")])) == (3, 0)
    second = delta(state("a", 12), state("b", 8), state("d", 15), gone=("c", "x"))
    assert writer.write(PLACE, at(10), at(14), second, iter([(2, b"two!")])) == (2, 1)
    assert stored(states) == {"a": state("a", 12), "b": state("b", 9), "d": state("d", 15)}
    with states.snapshot(*PLACE) as snapshot:
        assert snapshot is not None
        assert (snapshot.checkpoint, snapshot.count(), list(snapshot.buckets())) == (at(14), 3, [(2, b"two!")])
    whole = delta(state("a", 1), everything=True)
    assert writer.write(PLACE, at(14), Checkpoint(UUID(int=8), 3, None), whole, iter([])) == (1, 3)
    assert stored(states) == {"a": state("a", 1)}


def test_who_comes_too_late_changes_nothing(states: States, writer: Writer) -> None:
    writer.write(PLACE, None, at(10), delta(state("a", 5), everything=True), iter([]))
    for before in (None, at(9), Checkpoint(UUID(int=8), 10, None)):
        with pytest.raises(Stale, match="partition 3"):
            writer.write(PLACE, before, at(20), delta(state("a", 19), everything=True), iter([(1, b"x")]))
    assert writer.latest(*PLACE) == at(10)
    assert stored(states) == {"a": state("a", 5)}


def test_what_raises_on_the_way_changes_nothing(states: States, writer: Writer) -> None:
    writer.write(PLACE, None, at(10), delta(state("a", 5), everything=True), iter([(1, b"x")]))

    def broken() -> Iterator[list[StoredState]]:
        yield [state("a", 11)]
        raise ValueError("the store fell back")

    with pytest.raises(ValueError, match="fell back"):
        writer.write(PLACE, at(10), at(20), Delta(broken(), iter([]), True), iter([]))
    assert (writer.latest(*PLACE), stored(states)) == (at(10), {"a": state("a", 5)})
    writer.write(PLACE, at(10), at(20), delta(state("a", 15)), iter([]))
    assert stored(states) == {"a": state("a", 15)}


def test_an_erased_state_stays_away(states: States, writer: Writer, database: str) -> None:
    with connect(database) as connection:
        for entity in ("before", "after"):
            connection.execute(
                'INSERT INTO erasures (topic_id, partition, "offset", topic, entity, request_id, erased_at) '
                "VALUES (%s, 3, %s, 't', %s, gen_random_uuid(), now())",
                (TOPIC, 8 if entity == "before" else 9, entity),
            )
    found = delta(state("before", 8), state("after", 11), state("other", 5), everything=True)
    writer.write(PLACE, None, at(12), found, iter([]))
    assert sorted(stored(states)) == ["after", "other"]


def test_expired_states_are_not_read_and_go(states: States, writer: Writer) -> None:
    writer.write(
        PLACE, None, at(10), delta(state("a", 5, 1_000), state("b", 5, 3_000), state("c", 5), everything=True), iter([])
    )
    assert stored(states, 999)["a"].expires_ms == 1_000
    assert sorted(stored(states, 1_000)) == ["b", "c"]
    assert writer.remove_expired(PLACE, 2_000) == 1
    assert sorted(stored(states)) == ["b", "c"]


def blobs(number: int) -> bytes:
    """An empty state of a format."""
    one, nothing = np.ones(1, np.int64), np.zeros(1, np.int64)
    words = np.concatenate([COMPILED.layout.heads(one, nothing)[0], np.zeros(99)])
    return struct.pack("<H", number) + words.tobytes()[2 : int(COMPILED.layout.length(one)[0])]


@pytest.mark.parametrize(("scripts", "broken"), [(1, None), (2, None), (20, None), (10_000, 0), (10_000, 5_000)])
def test_a_restoring_may_end_anywhere(
    states: States, writer: Writer, valkey: EmbeddedValkey, namespace: str, scripts: int, broken: int | None
) -> None:
    """Another owner came, a state cannot be read: the connection in the middle of its query must not hold it up."""
    many = [StoredState(f"u{i}", 0, None, blobs(9 if i == broken else FORMAT)) for i in range(10_000)]
    writer.write(PLACE, None, Checkpoint(TOPIC, 10, None), Delta(iter([many]), iter([]), True), iter([]))
    left = iter(range(scripts))

    def send(script: Script) -> None:
        if next(left, None) is None:
            raise Refused("another owner")
        fence.send(script)

    def restore() -> None:
        with states.snapshot(*PLACE) as snapshot:
            assert snapshot is not None
            Restore(fence, COMPILED.layout, send, Rebuild()).run(snapshot, 10, 100, 0)

    began = time.monotonic()
    with connect_store(valkey.url) as client:
        fence = PartitionFence(client, naming.tag(namespace, "clicks", "0123456789", 3))
        fence.take_over(0, "t", restoring=True)
        with pytest.raises(LayoutError if broken is not None else Refused, match=r"another owner|format 9"):
            restore()
    assert time.monotonic() - began < 15


def test_the_checkpoints_of_a_revision_are_forgotten(states: States, writer: Writer) -> None:
    writer.write(PLACE, None, at(10), delta(state("a", 5), everything=True), iter([(1, b"x")]))
    writer.write(("shop/other/0123456789", 3), None, at(10), delta(state("a", 5), everything=True), iter([]))
    assert states.forget(PLACE[0]) == 1
    assert states.latest(*PLACE) is None
    assert states.latest("shop/other/0123456789", 3) == at(10)


def test_the_event_log_says_whose_entities_it_knows(database: str) -> None:
    migrate(database)
    place = Place("t", TOPIC, 3)
    log = EventLog(database, TOPIC, 3)
    assert log.recorded() is None
    with connect(database, autocommit=True) as connection:

        def recorded_until(offset: int, revisions: str) -> Recorded | None:
            taken = take_over(connection, place, 5, 1_000, revisions)
            with connection.transaction():
                advance(connection, [Step(place, taken.token, taken.next_offset, offset, 0, 0)])
            return log.recorded()

        assert recorded_until(20, "a/x/1") == Recorded(5, 20, 5, "a/x/1")
        assert recorded_until(30, "a/x/1") == Recorded(5, 30, 5, "a/x/1")
        assert recorded_until(40, "a/x/1 a/x/2") == Recorded(5, 40, 30, "a/x/1 a/x/2")
        assert recorded_until(50, "a/x/1") == Recorded(5, 50, 40, "a/x/1")


def test_a_record_whose_entity_is_not_known_makes_all_of_them_unknown(database: str) -> None:
    migrate(database)
    log = EventLog(database, TOPIC, 3)
    rows = [(1, Status.ACCEPTED, "a"), (2, Status.INVALID, None), (3, Status.DUPLICATE, "b"), (4, Status.ERASED, None)]
    rows += [(5, Status.CONTROL, "c"), (6, Status.ACCEPTED, "a"), (7, Status.REFUSED, None)]
    with connect(database) as connection:
        for offset, status, entity in rows:
            connection.execute(
                'INSERT INTO event_log (topic_id, partition, topic, "offset", broker_time, status, entity) '
                "VALUES (%s, 3, 't', %s, now(), %s, %s)",
                (TOPIC, offset, int(status), entity),
            )
    assert sorted(log.touched(1, 7) or []) == ["a", "b", "c"]
    assert log.touched(2, 3) == []
    assert log.touched(6, 8) is None
