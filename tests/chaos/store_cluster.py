"""A store of three shards, each with a replica, and what happens to a shard."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from pathlib import Path

import redis

from freshet.dev.servers import EmbeddedValkey
from tests.chaos.schedule import Fault, Steps
from tests.chaos.world import World
from tests.valkey_cluster import ValkeyCluster, node

_NODE_TIMEOUT_MS = 2_000
_FAILOVER_STEPS, _STEP_SECONDS = 480, 0.25


class StoreCluster:
    """Clients learn where the shards are from any node."""

    kind = "cluster"

    def __init__(self, folder: Path) -> None:
        self.nodes = ValkeyCluster(folder / "cluster", replicas=True, node_timeout_ms=_NODE_TIMEOUT_MS)
        self.url = self.nodes.url

    def start(self) -> None:
        """Starts all nodes."""
        self.nodes.start()
        self.url = self.nodes.url

    def stop(self) -> None:
        """Ends all nodes."""
        self.nodes.stop()

    def clear(self) -> None:
        """Removes all keys."""
        for shard in range(len(self.nodes.primaries)):
            _name(self.nodes, shard)
            with node(self.nodes.primaries[shard]) as primary:
                primary.flushall()


def kill_and_return(world: World, rng: random.Random) -> Steps:
    """kill -9 of a shard that is back before its replica takes over."""
    cluster = _cluster(world)
    server = rng.choice(cluster.primaries)
    server.kill()
    yield rng.uniform(0.1, 0.8)
    server.launch()
    yield from _settle(cluster, cluster.primaries.index(server))
    return None


def fail_over(world: World, rng: random.Random) -> Steps:
    """A shard dies while its replica is behind; the cluster promotes the replica, the old primary comes back as one."""
    cluster = _cluster(world)
    shard = rng.randrange(len(cluster.primaries))
    old, new = cluster.primaries[shard], cluster.replicas[shard]
    os.kill(new.process.pid, signal.SIGSTOP)
    with node(old) as primary:
        primary.execute_command("CLIENT", "KILL", "TYPE", "replica")
    yield rng.uniform(0.2, 1.2)
    old.kill()
    os.kill(new.process.pid, signal.SIGCONT)
    yield from _promoted(new)
    old.launch()
    yield from _settle(cluster, shard)
    return None


def pause(world: World, rng: random.Random) -> Steps:
    """A shard sleeps, is replaced by its replica, and wakes up as one that believes to be the primary."""
    cluster = _cluster(world)
    shard = rng.randrange(len(cluster.primaries))
    old, new = cluster.primaries[shard], cluster.replicas[shard]
    os.kill(old.process.pid, signal.SIGSTOP)
    yield from _promoted(new)
    yield rng.uniform(0.0, 2.0)
    os.kill(old.process.pid, signal.SIGCONT)
    yield from _settle(cluster, shard)
    return None


def flush_shard(world: World, rng: random.Random) -> Steps:
    """FLUSHALL of one shard: its partitions are gone, those of the others are not."""
    with node(rng.choice(_cluster(world).primaries)) as primary:
        primary.flushall()
    yield 2.0
    return None


def cut(world: World, rng: random.Random) -> Steps:
    """All connections of clients to some nodes are closed."""
    for _ in range(rng.randrange(1, 4)):
        for server in rng.sample(_cluster(world).primaries, 2):
            with node(server) as primary:
                primary.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        yield rng.uniform(0.1, 1.0)
    return None


FAULTS = (
    Fault("cluster: kill -9 of a shard, AOF everysec", "store", kill_and_return),
    Fault("cluster: shard failover to a lagging replica", "store", fail_over),
    Fault("cluster: shard paused, replaced, continued", "store", pause),
    Fault("cluster: FLUSHALL of a shard", "store", flush_shard),
    Fault("cluster: connections cut", "store", cut),
)


def _cluster(world: World) -> ValkeyCluster:
    assert isinstance(world.store, StoreCluster)
    cluster = world.store.nodes
    for shard in range(len(cluster.primaries)):
        _name(cluster, shard)
    return cluster


def _promoted(server: EmbeddedValkey) -> Steps:
    for _ in range(_FAILOVER_STEPS):
        yield _STEP_SECONDS
        if _replication(server).get("role") == "master":
            return None
    raise AssertionError("the cluster promotes no replica")


def _settle(cluster: ValkeyCluster, shard: int) -> Steps:
    """Until the shard's replica follows its primary."""
    for _ in range(_FAILOVER_STEPS):
        yield _STEP_SECONDS
        _name(cluster, shard)
        role = _replication(cluster.primaries[shard])
        told = _replication(cluster.replicas[shard])
        followed = told.get("master_link_status") == "up" and told.get("master_port") == cluster.primaries[shard].port
        if role.get("role") == "master" and followed:
            return None
    raise AssertionError("a shard's replica does not follow its primary")


def _name(cluster: ValkeyCluster, shard: int) -> None:
    """Calls primary what is one: where a machine is busy, a shard fails over by itself."""
    one, other = cluster.primaries[shard], cluster.replicas[shard]
    if _replication(one).get("role") == "slave" and _replication(other).get("role") == "master":
        cluster.primaries[shard], cluster.replicas[shard] = other, one


def _replication(server: EmbeddedValkey) -> dict[str, object]:
    with contextlib.suppress(redis.RedisError, OSError), node(server) as client:
        found: dict[str, object] = client.info("replication")
        return found
    return {}
