"""What may befall any service and any connection; faults are made of it."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Sequence

from tests.chaos.processes import Process
from tests.chaos.proxy import Proxy
from tests.chaos.schedule import NotMet, Steps

_PAST_SESSION = (7.0, 11.0)
RESTART = (0.2, 2.0)
"""Seconds until a cluster has a dead service running again."""


def killed(process: Process, rng: random.Random) -> Steps:
    """kill -9 at any moment."""
    process.kill()
    yield rng.uniform(*RESTART)
    process.start()
    return None


def dying(process: Process, moment: str, *fate: str) -> Steps:
    """kill -9 at a moment that its program for tests makes out of `fate`."""
    yield from _met(process, moment, fate, lambda: not process.alive)
    process.kill()
    process.start()
    return moment


def paused(process: Process, rng: random.Random) -> Steps:
    """SIGSTOP past the session timeout, then SIGCONT: a zombie that believes to own partitions."""
    process.signal(signal.SIGSTOP)
    yield rng.uniform(*_PAST_SESSION)
    process.signal(signal.SIGCONT)
    yield 1.0
    return None


def storm(members: Sequence[Process], join: Callable[[str], Process], rng: random.Random) -> Steps:
    """More of them join and leave, some in order and some not; then one of the members leaves in order."""
    joined = [join(f"extra-{i}") for i in (1, 2)]
    for process in joined:
        process.start()
        yield rng.uniform(0.5, 3.0)
    for process in joined:
        if rng.random() < 0.5:
            process.kill()
        else:
            process.signal(signal.SIGTERM)
        yield rng.uniform(0.2, 2.0)
    leaving = rng.choice(members)
    leaving.fated = True
    leaving.signal(signal.SIGTERM)
    for _ in range(60):
        yield 0.25
        if not any(process.alive for process in [*joined, leaving]):
            break
    for process in joined:
        process.kill()
    leaving.kill()
    leaving.start()
    return None


def asleep(process: Process, moment: str, rng: random.Random, *fate: str) -> Steps:
    """The same, but it only sleeps past the session timeout, and goes on where it was."""
    yield from _met(process, moment, fate, lambda: process.asleep)
    process.fated = False
    yield rng.uniform(*_PAST_SESSION)
    process.signal(signal.SIGCONT)
    yield 1.0
    return moment


def _met(process: Process, moment: str, fate: Sequence[str], stopped: Callable[[], bool]) -> Steps:
    process.fated = True
    process.signal(signal.SIGTERM)  # leaves its group at once, where a dead member would be waited for
    for _ in range(40):
        yield 0.1
        if not process.alive:
            break
    process.kill()
    process.start(*fate)
    for _ in range(120):
        yield 0.25
        if stopped():
            return None
    process.kill()
    process.start()
    raise NotMet(f"{moment}: never came")


def cut(proxy: Proxy, rng: random.Random) -> Steps:
    """Connections end, some in the middle of a reply."""
    for _ in range(rng.randrange(1, 5)):
        proxy.cut()
        yield rng.uniform(0.05, 1.0)
    return None


def slow(proxy: Proxy, rng: random.Random) -> Steps:
    """300 ms there and 300 ms back."""
    proxy.delay_seconds = 0.3
    yield rng.uniform(3.0, 6.0)
    proxy.heal()
    return None


def silent(proxy: Proxy, rng: random.Random) -> Steps:
    """No answer for longer than clients wait; what they sent arrives at once, or with the answers when it is over."""
    answers_only = rng.random() < 0.5
    if answers_only:
        proxy.mute()
    else:
        proxy.stall()
    yield rng.uniform(2.0, 8.0)
    proxy.heal()
    return "answers only" if answers_only else None
