"""One round: a system of its own, the stream, the faults, and what SQL says in the end."""

from __future__ import annotations

import random
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from freshet.dev.oracle.run import Oracle
from freshet.stores import kafka
from tests.chaos import verdict as verdicts
from tests.chaos.copies import judge_copies
from tests.chaos.driver import Driver
from tests.chaos.evidence import Evidence, gather
from tests.chaos.explain import explain
from tests.chaos.recorded import judge_recorded
from tests.chaos.schedule import Applied, Fault, apply
from tests.chaos.verdict import Verdict
from tests.chaos.watcher import Default, Watcher
from tests.chaos.world import History, Servers, Store, World

_DRAIN_SECONDS = 120
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is drawn for a round."""

    number: int
    kind: str
    """Of the store."""
    faults: Sequence[Fault]
    seed: int
    rate: float


@dataclass(frozen=True, slots=True)
class Ground:
    """What all rounds are played on."""

    folder: Path
    servers: Servers
    history: History
    stores: dict[str, Store]
    """By kind."""


@dataclass
class Result:
    """What came out."""

    plan: Plan
    applied: list[Applied] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    answers: Counter[str] = field(default_factory=Counter)
    """Of ingest."""
    reads: Counter[str] = field(default_factory=Counter)
    """Answers of serving while faults happened."""
    broken: str | None = None
    """Why the round did not come to a verdict."""

    @property
    def good(self) -> bool:
        """Whether everything was as promised."""
        return self.broken is None and self.verdict.good


def play(ground: Ground, plan: Plan, tell: Tell) -> Result:
    """Plays a round; whatever goes wrong is in its result."""
    result = Result(plan)
    folder = ground.folder / f"round-{plan.number}"
    world = World(folder, ground.servers, ground.stores[plan.kind], ground.history, plan.number)
    try:
        _play(world, plan, result, tell)
    except Exception:
        result.broken = traceback.format_exc()
    finally:
        world.close()
    return result


def _play(world: World, plan: Plan, result: Result, tell: Tell) -> None:
    world.start()
    foreign = kafka.producer(world.settings)
    topics = [(subject.topic, subject.definition.entity) for subject in world.subjects]
    driver = Driver(lambda: [one.url for one in world.ingests], plan.rate, plan.seed, foreign, topics)
    watcher = Watcher(lambda: world.serving.url, world.subjects)
    result.answers, result.reads = driver.account.answers, watcher.answers
    driver.start()
    watcher.start()
    try:
        apply(world, plan.faults, random.Random(plan.seed), tell, result.applied)
        tell("  the faults are over")
        driver.finish(_DRAIN_SECONDS)
        world.wait_copied(_DRAIN_SECONDS)
        world.wait_processed(_DRAIN_SECONDS)
        world.wait_recorded(_DRAIN_SECONDS)
    finally:
        watcher.finish()
    tell("  everything has arrived")
    verdict = result.verdict = Verdict(wrong=[*watcher.wrong, *world.deaths])
    users, cards = (gather(world, subject, driver.account) for subject in world.subjects)
    verdicts.judge_log(users, verdict)
    judge_copies(users.raw, cards.raw, world.cards.partitions, verdict)
    with ThreadPoolExecutor() as both:
        reached = both.map(lambda evidence: reach(world, evidence, watcher.defaults), (users, cards))
    for evidence, found in zip((users, cards), reached, strict=True):
        verdict.add(found, evidence.subject.name)
        if found.values:
            with Oracle(evidence.subject.definition) as oracle:
                tell(explain(oracle, evidence.logs, found.values, result.applied))


def reach(world: World, evidence: Evidence, defaults: Sequence[Default]) -> Verdict:
    """Compares everything of one FeatureSet with its log."""
    verdict = Verdict()
    verdicts.judge_letters(evidence, verdict)
    verdicts.judge_defaults(defaults, evidence, verdict)
    with Oracle(evidence.subject.definition) as oracle:
        verdicts.judge_states(evidence, verdict, oracle)
        verdicts.judge_served(world, evidence, verdict, oracle)
        verdicts.judge_vectors(evidence, verdict, oracle)
        judge_recorded(world, evidence, verdict, oracle)
    return verdict
