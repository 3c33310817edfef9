"""Decoding never raises, and what an event gives depends on nothing but the event and the broker's clock."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from freshet.engine.decode import EventDecoder
from freshet.engine.events import EventBatch
from freshet.spec.expr.tree import Type
from tests.unit.engine.test_decode import DEFINITION, NOW

DECODER = EventDecoder(DEFINITION)

NUMBERS = st.one_of(
    st.integers(-10, 10), st.integers(), st.floats(), st.sampled_from([10**400, -(10**30), 1e308, 2**63, 2**64, NOW])
)
TEXTS = st.one_of(st.text(max_size=8), st.text(alphabet=st.characters(), max_size=5), st.just("k" * 600))
TIMES = st.one_of(
    st.integers(NOW - 10**7, NOW + 10**6),
    st.sampled_from(["2026-01-05T10:30:00Z", "2026-01-05T12:30:00.25+02:00", "2026-01-05T10:30:00", "never"]),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
NAMES = ["user_id", "timestamp", "event_id", "event_type", "amount", "items", "premium", "geo", "other"]
NORMAL = st.fixed_dictionaries(
    {"user_id": st.sampled_from(["a", "b", 7]), "timestamp": TIMES, "event_type": st.sampled_from(["view", "buy"])},
    optional={"amount": st.one_of(st.floats(0, 100), st.integers(0, 9)), "items": st.integers(0, 5), "event_id": TEXTS},
)
ODD = st.tuples(NORMAL, st.dictionaries(st.sampled_from(NAMES), JSON, max_size=3)).map(
    lambda pair: {**pair[0], **pair[1]}
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    text = bytearray(json.dumps(draw(ODD), ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass"))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(text) - 1))
        text[place] = draw(st.one_of(st.integers(0, 255), st.sampled_from(list(b'{}[]",:\\0e.-'))))
    return bytes(text)


VALUES = st.one_of(NORMAL.map(lambda value: json.dumps(value).encode()), damaged(), st.binary(max_size=40), st.none())


def rows(batch: EventBatch) -> list[tuple[Any, ...]]:
    columns = [
        [value if good else None for value, good in zip(column.values.tolist(), column.mask().tolist(), strict=True)]
        for column in batch.fields.values()
    ]
    return list(
        zip(
            batch.offset.tolist(), batch.broker_ms.tolist(), batch.t_ms.tolist(), batch.keys, batch.event_ids,
            *columns, strict=True,
        )
    )  # fmt: skip


@given(st.lists(VALUES, max_size=40))
def test_bulk_is_one_by_one(values: list[bytes | None]) -> None:
    size = len(values)
    offsets, clock = np.arange(size), NOW + 1000 * np.arange(size)
    batch, rejected = DECODER.decode(values, offsets, clock)
    singles = [DECODER.decode([v], offsets[i : i + 1], clock[i : i + 1]) for i, v in enumerate(values)]
    assert rows(batch) == [row for one, _ in singles for row in rows(one)]
    assert [(r.index, r.reason, r.sentence) for r in rejected] == [
        (i, r.reason, r.sentence) for i, (_, bad) in enumerate(singles) for r in bad
    ]
    late = np.zeros(len(batch), np.bool_) if batch.clamped is None else batch.clamped
    assert late.tolist() == [one.clamped is not None for one, _ in singles for _ in one.keys]
    assert len(batch) + len(rejected) == size
    assert [r.index for r in rejected] == sorted({r.index for r in rejected})
    for column in batch.fields.values():
        if column.values.dtype == np.float64:
            assert np.isfinite(column.values).all()


@given(VALUES)
def test_one_event_alone_is_judged_as_among_others(value: bytes | None) -> None:
    fields = tuple(field for field in DEFINITION.fields if field.type is not Type.INTEGER)
    decoder = EventDecoder(replace(DEFINITION, fields=fields))
    alone, two = decoder.judge([value], NOW), decoder.judge([value, value], NOW)
    assert (two.positions, two.keys) == ([0, 1] if alone.positions else [], 2 * alone.keys)
    assert two.rejected[:1] == alone.rejected


@given(VALUES)
def test_the_fast_decoder_accepts_nothing_that_the_rule_refuses(value: bytes | None) -> None:
    fast = EventDecoder(DEFINITION)
    slow = EventDecoder(DEFINITION)
    slow._decode = _refuse
    offsets, clock = np.array([0]), np.array([NOW])
    quick, exact = fast.decode([value], offsets, clock), slow.decode([value], offsets, clock)
    assert rows(quick[0]) == rows(exact[0])
    assert quick[1] == exact[1]


def _refuse(_value: Any) -> Any:
    raise ValueError("everything takes the slow path")
