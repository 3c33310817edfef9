"""The fence's scripts on a real server and a real cluster: what they write, refuse and leave untouched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import redis
from redis.cluster import RedisCluster

from freshet.dev.servers import EmbeddedValkey
from freshet.engine.state import Write
from freshet.spec import naming
from freshet.stores import scripts
from freshet.stores.fence import (
    DuplicateWrite,
    PartitionFence,
    Progress,
    Refused,
    StoreDown,
    StoreFull,
)
from freshet.stores.redis import Client, EvictingStore, connect, require_noeviction
from tests.valkey_cluster import valkey_cluster

pytestmark = pytest.mark.server


@pytest.fixture(params=[0, 1, 2])
def fence(client: Client, request: pytest.FixtureRequest) -> PartitionFence:
    """Partitions 0–2 lie on different nodes of the cluster."""
    return PartitionFence(client, naming.tag("shop", "activity", "0123456789", request.param))


def whole(key: str, blob: bytes, ttl_ms: int | None = None) -> Write:
    return Write(key, blob, True, len(blob), ttl_ms)


def index(*minutes: int) -> bytes:
    return np.array([max(minutes, default=0) * 60_000, *minutes], "<i8").tobytes()


def tag_of(fence: PartitionFence) -> str:
    return fence._tag


def test_taking_over_creates_progress_once(fence: PartitionFence) -> None:
    first = fence.take_over(40, "topic-1")
    assert (first.progress.offset, first.progress.seq, first.progress.complete) == (40, 0, False)
    assert (first.source, first.duplicates_index, first.created) == ("topic-1", None, True)
    fence.send(fence.prepare([whole("a", b"1")], move_to=50, complete=True))
    second = fence.take_over(0, "topic-2")
    assert (second.progress.offset, second.progress.seq, second.progress.complete) == (50, 0, True)
    assert (second.source, second.created) == ("topic-1", False)
    assert second.progress.token != first.progress.token


def test_a_flush_of_several_scripts_moves_the_offset_last(fence: PartitionFence, client: Client) -> None:
    fence.take_over(0, "t")
    binary = bytes(range(256))
    first = fence.prepare([whole(f"user {i} \x01é", binary) for i in range(2_001)])  # more than one MSET takes
    second = fence.prepare([whole("b", b"", ttl_ms=60_000)], move_to=7)
    fence.send(first)
    assert fence.load(["user 3 \x01é", "user 1000 \x01é", "user 2000 \x01é", "b"]) == [binary, binary, binary, None]
    assert PartitionFence(client, tag_of(fence)).take_over(0, "t").progress.offset == 0
    with pytest.raises(Refused, match=r"offset 0, incomplete, token \w{6}…, seq 1, but the store has offset 0"):
        fence.send(second)
    assert client.get(naming.entity_key(tag_of(fence), "b")) is None


def test_a_ttl_goes_with_whole_writes_only(fence: PartitionFence, client: Client) -> None:
    fence.take_over(0, "t")
    fence.send(fence.prepare([whole("a", b"12345678", ttl_ms=50_000), whole("b", b"1")]))
    key = naming.entity_key(tag_of(fence), "a")
    client.pexpire(key, 20_000)
    fence.send(fence.prepare([Write("a", b"abc", False, 8, 50_000)]))
    assert fence.load(["a"]) == [b"abc45678"]
    assert 0 < int(client.pttl(key)) <= 20_000
    assert int(client.pttl(naming.entity_key(tag_of(fence), "b"))) == -1


@pytest.mark.parametrize("stored", [None, b"1234567", b"123456789"])
def test_a_front_on_a_value_of_another_length_deletes_it_and_refuses(
    fence: PartitionFence, client: Client, stored: bytes | None
) -> None:
    fence.take_over(0, "t")
    fence.send(fence.prepare([whole("a", b"12345678"), whole("b", b"12345678")]))
    key = naming.entity_key(tag_of(fence), "b")
    client.delete(key)
    if stored is not None:
        client.set(key, stored)
    script = fence.prepare([Write(k, b"abc", False, 8, None) for k in "ab"], move_to=1)
    with pytest.raises(Refused, match="bytes long, which is not what its owner meant"):
        fence.send(script)
    assert client.get(key) is None
    with pytest.raises(Refused, match="take over again"):
        fence.check()
    assert fence.take_over(0, "t").progress.offset == 0


def test_duplicate_buckets_move_with_the_offset(fence: PartitionFence, client: Client) -> None:
    fence.take_over(0, "t")
    fence.send(fence.prepare([], move_to=1, duplicates=DuplicateWrite({3: b"a", 4: b"b"}, [], index(3, 4))))
    fence.send(fence.prepare([], move_to=2, duplicates=DuplicateWrite({4: b"c"}, [3], index(4))))
    assert fence.load_buckets([3, 4]) == {4: b"bc"}
    assert fence.take_over(0, "t").duplicates_index == index(4)
    # Without progress a replay begins: what it accepts must not meet the traces of the last time.
    client.delete(naming.progress_key(tag_of(fence)))
    taken = fence.take_over(0, "t")
    assert (taken.created, taken.duplicates_index) == (True, None)
    assert fence.load_buckets([3, 4]) == {}


def test_every_use_refuses_after_another_owner_came(fence: PartitionFence, client: Client) -> None:
    uses: list[Callable[[], object]] = [
        fence.check,
        lambda: fence.load(["a"]),
        lambda: fence.load_buckets([1]),
        lambda: fence.send(fence.prepare([whole("a", b"mine")], move_to=9)),
    ]
    for use in uses:
        fence.take_over(0, "t")
        PartitionFence(client, tag_of(fence)).take_over(0, "t")
        with pytest.raises(Refused, match="but the store has"):
            use()
        with pytest.raises(Refused, match="take over again"):
            use()
    assert client.get(naming.entity_key(tag_of(fence), "a")) is None


def test_missing_or_foreign_progress_is_a_refusal(fence: PartitionFence, client: Client) -> None:
    key = naming.progress_key(tag_of(fence))
    fence.take_over(0, "t")
    client.delete(key)
    with pytest.raises(Refused, match="but there is none"):
        fence.send(fence.prepare([]))
    fence.take_over(0, "t")
    client.set(key, "nonsense")
    with pytest.raises(Refused, match="something unreadable"):
        fence.check()
    with pytest.raises(StoreDown, match="token:seq:offset:phase"):
        fence.take_over(0, "t")


def test_a_repeated_script_is_done_once(fence: PartitionFence, client: Client) -> None:
    fence.take_over(0, "t")
    script = fence.prepare([], move_to=1, duplicates=DuplicateWrite({1: b"x"}, [], index(1)))
    fence.send(script)
    with pytest.raises(Refused):
        fence.send_again(script)
    # The reply was lost after the script was executed …
    fence._in_doubt, fence._stored = script, None
    fence.send_again(script)
    fence.check()
    # … or before.
    lost = fence.prepare([], move_to=2, duplicates=DuplicateWrite({1: b"y"}, [], index(1)))
    fence._in_doubt, fence._stored = lost, None
    fence.send_again(lost)
    assert fence.load_buckets([1]) == {1: b"xy"}


def test_order_and_direction_are_the_callers_duty(fence: PartitionFence) -> None:
    with pytest.raises(Refused, match="is not owned"):
        fence.prepare([])
    fence.take_over(5, "t")
    fence.prepare([])
    with pytest.raises(ValueError, match="in the order"):
        fence.send(fence.prepare([]))
    with pytest.raises(ValueError, match="offset 4 given, progress is at 5"):
        fence.prepare([], move_to=4)


def test_progress_is_one_readable_string() -> None:
    progress = Progress("ab" * 16, 3, 70, True)
    assert progress.encode() == b"ab" * 16 + b":3:70:1"
    assert Progress.parse(progress.encode()) == progress
    assert "ab" * 16 not in str(progress)
    for bad in (b"", b"a:1:2", b"a:1:2:3", b"a:-1:2:1", b"a:x:2:1", b"\xff:1:2:1:1"):
        with pytest.raises(ValueError, match="progress"):
            Progress.parse(bad)


def test_a_full_store_writes_nothing_of_a_script(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as server, connect(server.url) as client:
        fence = PartitionFence(client, naming.tag("a", "b", "c", 0))
        fence.take_over(0, "t")
        fence.send(fence.prepare([whole("a", b"old")], duplicates=DuplicateWrite({1: b"x"}, [], index(1))))
        client.config_set("maxmemory", 1000)
        # The deletion comes first in the script: it would be allowed by itself.
        script = fence.prepare([whole("a", b"new")], duplicates=DuplicateWrite({}, [1], index()))
        with pytest.raises(StoreFull, match="give it more memory"):
            fence.send(script)
        with pytest.raises(StoreFull):
            PartitionFence(client, tag_of(fence)).take_over(0, "t")
        assert fence.load(["a"]) == [b"old"]
        assert fence.load_buckets([1]) == {1: b"x"}
        client.delete(naming.progress_key(tag_of(fence)))
        with pytest.raises(StoreFull):
            PartitionFence(client, tag_of(fence)).take_over(0, "t")
        assert client.exists(naming.duplicates_bucket_key(tag_of(fence), 1))
        client.config_set("maxmemory", 0)
        fence.take_over(0, "t")
        fence.send(fence.prepare([whole("a", b"new")]))
        assert fence.load(["a"]) == [b"new"]


def test_a_script_that_begins_below_the_limit_is_not_cut_in_the_middle(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as server, connect(server.url) as client:
        fence = PartitionFence(client, naming.tag("a", "b", "c", 0))
        fence.take_over(0, "t")
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory", used + 20_000_000)
        writes = [whole(str(i), bytes(1_000_000)) for i in range(40)]
        try:
            fence.send(fence.prepare(writes))
        except StoreFull:
            assert fence.load([w.key for w in writes]) == [None] * 40
        else:
            assert fence.load([w.key for w in writes]) == [w.blob for w in writes]


def test_a_store_that_evicts_is_refused(tmp_path: Path) -> None:
    config = {"maxmemory-policy": "allkeys-lru"}
    with EmbeddedValkey(tmp_path, config=config) as server, connect(server.url) as client:
        with pytest.raises(EvictingStore, match=r"allkeys-lru.*set it to noeviction"):
            require_noeviction(client)
        client.config_set("maxmemory-policy", "noeviction")
        require_noeviction(client)


def test_a_cluster_is_checked_node_by_node(tmp_path: Path) -> None:
    with valkey_cluster(tmp_path) as url, connect(url) as client:
        require_noeviction(client)
        assert isinstance(client, RedisCluster)
        last = client.get_primaries()[-1]  # type: ignore[no-untyped-call]
        with redis.Redis(host=last.host, port=last.port) as node:
            node.config_set("maxmemory-policy", "volatile-ttl")
        with pytest.raises(EvictingStore, match="volatile-ttl"):
            require_noeviction(client)


def test_a_hidden_policy_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with EmbeddedValkey(tmp_path) as server:
        with connect(server.url) as admin:
            admin.acl_setuser("guest", enabled=True, passwords="+p/w", keys="*", commands=["+@all", "-info"])
        with connect(server.url.replace("://", "://guest:p%2Fw@")) as client:
            require_noeviction(client)
            assert "must be noeviction" in caplog.text


# os.clock() and not TIME, which stands still while a script runs.
_SLOW = b"""
redis.call('INCR', KEYS[1])
local from = os.clock()
repeat until os.clock() - from > 1
return 1
"""


def test_what_got_no_reply_is_not_sent_again(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freshet.stores.redis.REPLY_SECONDS", 0.3)
    with connect(store_url) as hasty, pytest.raises(StoreDown, match="no reply in time"):
        scripts.run(hasty, scripts.Lua.of(_SLOW), ["{t}:sent"], [])
    monkeypatch.undo()
    with connect(store_url) as patient:
        assert patient.get("{t}:sent") == b"1"


def test_a_server_that_is_gone_and_returns(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path, appendonly=True) as server, connect(server.url) as client:
        fence = PartitionFence(client, naming.tag("a", "b", "c", 0))
        fence.take_over(3, "t")
        fence.check()
        server.stop()
        with pytest.raises(StoreDown):
            fence.check()
        with pytest.raises(StoreDown):
            fence.take_over(0, "t")
        with pytest.raises(StoreDown):
            require_noeviction(client)
        server.start()
        with pytest.raises(Refused, match="take over again"):
            fence.check()
        assert fence.take_over(0, "t").progress.offset == 3


def take_over_somewhere(client: Client) -> None:
    for partition in range(9):
        PartitionFence(client, naming.tag("a", "b", "c", partition)).take_over(0, "t")


def test_the_url_of_the_other_kind_of_store_says_so(store_url: str) -> None:
    if store_url.startswith("redis+cluster"):
        single = connect(store_url.replace("redis+cluster", "redis"))
        with single, pytest.raises(StoreDown, match=r"redis\+cluster://"):
            take_over_somewhere(single)
    else:
        with pytest.raises(StoreDown):
            connect(store_url.replace("redis:", "redis+cluster:").removesuffix("/0"))
