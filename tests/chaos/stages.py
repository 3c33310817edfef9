"""What happens to the stages that re-key. A broker's death and a bad network are theirs as everybody's."""

from __future__ import annotations

import random
import signal

from tests.chaos import steps
from tests.chaos.schedule import Fault, Steps
from tests.chaos.world import World

_MOMENTS = {"before": "copies sent", "offsets": "copies and offsets sent", "after": "committed"}
_SLEEP = (11.5, 15.0)
"""Seconds: Kafka aborts a transaction after 10, and looks for such each second."""


def die_around_commit(world: World, rng: random.Random) -> Steps:
    """A stage dies between its copies, their offsets and the commit."""
    where, number = rng.choice(sorted(_MOMENTS)), rng.randrange(2, 60)
    return steps.dying(rng.choice(world.stages), f"transaction {number}: {_MOMENTS[where]}", where, str(number))


def sleep_in_transaction(world: World, rng: random.Random) -> Steps:
    """A stage sleeps between its copies and the commit until another has its partitions, and goes on: a zombie."""
    where, number = rng.choice(["before", "offsets"]), rng.randrange(2, 60)
    moment = f"transaction {number}: {_MOMENTS[where]}"
    return steps.asleep(rng.choice(world.stages), moment, rng, where, str(number), "SIGSTOP")


def all_asleep(world: World, rng: random.Random) -> Steps:
    """Nobody takes over: Kafka aborts what they left open, and all wake up as zombies."""
    for stage in world.stages:
        stage.signal(signal.SIGSTOP)
    yield rng.uniform(*_SLEEP)
    for stage in world.stages:
        stage.signal(signal.SIGCONT)
        yield rng.uniform(0.0, 1.0)
    return None


def rebalance_storm(world: World, rng: random.Random) -> Steps:
    """Stages join and leave."""
    return steps.storm(world.stages, lambda name: world.beside(world.stages[0], f"rekey-{name}"), rng)


FAULTS = (
    Fault("kill -9 rekey", "stages", lambda world, rng: steps.killed(rng.choice(world.stages), rng)),
    Fault("kill -9 rekey around its commit", "stages", die_around_commit),
    Fault("rekey: SIGSTOP in a transaction, SIGCONT", "stages", sleep_in_transaction),
    Fault("rekey: all SIGSTOP past all timeouts, SIGCONT", "stages", all_asleep),
    Fault("rekey: rebalance storm", "stages", rebalance_storm),
)
