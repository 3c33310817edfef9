"""Records of several partitions, decoded at the cost of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from freshet.engine.column import Ints
from freshet.engine.decode import EventDecoder
from freshet.engine.duplicates import event_hashes
from freshet.engine.events import EventBatch
from freshet.engine.hashtable import Hashes
from freshet.engine.rejection import Rejected
from freshet.processor.records import Records


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the records of one partition hold."""

    batch: EventBatch
    hashes: Hashes
    """Of each event, for the duplicate filter."""
    rejected: list[Rejected]
    """The others, by their index among the records."""


def decode_together(decoder: EventDecoder, parts: Sequence[Records]) -> list[Decoded]:
    """The events of each. What an event gives does not depend on what it is decoded with."""
    places = [records.events() for records in parts]
    some = [records.some(at) for records, at in zip(parts, places, strict=True)]
    values = [part[0] for part in some]
    offset, broker_ms = (np.concatenate([part[i] for part in some]) for i in (1, 2))
    whole, rejected = decoder.decode(list(chain.from_iterable(values)), offset, broker_ms)
    hashes = event_hashes(whole.keys, whole.event_ids)
    out = []
    first, begin, left = 0, 0, rejected
    for at, part in zip(places, values, strict=True):
        here = [item for item in left if item.index < first + len(part)]
        left = left[len(here) :]
        end = begin + len(part) - len(here)
        own = [replace(item, index=_among_records(item.index - first, at)) for item in here]
        out.append(Decoded(whole.part(begin, end), hashes[begin:end], own))
        first, begin = first + len(part), end
    return out


def _among_records(index: int, at: Ints | None) -> int:
    return index if at is None else int(at[index])
