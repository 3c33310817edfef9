"""`python -m tests.chaos`: rounds of faults on real servers, each ended by a comparison of everything with SQL."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

from tests.chaos import campaign, database, report
from tests.chaos.rounds import Ground, Result, play
from tests.chaos.store import StorePair
from tests.chaos.store_cluster import StoreCluster
from tests.chaos.world import Servers, Store

_ROUNDS, _FAULTS, _RATE = 4, 17, 300.0


def main() -> int:
    """Runs; the exit code says whether everything was right."""
    given = _options()
    seed, began = given.seed or int(time.time()), time.monotonic()
    plans = [*campaign.plans(seed, given.rounds, given.faults, given.rate)][given.first - 1 : given.last or None]
    if given.dealt:
        campaign.show(plans)
        return 0
    say(f"seed {seed}, {given.rounds} rounds of {given.faults} faults at {given.rate:g} events/s")
    folder = Path(mkdtemp(prefix="freshet-chaos-"))
    results: list[Result] = []
    servers = Servers(folder)
    history = database.History(folder, servers.network)
    stores: dict[str, Store] = {
        store.kind: store for store in (StorePair(folder, servers.network), StoreCluster(folder))
    }
    try:
        servers.start()
        history.start()
        for kind in {plan.kind for plan in plans}:
            stores[kind].start()
        for plan in plans:
            say(f"round {plan.number} of {given.rounds}, store {plan.kind}, seed {plan.seed}")
            results.append(play(Ground(folder, servers, history, stores), plan, say))
            tell(results[-1])
    finally:
        if results:
            report.show(results)
            report.append(results, seed, time.monotonic() - began)
        for store in stores.values():
            store.stop()
        history.stop()
        servers.stop()
    bad = [result.plan.number for result in results if not result.good]
    if bad:
        say(f"rounds {bad} were not good; logs are in {folder}; again: make chaos SEED={seed} ROUNDS={given.rounds}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    options.add_argument("--rounds", type=int, default=_ROUNDS)
    options.add_argument("--faults", type=int, default=_FAULTS, help="of one round")
    options.add_argument("--seed", type=int, default=0, help="of an earlier run, to have it again; 0: a new one")
    options.add_argument("--first", type=int, default=1, help="of the seed's rounds to play")
    options.add_argument("--last", type=int, default=0, help="of the seed's rounds to play; 0: all")
    options.add_argument("--rate", type=float, default=_RATE, help="events a second")
    options.add_argument("--dealt", action="store_true", help="only tell how often each fault comes")
    return options.parse_args()


def tell(result: Result) -> None:
    """The outcome of a round."""
    verdict = result.verdict
    say("  " + ", ".join(f"{count:,} {what}" for what, count in verdict.looked.items()))
    say(f"  answers of ingest {dict(result.answers)}, of serving {dict(result.reads)}")
    for one in result.applied:
        say(f"    {one}")
    say(f"  lost {len(verdict.lost)}, doubled {len(verdict.doubled)}, wrong {len(verdict.wrong)}")
    for sentence in [*verdict.lost[:10], *verdict.doubled[:10], *verdict.wrong[:10]]:
        say(f"    {sentence}")
    if result.broken:
        say(f"  NO VERDICT:\n{result.broken}")


def say(text: str) -> None:
    """Progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
