"""Interleavings that chance finds too rarely, written down: the model's shortest bad ends as steps of the real code."""

from __future__ import annotations

import redis

from freshet.processor.partition import Limits
from tests.model.process import Process, Router, Variant, clock, execute_late
from tests.model.world import Event, Log, World, Wrong


def play(main: redis.Redis, old: redis.Redis, events: str, steps: str, variant: Variant) -> str | None:
    """What goes wrong when these steps, separated by commas, are taken in order; or None.

    `A own|take N|flush|send|late|finish` is a step of a process, `A lose` sends a script whose reply is lost before it
    is executed, `back N` makes the store what it was before its last N changes, `split N` the same while the former
    primary goes on answering to steps that begin with `old`.
    """
    main.flushdb()
    old.flushdb()
    log = Log([Event(key, offset) for offset, key in enumerate(events)])
    world = World(main, old, log, "scenario", expires=False)
    world.sent.at_once = True
    router, now = Router(main, old), clock()
    processes = {n: Process(world, router, variant, Limits(keys_per_script=1), now) for n in "AB"}
    copies = [world.copy(main)]
    try:
        for step in steps.split(","):
            words = step.split()
            router.to_old = words[0] == "old"
            words = words[1:] if router.to_old else words
            if words[0] in ("back", "split"):
                if words[0] == "split":
                    world.put_back(old, copies[-1])
                del copies[-int(words[1]) :]
                world.put_back(main, copies[-1])
            else:
                _act(processes[words[0]], words[1], int(words[2]) if len(words) > 2 else 0)
            if world.copy(main) != copies[-1]:
                copies.append(world.copy(main))
            world.check()
    except Wrong as wrong:
        return str(wrong)
    return None


def _act(process: Process, verb: str, count: int) -> None:
    """A step that is not possible any more, because a rule has stopped the process, is left out."""
    if verb == "own":
        process.take_over()
    elif verb == "late":
        execute_late(process.router, process.late[-1])
    elif verb == "finish":
        process.finish()
    elif process.owner is None:
        return
    elif verb == "take":
        process.take(count)
    elif verb == "flush":
        process.begin_flush()
    elif process.scripts:
        process.send({"send": None, "lose": "before"}[verb])
