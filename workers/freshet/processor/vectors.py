"""Telling the vectors that are due, those of all partitions at once: a read of fifty entities costs little more than
one of one, whichever partitions they are of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain, repeat

import numpy as np

from freshet.engine.column import Ints
from freshet.processor.compiled import Compiled
from freshet.processor.groups import groups
from freshet.processor.outputs import OutputFailed
from freshet.processor.partition import PartitionOwner
from freshet.processor.runner import Runner

Due = tuple[PartitionOwner, Ints]
"""Slots of an owner's entities whose vectors are to be sent."""

_GATHER_MS = 100
"""Due vectors are gathered for so long."""
_ENTITIES = 4_000
"""Partitions are joined until they have so many: with more the columns leave the processor's cache."""


def due_vectors(runners: Collection[Runner], now_ms: int, *, behind: bool) -> list[Due]:
    """What is to be told now. An entity's vectors lie `output.every` apart, or what its partition waits if that is
    longer: with a backlog they become fewer."""
    if now_ms - max((runner.owner.told_ms for runner in runners), default=0) < _GATHER_MS:
        return []
    waits = [(runner.owner, runner.wait_ms(now_ms, behind=behind)) for runner in runners]
    return [(owner, owner.due(now_ms, wait)) for owner, wait in waits if now_ms - owner.told_ms >= wait]


def tell_together(compiled: Compiled, due: Iterable[Due], now_ms: int) -> list[tuple[PartitionOwner, OutputFailed]]:
    """Sends these vectors, of owners that share a table; returns the owners that failed, and how."""
    failed: list[tuple[PartitionOwner, OutputFailed]] = []
    for group in groups(due, _ENTITIES):
        failed += _tell_group(compiled, group, now_ms)
    return failed


def _tell_group(compiled: Compiled, due: Sequence[Due], now_ms: int) -> list[tuple[PartitionOwner, OutputFailed]]:
    first = due[0][0]
    names = [[owner.states.keys[slot] for slot in slots.tolist()] for owner, slots in due]
    keys = list(chain.from_iterable(names))
    rows = np.concatenate([owner.states.rows(slots) for owner, slots in due])
    vectors = compiled.reader.read_states(keys, *first.states.table.gather(rows), now_ms)
    first.counts.nulls += vectors.nulls
    partitions = chain.from_iterable(repeat(owner.partition, len(slots)) for owner, slots in due)
    texts = compiled.texts.texts(keys, vectors, partitions)
    failed, begin = [], 0
    for (owner, slots), own in zip(due, names, strict=True):
        end = begin + len(own)
        try:
            owner.tell(slots, own, texts[begin:end], now_ms)
        except OutputFailed as error:
            failed.append((owner, error))
        begin = end
    return failed
