"""A partition of the store seen from outside, on one server and on a cluster: what belongs together, what does not."""

from __future__ import annotations

import numpy as np
import pytest

from freshet.engine.state import Write
from freshet.spec import naming
from freshet.stores.fence import DuplicateWrite, PartitionFence
from freshet.stores.online_view import Moved, OnlineView
from freshet.stores.redis import Client

pytestmark = pytest.mark.server


@pytest.fixture(params=[0, 1, 2])
def tag(request: pytest.FixtureRequest) -> str:
    """Partitions 0–2 lie on different nodes of the cluster."""
    return naming.tag("shop", "act*vity", "0123456789", request.param)


@pytest.fixture
def fence(client: Client, tag: str) -> PartitionFence:
    found = PartitionFence(client, tag)
    found.take_over(0, "topic-1")
    return found


def states(*keys: str) -> list[Write]:
    return [Write(key, key.encode(), True, len(key.encode()), None) for key in keys]


def duplicates(append: dict[int, bytes], drop: list[int], *minutes: int) -> DuplicateWrite:
    return DuplicateWrite(append, drop, np.array([max(minutes) * 60_000, *minutes], "<i8").tobytes())


def test_nothing_is_there_without_progress(client: Client, tag: str) -> None:
    assert OnlineView(client, tag).marks() is None


def test_marks_are_of_one_moment(client: Client, tag: str, fence: PartitionFence) -> None:
    view = OnlineView(client, tag)
    fence.send(fence.prepare(states("a"), 7, True, duplicates({3: b"x" * 10, 4: b"y" * 20}, [], 3, 4)))
    marks = view.marks()
    assert marks is not None
    assert (marks.progress.offset, marks.progress.complete, marks.source) == (7, True, "topic-1")
    assert marks.buckets == {3: 10, 4: 20}
    fence.send(fence.prepare(states("a", "b"), 9, None, duplicates({4: b"z" * 10}, [], 3, 4)))
    assert view.bucket(4, marks) == b"y" * 20
    assert view.states(["a", "b", "c"], marks) == [b"a", b"b", None]
    view.require(marks)
    fence.send(fence.prepare([], 11, None, duplicates({}, [3], 4)))
    with pytest.raises(Moved, match="was dropped"):
        view.bucket(3, marks)


def test_a_bucket_of_megabytes_is_read_in_parts(client: Client, tag: str, fence: PartitionFence) -> None:
    data = np.arange(500_000, dtype="<i8").tobytes()
    fence.send(fence.prepare([], 7, True, duplicates({3: data}, [], 3)))
    view = OnlineView(client, tag)
    marks = view.marks()
    assert marks is not None
    assert view.bucket(3, marks) == data


def test_another_owner_or_an_older_store_voids_what_is_read(client: Client, tag: str, fence: PartitionFence) -> None:
    view = OnlineView(client, tag)
    fence.send(fence.prepare(states("a"), 7, True))
    before = client.get(naming.progress_key(tag))
    fence.send(fence.prepare(states("a"), 8))
    marks = view.marks()
    assert marks is not None
    client.set(naming.progress_key(tag), before or b"")  # the store fell back
    with pytest.raises(Moved, match="seq 2, now it is offset 7"):
        view.states(["a"], marks)
    PartitionFence(client, tag).take_over(0, "topic-1")
    with pytest.raises(Moved, match="progress was offset 8"):
        view.require(marks)
    client.delete(naming.progress_key(tag))
    with pytest.raises(Moved, match="not there"):
        view.states(["a"], marks)


def test_every_entity_of_the_partition_is_found_and_no_other(client: Client, tag: str, fence: PartitionFence) -> None:
    keys = [f"user {i} *[x]? \\ é\x01" for i in range(2_500)]
    for begin in range(0, len(keys), 250):
        fence.send(fence.prepare(states(*keys[begin : begin + 250])))
    fence.send(fence.prepare([], 7, True, duplicates({3: b"x" * 10}, [], 3)))
    for other in (tag.replace("act*vity", "activity"), tag.replace("789/", "788/")):
        stranger = PartitionFence(client, other)
        stranger.take_over(0, "topic-1")
        stranger.send(stranger.prepare(states("stranger")))
    found = [key for part in OnlineView(client, tag).entities() for key in part]
    assert sorted(set(found)) == sorted(keys)
