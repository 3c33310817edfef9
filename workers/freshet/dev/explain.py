"""Why a value is what it is: its formula, the events' times it is of, and the tiles it is made of. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from freshet.engine.aggregates import AGGREGATES, ANNEX
from freshet.engine.annex.opened import OpenAnnexes
from freshet.engine.layout import Layout
from freshet.engine.reader import Reader, Vectors
from freshet.engine.sessions import SESSION_AGGREGATES
from freshet.engine.vectors import Value, plain
from freshet.runtime.timestamps import rfc3339
from freshet.spec.definition import AggregateFeature, Definition, ExpressionFeature
from freshet.spec.durations import duration_text
from freshet.spec.expr.text import expression_text
from freshet.spec.expr.tree import names


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile of the window, or the life."""

    start: str | None
    parts: dict[str, list[float]]
    """The words of each accumulator that the value is made of."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One value of one entity."""

    entity: str
    feature: str
    value: Value
    formula: str
    read_at: str
    since: str | None
    """Oldest event time that counts; None: the first event."""
    until: str
    """Event times before it count."""
    hop: str | None
    offset: int
    """Events of the partition below it are in."""
    newest_event: str | None
    tiles: list[Tile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    inputs: dict[str, Value] = field(default_factory=dict)
    """Of an expression: the values that it reads."""

    def document(self) -> dict[str, Any]:
        """The explanation as JSON values."""
        return asdict(self)


def explain(definition: Definition, key: str, name: str, blob: bytes | None, now_ms: int) -> Explanation:
    """The explanation of feature `name` from the entity's state. Raises KeyError for an unknown one, LayoutError."""
    feature = definition.feature(name)
    layout = Layout(definition)
    vectors = Reader(definition, layout).read([key], [blob], now_ms)
    q = int(vectors.q_ms[0])
    newest = int(vectors.newest_ms[0])
    since = hop = None
    if isinstance(feature, AggregateFeature) and feature.window is not None:
        window = feature.window
        since = rfc3339((q - window.length_ms) // window.hop_ms * window.hop_ms)
        hop = duration_text(window.hop_ms)
    tiles: list[Tile] = []
    notes: list[str] = []
    inputs: dict[str, Value] = {}
    if isinstance(feature, ExpressionFeature):
        inputs = {one: _value(definition, vectors, one) for one in names(feature.expr) if one in vectors.columns}
    elif blob is not None:
        tiles, notes = _parts(layout, feature, blob, q)
    return Explanation(
        entity=key,
        feature=name,
        value=_value(definition, vectors, name),
        formula=formula(feature),
        read_at=rfc3339(q),
        since=since,
        until=rfc3339(q),
        hop=hop,
        offset=int(vectors.offset[0]),
        newest_event=rfc3339(newest) if newest >= 0 else None,
        tiles=tiles,
        notes=notes,
        inputs=inputs,
    )


def formula(feature: AggregateFeature | ExpressionFeature) -> str:
    """The value in words that stand in the manifest."""
    if isinstance(feature, ExpressionFeature):
        text = expression_text(feature.expr)
    else:
        of = expression_text(feature.input.of) if feature.input.of is not None else "events"
        text = f"{feature.aggregate}({of})"
        for word, given in (("size", feature.n), ("percentile", feature.quantile * 100)):
            text += f" {word} {given:g}" if given else ""
        for word, ms in (("gap", feature.gap_ms), ("halfLife", feature.half_life_ms)):
            text += f" {word} {duration_text(ms)}" if ms else ""
        if feature.input.where is not None:
            text += f" where {expression_text(feature.input.where)}"
        text += f" over {feature.window.text}" if feature.window else " over the lifetime"
    return text if feature.default is None else f"coalesce({text}, {feature.default!r})"


def _value(definition: Definition, vectors: Vectors, name: str) -> Value:
    value: Value = plain(vectors.columns[name], definition.feature(name).type)[0]
    return value


def _parts(layout: Layout, feature: AggregateFeature, blob: bytes, q: int) -> tuple[list[Tile], list[str]]:
    fixed, rows, _, annexes = layout.split([blob])
    if feature.aggregate in ANNEX:
        bags = OpenAnnexes(layout.annex, annexes, np.array([q])).merged(feature)
        note = f"{len(bags.rows)} rows in the window's bag, coarseness {int(bags.level[0])}"
        return [], [note]
    if feature.aggregate in SESSION_AGGREGATES:
        [columns] = [c for s, c in layout.sessions.items() if (s.input, s.gap_ms) == (feature.input, feature.gap_ms)]
        return [Tile(None, {"start, end, start and end before, sessions": fixed[0, columns].tolist()})], []
    accumulators = AGGREGATES[feature.aggregate].accumulators(feature)
    if feature.window is None:
        begin = layout.life_columns.start
        life = fixed[0, begin:]
        return [Tile(None, {type(a).__name__.lower(): life[layout.life.columns[a]].tolist() for a in accumulators})], []
    edge = (q - feature.window.length_ms) // feature.window.hop_ms * feature.window.hop_ms
    return [
        Tile(
            rfc3339(int(row[0])),
            {type(a).__name__.lower(): row[1:][layout.tile.columns[a]].tolist() for a in accumulators},
        )
        for row in rows[rows[:, 0] >= edge]
    ], []
