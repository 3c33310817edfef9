"""What is played: a seed's rounds and their faults, dealt so that each comes as often as any other of its kind."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.table import Table

from tests.chaos import database, faults, stages, store_cluster
from tests.chaos.rounds import Plan
from tests.chaos.schedule import Deck
from tests.chaos.store import StorePair

COMMON = [*faults.PROCESSES, *stages.FAULTS, *faults.KAFKA, *database.FAULTS]
"""Of every round."""
OF_STORE = {StorePair.kind: faults.PAIR, store_cluster.StoreCluster.kind: store_cluster.FAULTS}
"""By kind of store."""
_PER_STORE = 6
"""Of a round's faults: they come one after the other, and there are many kinds."""
_TURNS = ("pair", "cluster", "pair", "cluster", "pair")
"""On which kind of store the rounds are played."""


def plans(seed: int, rounds: int, count: int, rate: float) -> Iterator[Plan]:
    """The rounds of a seed, each of `count` faults."""
    rng = random.Random(seed)
    common = Deck(COMMON, rng)
    decks = {kind: Deck(found, rng) for kind, found in OF_STORE.items()}
    for number in range(rounds):
        kind = _TURNS[number % len(_TURNS)]
        of_store = min(_PER_STORE, count)
        drawn = [*decks[kind].draw(of_store), *common.draw(count - of_store)]
        rng.shuffle(drawn)
        yield Plan(number + 1, kind, drawn, rng.randrange(1 << 30), rate)


def dealt(played: Iterable[Plan]) -> Counter[str]:
    """How often each fault comes, those that never do included."""
    found = Counter({fault.name: 0 for fault in (*COMMON, *(one for some in OF_STORE.values() for one in some))})
    for plan in played:
        found.update(fault.name for fault in plan.faults)
    return found


def show(played: Iterable[Plan]) -> None:
    """Prints how often each fault comes, the rarest last."""
    table = Table("fault", "times")
    for name, times in dealt(played).most_common():
        table.add_row(name, str(times))
    Console().print(table)
