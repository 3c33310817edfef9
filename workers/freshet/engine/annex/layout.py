"""Which bags one definition's states have, and the annex as bytes.

An annex is 16 bytes of head (bags, words of all bags, weight, level), then 16 bytes a bag (start of its tile, which
part, words), then the bags, then the table of texts. A state that needs none has no annex at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from freshet.engine.accumulators import is_text
from freshet.engine.aggregates import ANNEX
from freshet.engine.annex.parts import Part, new_runs
from freshet.engine.column import Floats, Ints
from freshet.engine.pyramid import Pyramid
from freshet.engine.spans import ranges
from freshet.spec.definition import Aggregate, AggregateFeature, Definition, Input, Window

HEAD = np.dtype([("bags", "<u4"), ("words", "<u4"), ("weight", "<u4"), ("level", "<u2"), ("spare", "<u2")])
BAG = np.dtype([("start", "<f8"), ("entry", "<u2"), ("form", "<u2"), ("words", "<u4")])
BAG_BYTES = BAG.itemsize
EMPTY_HEAD = bytes(HEAD.itemsize)
"""The body of an annex that has texts only."""
_HEAD_WORDS, _BAG_WORDS = HEAD.itemsize // 8, BAG.itemsize // 8


@dataclass(frozen=True, slots=True)
class Entry:
    """One part over one kind of span."""

    part: Part
    windows: tuple[Window, ...]
    """Those that read it, shortest first; none: over the life."""
    pyramid: Pyramid | None
    """Its tiles; None: one bag an entity."""


@dataclass(frozen=True, slots=True)
class Bags:
    """The bags of one entry, of some entities: rows ordered by owner, then start."""

    owner: Ints
    start: Ints
    rows: Floats


@dataclass(frozen=True, slots=True)
class Decoded:
    """The annexes of some entities, which `owner` numbers."""

    bags: list[Bags]
    """One an entry."""
    level: Ints
    weight: Ints


class AnnexLayout:
    """The entries of one definition. False where it needs none."""

    def __init__(self, definition: Definition) -> None:
        windows: dict[tuple[Part, bool], set[Window]] = {}
        keeping: list[Input] = []
        for feature in definition.features:
            if not isinstance(feature, AggregateFeature):
                continue
            text = is_text(feature.input)
            module = ANNEX.get(feature.aggregate)
            if module is not None:
                part = module.part(feature)
                found = windows.setdefault((part, feature.window is not None and part.tiled), set())
                if feature.window is not None and part.tiled:
                    found.add(feature.window)
                text &= part.text_column is not None
            elif feature.aggregate not in (Aggregate.FIRST, Aggregate.LAST):
                continue
            if text:
                keeping.append(feature.input)
        self.text_inputs = tuple(dict.fromkeys(keeping))
        """Inputs whose texts states keep."""
        self.entries: list[Entry] = []
        self._index: dict[tuple[Part, bool], int] = {}
        for (part, windowed), some in windows.items():
            self._index[part, windowed] = len(self.entries)
            ordered = tuple(sorted(some))
            self.entries.append(Entry(part, ordered, Pyramid(ordered) if windowed else None))
        self.limit = definition.entity_bytes

    def __bool__(self) -> bool:
        return bool(self.entries or self.text_inputs)

    def index(self, feature: AggregateFeature) -> int:
        """The entry that a feature reads."""
        part = ANNEX[feature.aggregate].part(feature)
        return self._index[part, feature.window is not None and part.tiled]

    def description(self) -> tuple[object, ...]:
        """Everything that decides what a word of an annex means."""
        return tuple((entry.part, entry.windows) for entry in self.entries)

    def empty(self, owners: int) -> Decoded:
        """Of entities without annexes."""
        nothing = np.empty(0, np.int64)
        bags = [Bags(nothing, nothing, np.empty((0, entry.part.width))) for entry in self.entries]
        return Decoded(bags, np.zeros(owners, np.int64), np.zeros(owners, np.int64))

    def decode(self, bodies: Sequence[bytes]) -> Decoded:
        """Bodies (annexes without their texts) to bags; an empty one has none."""
        have = [i for i, body in enumerate(bodies) if body]
        out = self.empty(len(bodies))
        if not have:
            return out
        some = np.array(have, np.int64)
        words = np.frombuffer(b"".join([bodies[i] for i in have]), np.uint64)
        lengths = np.fromiter((len(bodies[i]) // 8 for i in have), np.int64, len(have))
        begin = np.cumsum(lengths) - lengths
        head = words[begin[:, None] + np.arange(_HEAD_WORDS)].view(HEAD).reshape(-1)
        out.level[some], out.weight[some] = head["level"], head["weight"]
        counts = head["bags"].astype(np.int64)
        bag = words[ranges(begin + _HEAD_WORDS, counts * _BAG_WORDS)].view(BAG)
        size = bag["words"].astype(np.int64)
        # Bodies follow each other, and within one the heads of all bags stand before the first.
        place = np.repeat(begin + _HEAD_WORDS + counts * _BAG_WORDS, counts) + _within(size, counts)
        owner = np.repeat(some, counts)
        for n, entry in enumerate(self.entries):
            chosen = np.flatnonzero(bag["entry"] == n)
            raw = words[ranges(place[chosen], size[chosen])]
            run, form = (np.repeat(of, size[chosen]) for of in (np.arange(len(chosen)), bag["form"][chosen]))
            rows, run = entry.part.unpack(raw, run, form)
            out.bags[n] = Bags(owner[chosen][run], bag["start"][chosen][run].astype(np.int64), rows)
        return out

    def figures(self, bodies: Sequence[bytes]) -> tuple[Ints, Ints]:
        """Weight and level of each body."""
        raw = b"".join([body[: HEAD.itemsize] or EMPTY_HEAD for body in bodies])
        head = np.frombuffer(raw, HEAD)
        return head["weight"].astype(np.int64), head["level"].astype(np.int64)

    def encode(self, bags: Sequence[Bags], level: Ints, weight: Ints) -> list[bytes]:
        """The reverse of `decode`. Bags are as their parts' `merge` gives them."""
        runs = [bag_runs(one.owner, one.start) for one in bags]
        packed = [
            entry.part.pack(one.rows, run, len(first))
            for entry, one, (first, run) in zip(self.entries, bags, runs, strict=True)
        ]
        bag = np.empty(sum(len(first) for first, _ in runs), BAG)
        owner = np.concatenate([one.owner[first] for one, (first, _) in zip(bags, runs, strict=True)])
        bag["start"] = np.concatenate([one.start[first] for one, (first, _) in zip(bags, runs, strict=True)])
        bag["entry"] = np.repeat(np.arange(len(runs)), [len(first) for first, _ in runs])
        bag["words"], bag["form"] = (np.concatenate([one[at] for one in packed]) for at in (1, 2))
        size = bag["words"].astype(np.int64)
        order = np.argsort(owner, kind="stable")
        counts = np.bincount(owner, minlength=len(level))
        total = np.bincount(owner, weights=size, minlength=len(level)).astype(np.int64)
        lengths = np.where((counts > 0) | (level > 0), _HEAD_WORDS + counts * _BAG_WORDS + total, 0)
        begin = np.cumsum(lengths) - lengths
        words = np.zeros(int(lengths.sum()), np.uint64)
        some = np.flatnonzero(lengths)
        head = np.zeros(len(some), HEAD)
        head["bags"], head["words"], head["weight"], head["level"] = (a[some] for a in (counts, total, weight, level))
        words[begin[some][:, None] + np.arange(_HEAD_WORDS)] = head.view(np.uint64).reshape(len(some), _HEAD_WORDS)
        words[ranges(begin + _HEAD_WORDS, counts * _BAG_WORDS)] = bag[order].view(np.uint64)
        place = np.empty(len(bag), np.int64)
        sorted_place = np.repeat(begin + _HEAD_WORDS + counts * _BAG_WORDS, counts) + _within(size[order], counts)
        place[order] = sorted_place
        words[ranges(place, size)] = np.concatenate([one[0] for one in packed])
        raw = words.tobytes()
        ends = (8 * (begin + lengths)).tolist()
        return [raw[a:b] for a, b in zip((8 * begin).tolist(), ends, strict=True)]


def body_bytes(annex: bytes) -> int:
    """Where in an annex the table of texts begins."""
    if not annex:
        return 0
    head = np.frombuffer(annex, HEAD, 1)
    return int(8 * (_HEAD_WORDS + _BAG_WORDS * head["bags"][0] + head["words"][0]))


def bag_runs(owner: Ints, start: Ints) -> tuple[Ints, Ints]:
    """The first row of each bag, and each row's bag, of rows in order of owner and start."""
    new = new_runs(owner, start)
    return np.flatnonzero(new), np.cumsum(new) - 1


def _within(size: Ints, counts: Ints) -> Ints:
    """Sizes in groups of `counts`: the sum of those before each in its group."""
    before = np.cumsum(size) - size
    first = np.cumsum(counts) - counts
    out: Ints = before - np.repeat(before[first[counts > 0]], counts[counts > 0])
    return out
