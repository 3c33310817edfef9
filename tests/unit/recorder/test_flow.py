"""When what was taken becomes a transaction, and that nothing of it depends on how Kafka delivered it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from freshet.engine.duplicates import DuplicateFilter
from freshet.recorder.batch import Batch
from freshet.recorder.flow import Flow
from freshet.recorder.holdings import Owned
from freshet.recorder.judge import Judge
from freshet.recorder.rows import EventRows, Place
from freshet.recorder.topics import Role
from freshet.recorder.writer import Outcome, Part
from freshet.stores.deliveries import Continuity
from tests.unit.recorder.test_judge import batch, event, featureset

JUDGE = Judge([featureset("a", "x")], "default")


class AtOnce(Executor):
    """What is handed over is done before it returns."""

    def submit(self, fn: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*arguments, **named))
        return future


class Database:
    """Keeps what it is told to write."""

    def __init__(self) -> None:
        self.written: list[Sequence[Part]] = []

    def write(self, parts: Sequence[Part]) -> Outcome:
        """As the real one, if nothing fails."""
        self.written.append(parts)
        return Outcome(done=[True] * len(parts))


class Recording:
    """A flow with partitions of one topic."""

    def __init__(self, partitions: int = 1) -> None:
        self.owned = [owner(p) for p in range(partitions)]
        holdings: Any = SimpleNamespace(owned={one.key: one for one in self.owned}, recorded=lambda key: None)
        self.database = Database()
        self.flow = Flow(holdings, AtOnce(), cast(Any, self.database), cast(Any, None))

    def transactions(self, now_ms: int, *, hurry: bool = False) -> int:
        """How many there have been, after a look at that time."""
        self.flow.step(now_ms, hurry=hurry)
        return len(self.database.written)


def owner(partition: int) -> Owned:
    duplicates, continuity = DuplicateFilter(JUDGE.deduplicate_ms), cast(Continuity, None)
    place = Place("raw-events", UUID(int=1), partition)
    token, begins = UUID(int=2), deque([(0, 0)])
    return Owned(place, 1, Role.EVENTS, token, 0, 0, 0, JUDGE, duplicates, continuity, begins)


def part(whole: Batch, begin: int, end: int) -> Batch:
    headers = {i - begin: pairs for i, pairs in whole.headers.items() if begin <= i < end}
    return Batch(
        whole.offset[begin:end], whole.broker_ms[begin:end], whole.values[begin:end], whole.keys[begin:end], headers
    )


def at(number: int, size: int = 1, padding: int = 0) -> Batch:
    one = batch([event(number + i, x=1, padding="p" * padding) for i in range(size)])
    return Batch(one.offset + number, one.broker_ms, one.values, one.keys, {})


_VALUES = st.lists(st.integers(0, 5).map(lambda n: event(n, x=n) if n else b"{broken") | st.none(), min_size=1)


@given(_VALUES, st.lists(st.integers(0, 40)), st.data())
def test_how_kafka_delivers_shows_in_no_row(values: list[Any], cuts: list[int], data: st.DataObject) -> None:
    control = st.sampled_from([{"freshet-control": b"erase"}, {"other": b"1"}])
    marked = data.draw(st.dictionaries(st.integers(0, len(values) - 1), control))
    whole = batch(values, {i: list(header.items()) for i, header in marked.items()})
    recording = Recording()
    edges = sorted({0, len(values), *(cut for cut in cuts if cut < len(values))})
    for begin, end in pairwise(edges):
        recording.flow.take(recording.owned[0], part(whole, begin, end), 0)
    assert recording.transactions(0, hurry=True) == 1
    ((found,),) = recording.database.written
    (rows,) = found.rows
    assert isinstance(rows, EventRows)
    at_once = Recording()
    at_once.flow.take(at_once.owned[0], whole, 0)
    at_once.transactions(0, hurry=True)
    assert rows.encode() == at_once.database.written[0][0].rows[0].encode()
    assert (found.step.begin, found.step.end) == (0, len(values))
    assert len(found.also) == len(at_once.database.written[0][0].also)


def test_small_deliveries_share_a_transaction_a_second() -> None:
    recording = Recording(3)
    seen: list[int] = []
    for now in range(0, 5_000, 50):
        for owned in recording.owned:
            recording.flow.take(owned, at(owned.position), now)
        if recording.transactions(now) > len(seen):
            seen.append(now)
    assert seen == [100, 1_100, 2_100, 3_100, 4_100]
    assert [len(p.rows) for p in recording.database.written[1]] == [1, 1, 1], "looked at together"


def test_the_first_records_after_a_silence_do_not_wait_for_a_second() -> None:
    recording = Recording()
    for silence in (0, 10_000, 20_000):
        recording.flow.take(recording.owned[0], at(recording.owned[0].position), silence)
        before = len(recording.database.written)
        assert recording.transactions(silence + 99) == before
        assert recording.transactions(silence + 100) == before + 1


def test_much_waits_for_nothing_and_nothing_waits_for_it() -> None:
    many, large = at(1, 10_000), at(10_001, 9, padding=1 << 20)
    recording = Recording()
    (owned,) = recording.owned
    recording.flow.take(owned, at(0), 0)
    assert recording.transactions(100) == 1
    recording.flow.take(owned, many, 110)
    assert recording.transactions(110) == 2
    recording.flow.take(owned, large, 120)
    assert recording.transactions(120) == 3
    recording.flow.take(owned, at(owned.position), 130)
    assert recording.transactions(230) == 4, "the end of a backlog"


def test_an_end_behind_the_last_record_is_recorded() -> None:
    """Control records have offsets too, and no rows."""
    recording = Recording()
    (owned,) = recording.owned
    recording.flow.ended(owned, 0, 0)
    assert recording.transactions(5_000) == 0, "it was there already"
    recording.flow.ended(owned, 7, 5_000)
    assert recording.flow.pending([owned.key])
    assert recording.transactions(5_100) == 1
    assert recording.database.written[0][0].step.end == 7
    recording.transactions(5_101)
    assert not recording.flow.pending([owned.key])
