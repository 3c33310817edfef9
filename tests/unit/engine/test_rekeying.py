"""Re-keying reads an entity's key exactly as processors do, so that what it copies is theirs to judge."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from freshet.engine.decode import EventDecoder
from freshet.engine.rejection import Reason
from freshet.engine.rekeying import Fate, KeyReader, Rekeyed, rekeyed
from freshet.spec import headers
from freshet.spec.definition import Definition

NOW = 1_767_609_000_000
READER = KeyReader("card_id")
DECODER = EventDecoder(
    Definition(
        entity="card",
        key="card_id",
        timezone="UTC",
        timestamp="at",
        event_id="event_id",
        deduplicate_ms=0,
        max_future_skew_ms=0,
        fields=(),
        features=(),
        evaluation=(),
        revision="0123456789",
    )
)
UUID_TEXT = b"01234567-89ab-cdef-0123-456789abcdef"
KEYS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.text("aß\0", min_size=250, max_size=600),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
EVENTS = st.builds(
    lambda key, more: json.dumps({**more, **({} if key == "" else {"card_id": key}), "at": NOW}).encode(),
    KEYS,
    st.dictionaries(st.sampled_from(["user_id", "amount", "geo"]), KEYS, max_size=3),
)
TEXTS = st.one_of(EVENTS, st.binary(max_size=40), st.none())


def broken(event: bytes | None, cut: int) -> bytes | None:
    return event if event is None or not cut else event[:-cut]


@given(TEXTS, st.sampled_from([0, 0, 0, 1, 3]), st.one_of(st.none(), st.binary(max_size=8)))
@example(b'{"card_id": 1.0, "at": 1}', 0, b"k")
@example(b'{"card_id": "\\ud800", "at": 1}', 0, b"k")
@example(b'{"card_id": null, "name": "\xff"}', 0, b"k")
@example(b'{"card_id": ' + b"9" * 600 + b', "at": 1}', 0, b"k")
@example(b'{"deep": ' + b"[" * 200 + b"]" * 200 + b"}", 0, b"k")
def test_a_record_is_read_as_its_processor_reads_it(event: bytes | None, cut: int, key: bytes | None) -> None:
    value = broken(event, cut)
    found = rekeyed(READER, key, value, [])
    batch, rejected = DECODER.decode([value], np.zeros(1, np.int64), np.full(1, NOW, np.int64))
    if batch.keys:
        assert found == Rekeyed(Fate.KEYED, batch.keys[0].encode())
    elif rejected[0].reason is Reason.MISSING_KEY:
        assert found.fate is Fate.ABSENT
    elif rejected[0].reason not in (Reason.MISSING_TIMESTAMP, Reason.BAD_TIMESTAMP, Reason.WRONG_TYPE):
        assert found == Rekeyed(Fate.UNREADABLE, key)


@pytest.mark.parametrize("value", [b"", None, b"[]", b"1", b"{", b'{"card_id": ""}', b'{"card_id": true}', b"\xff"])
def test_what_cannot_be_read_keeps_its_key(value: bytes | None) -> None:
    assert rekeyed(READER, b"user_1", value, []) == Rekeyed(Fate.UNREADABLE, b"user_1")


MARKS: list[tuple[list[tuple[str, bytes | None]], bytes | None, Fate]] = [
    ([(headers.CONTROL, b"erase")], None, Fate.CONTROL),
    ([(headers.CONTROL, b"erase")], b'{"card_id": 7}', Fate.KEYED),  # a control record has no value
    ([(headers.FOR, b"n/f/0123456789")], b'{"card_id": 7}', Fate.CONTROL),
    ([(headers.FOR, b"nothing")], b'{"card_id": 7}', Fate.KEYED),
    ([("traceparent", b"00-1")], b'{"card_id": 7}', Fate.KEYED),
]


@pytest.mark.parametrize(("marks", "value", "fate"), MARKS)
def test_records_of_the_origins_own_are_left_out(marks: Any, value: bytes | None, fate: Fate) -> None:
    found = rekeyed(READER, b"user_1", value, marks)
    assert found.fate is fate
    assert found.copied == (fate is Fate.KEYED)
