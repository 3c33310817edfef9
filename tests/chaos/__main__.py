"""`python -m tests.chaos`: rounds of faults on real servers, each ended by a comparison of everything with SQL."""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from freshet.stores import kafka
from tests.chaos import faults
from tests.chaos.driver import Driver
from tests.chaos.evidence import gather
from tests.chaos.schedule import Deck, Fault, apply
from tests.chaos.verdict import Verdict, reach
from tests.chaos.world import Servers, World

_DRAIN_SECONDS = 120


def main() -> int:
    """Runs; the exit code says whether everything was right."""
    options = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    options.add_argument("--rounds", type=int, default=4)
    options.add_argument("--faults", type=int, default=10, help="a round")
    options.add_argument("--seed", type=int, default=0, help="0: a new one")
    options.add_argument("--rate", type=float, default=300, help="events a second")
    given = options.parse_args()
    seed = given.seed or int(time.time())
    say(f"seed {seed}")
    rng = random.Random(seed)
    deck = Deck([*faults.PROCESSES, *faults.KAFKA, *faults.STORE], rng)
    good = True
    with TemporaryDirectory(prefix="freshet-chaos-") as folder:
        servers = Servers(Path(folder))
        try:
            servers.start()
            for number in range(given.rounds):
                good &= play(Path(folder), servers, number, deck.draw(given.faults), rng.randrange(1 << 30), given.rate)
        finally:
            servers.stop()
    return 0 if good else 1


def play(folder: Path, servers: Servers, number: int, drawn: list[Fault], seed: int, rate: float) -> bool:
    """One round."""
    say(f"round {number + 1}: seed {seed}")
    world = World(folder / f"round-{number}", servers, number)
    try:
        world.start()
        driver = Driver(
            lambda: [one.url for one in world.ingests],
            rate,
            seed,
            (kafka.producer(world.settings), world.featureset.source.topic),
        )
        driver.start()
        applied = apply(world, drawn, random.Random(seed), say)
        driver.finish(_DRAIN_SECONDS)
        world.wait_processed(_DRAIN_SECONDS)
        verdict = reach(world, gather(world, driver.account))
        tell(verdict)
        say(f"  answers {dict(driver.account.answers)}")
        for one in applied:
            say(f"    {one}")
        for death in world.deaths:
            say(death)
        return verdict.good and not world.deaths
    finally:
        world.close()


def tell(verdict: Verdict) -> None:
    """The outcome of a round."""
    say("  " + ", ".join(f"{count:,} {what}" for what, count in verdict.looked.items()))
    say(f"  lost {len(verdict.lost)}, doubled {len(verdict.doubled)}, wrong {len(verdict.wrong)}")
    for sentence in [*verdict.lost[:10], *verdict.doubled[:10], *verdict.wrong[:10]]:
        say(f"    {sentence}")


def say(text: str) -> None:
    """Progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
