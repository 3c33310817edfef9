"""The faults. Each does its damage and mends it, in steps: `yield s` lets s seconds pass."""

from __future__ import annotations

import contextlib
import random

from confluent_kafka import KafkaException

from freshet.dev.ports import listens
from tests.chaos import steps
from tests.chaos.schedule import Fault, NotMet, Steps
from tests.chaos.store import StorePair, client
from tests.chaos.world import World

_SYNC_SECONDS = 150
_AOF_TRIES = 40


def rebalance_storm(world: World, rng: random.Random) -> Steps:
    """Processors join and leave."""
    of = rng.choice(world.processors)
    return steps.storm([of], lambda name: world.beside(of, name), rng)


def die_in_flush(world: World, rng: random.Random) -> Steps:
    """A processor dies between two scripts."""
    number = rng.randrange(1, 40)
    return steps.dying(rng.choice(world.processors), f"before script {number}", str(number))


def kill_store(world: World, rng: random.Random) -> Steps:
    """kill -9 of the store; it comes back with its AOF."""
    server = _pair(world).primary
    server.kill()
    yield rng.uniform(0.2, 3.0)
    server.launch()
    while not listens(server.port):
        yield 0.1
    yield from _replicate(world)
    return None


def power_loss(world: World, rng: random.Random) -> Steps:
    """The store's machine loses power: what its AOF got in the last second, between two syncs, is gone."""
    store = _pair(world)
    for _ in range(_AOF_TRIES):  # nothing is written while the processors have nothing to write, or are away
        file, before = store.aof(), store.aof().stat().st_size
        yield rng.uniform(0.3, 0.9)
        if store.aof() == file and file.stat().st_size > before:
            break
    store.primary.kill()
    lost = file.stat().st_size - before
    with file.open("r+b") as log:
        log.truncate(before)
    store.primary.launch()
    while not listens(store.primary.port):
        yield 0.1
    yield from _replicate(world)
    if lost <= 0:
        raise NotMet("nothing was written in that moment")
    return f"forgot {lost} bytes"


def flush_all(world: World, rng: random.Random) -> Steps:
    """FLUSHALL: the store has lost everything."""
    with client(_pair(world).primary) as store:
        store.flushall()
    yield 2.0
    return None


def failover(world: World, rng: random.Random) -> Steps:
    """The primary dies and a replica that is behind takes its place."""
    store = _pair(world)
    store.detach_replica()
    yield rng.uniform(0.3, 1.5)
    store.primary.kill()
    yield rng.uniform(0.0, 1.0)
    old = store.promote()
    store.proxy.cut()
    store.discard(old)
    store.add_replica()
    yield from _replicate(world)
    return None


def two_primaries(world: World, rng: random.Random) -> Steps:
    """A replica that is behind takes over while some connections still write to the old primary."""
    store = _pair(world)
    store.detach_replica()
    yield rng.uniform(0.3, 1.5)
    old = store.promote()
    world.serving.kill()
    world.serving.start()
    joined = world.beside(rng.choice(world.processors), "beside")
    joined.start()
    yield rng.uniform(1.0, 4.0)
    store.proxy.cut()
    store.discard(old)
    joined.kill()
    store.add_replica()
    yield from _replicate(world)
    return None


def kill_broker(world: World, rng: random.Random) -> Steps:
    """kill -9 of one of three brokers; it comes back."""
    node = rng.choice(world.servers.kafka.nodes)
    node.kill()
    yield rng.uniform(1.0, 6.0)
    node.launch()
    yield from _in_sync(world)
    return None


def cut_kafka(world: World, rng: random.Random) -> Steps:
    """Connections to the brokers are cut."""
    for _ in range(rng.randrange(1, 4)):
        for proxy in rng.sample(world.servers.brokers, rng.randrange(1, 4)):
            proxy.cut()
        yield rng.uniform(0.2, 1.5)
    return None


def slow_kafka(world: World, rng: random.Random) -> Steps:
    """300 ms to every broker and 300 ms back."""
    for proxy in world.servers.brokers:
        proxy.delay_seconds = 0.3
    yield rng.uniform(3.0, 6.0)
    for proxy in world.servers.brokers:
        proxy.heal()
    return None


PROCESSES = (
    Fault("kill -9 processor", "processors", lambda world, rng: steps.killed(rng.choice(world.processors), rng)),
    Fault("kill -9 between scripts of a flush", "processors", die_in_flush),
    Fault(
        "SIGSTOP past the session timeout, SIGCONT",
        "processors",
        lambda world, rng: steps.paused(rng.choice(world.processors), rng),
    ),
    Fault("rebalance storm", "processors", rebalance_storm),
    Fault("kill -9 ingest", "ingest", lambda world, rng: steps.killed(rng.choice(world.ingests), rng)),
    Fault("kill -9 serving", "serving", lambda world, rng: steps.killed(world.serving, rng)),
)
KAFKA = (
    Fault("kill -9 one broker of three", "kafka", kill_broker),
    Fault("connections to Kafka cut", "kafka", cut_kafka),
    Fault("300 ms to Kafka", "kafka", slow_kafka),
    Fault(
        "a broker silent to clients", "kafka", lambda world, rng: steps.silent(rng.choice(world.servers.brokers), rng)
    ),
)
PAIR = (
    Fault("kill -9 Valkey, AOF everysec", "store", kill_store),
    Fault("Valkey loses its last second", "store", power_loss),
    Fault("FLUSHALL", "store", flush_all),
    Fault("failover to a lagging replica", "store", failover),
    Fault("failover with two primaries for a while", "store", two_primaries),
    Fault("connections to Valkey cut", "store", lambda world, rng: steps.cut(_pair(world).proxy, rng)),
    Fault("300 ms to Valkey", "store", lambda world, rng: steps.slow(_pair(world).proxy, rng)),
    Fault("Valkey silent", "store", lambda world, rng: steps.silent(_pair(world).proxy, rng)),
)


def _pair(world: World) -> StorePair:
    assert isinstance(world.store, StorePair)
    return world.store


def _replicate(world: World) -> Steps:
    """Until the replica has what the primary has, so that the next failover finds one."""
    for _ in range(4 * _SYNC_SECONDS):
        yield 0.25
        if _pair(world).replicated():
            return None
    raise AssertionError("the replica does not follow")


def _in_sync(world: World) -> Steps:
    """Until every partition has its copies: the next broker may only fall then."""
    for _ in range(_SYNC_SECONDS):
        yield 1.0
        with contextlib.suppress(KafkaException):
            if not world.servers.kafka.lagging():
                return None
    raise AssertionError("a broker that came back does not catch up")
