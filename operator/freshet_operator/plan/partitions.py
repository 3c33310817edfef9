"""How far a revision's processors are, by what they say of their partitions.

What the store's progress says of a partition (complete or not) is known to its owner alone; the consumer group's lag
says nothing of it: offsets may be committed for states that a store has since forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from freshet_operator.model import Object, Work
from freshet_operator.plan.conditions import Verdict, condition
from freshet_operator.plan.times import time_ms

BUILT = Verdict("True", "Completed", "the topic's events up to now are in the features")
_UNREADY_MS = 15_000
"""How long a pod must have been unready: at a hand-over a partition stops for a moment and goes on by itself."""
_NAMED = 5
_WHY = {
    "StoreDown": "the online store does not answer; work goes on by itself when it does",
    "StoreFull": "the online store is full; nothing is lost, give it memory",
    "SourceChanged": "the source topic was made anew or has another number of partitions; see docs/how-it-works.md",
    "SourceTruncated": "what comes next is not in the source topic any more; see docs/how-it-works.md",
    "OutputFailed": "Kafka does not take feature vectors or dead letters",
    "KafkaException": "Kafka does not answer for it",
}


def backfill_verdict(work: Mapping[str, Work], partitions: int, before: Object, done: bool) -> Verdict:
    """The condition BackfillComplete. `work`: by pod; `done`: all partitions of this revision were complete before.

    Then only a processor that says otherwise takes it back (a store that has forgotten); a partition that changes hands
    has no owner for a moment and is as complete as it was.
    """
    rebuilding = frozenset[int]().union(*(one.rebuilding for one in work.values()))
    owned = frozenset[int]().union(*(one.owned for one in work.values()))
    left = sorted(rebuilding | (set(range(partitions)) - owned))
    if done and not rebuilding and (not left or condition(before, "BackfillComplete").get("reason") != "Rebuilding"):
        return BUILT
    if done:
        message = (
            f"the online store has lost states: {len(left)} of {partitions} partitions are being built again from the"
            " log; reads of their entities are answered 503 until then"
        )
        return Verdict("False", "Rebuilding", message)
    if not work:
        return Verdict("False", "CatchingUp", "no processor has told of its work yet")
    if left:
        return Verdict("False", "CatchingUp", f"{partitions - len(left)} of {partitions} partitions are built")
    return BUILT


def stopped_verdict(pods: Sequence[Object], work: Mapping[str, Work], now_ms: int) -> Verdict | None:
    """Of ProcessorReady, if a processor has not been ready for a while and says why; None otherwise."""
    for pod in pods:
        said = work.get(pod["metadata"]["name"])
        if said is None or not _unready(pod, now_ms):
            continue
        name = pod["metadata"]["name"]
        if said.problem:
            return Verdict("False", "ProcessingStopped", f"{name} cannot work: {said.problem}")
        if said.stopped:
            return Verdict("False", "ProcessingStopped", _stopped(name, said.stopped))
    return None


def _stopped(name: str, stopped: Mapping[int, str]) -> str:
    numbers = sorted(stopped)
    reason = stopped[numbers[0]]
    more = f" and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else ""
    listed = ", ".join(str(number) for number in numbers[:_NAMED])
    why = _WHY.get(reason, f"see `kubectl logs {name}`")
    return f"partition {listed}{more} stopped in {name}: {reason}: {why}"


def _unready(pod: Object, now_ms: int) -> bool:
    for one in (pod.get("status") or {}).get("conditions") or ():
        if one.get("type") == "Ready":
            since = time_ms(one.get("lastTransitionTime"))
            return bool(one.get("status") == "False" and since is not None and now_ms - since >= _UNREADY_MS)
    return False
