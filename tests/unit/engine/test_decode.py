"""Every kind of bad event has its reason; good ones become the values that were sent."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from freshet.engine.decode import EventDecoder, Reason, Rejected
from freshet.engine.events import EventBatch
from freshet.spec.definition import Definition, Field
from freshet.spec.expr.tree import Type

NOW = 1_767_609_000_000  # 2026-01-05T10:30:00Z
DEFINITION = Definition(
    entity="user",
    key="user_id",
    timezone="UTC",
    timestamp="timestamp",
    event_id="event_id",
    deduplicate_ms=600_000,
    max_future_skew_ms=300_000,
    fields=(
        Field("event_type", Type.TEXT, ("event_type",), required=True),
        Field("amount", Type.DOUBLE, ("amount",), minimum=0, maximum=1e6),
        Field("items", Type.INTEGER, ("items",)),
        Field("premium", Type.BOOLEAN, ("premium",)),
        Field("city", Type.TEXT, ("geo", "city")),
    ),
    features=(),
    evaluation=(),
    revision="0123456789",
)
GOOD: dict[str, Any] = {"user_id": "alice", "timestamp": NOW, "event_type": "view"}


def decode(*values: bytes | None, definition: Definition = DEFINITION) -> tuple[EventBatch, list[Rejected]]:
    size = len(values)
    return EventDecoder(definition).decode(values, np.arange(size) + 7, np.full(size, NOW, np.int64))


def event(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def reason(value: bytes | None, definition: Definition = DEFINITION) -> tuple[Reason, str | None]:
    batch, rejected = decode(event(), value, event(), definition=definition)
    assert batch.offset.tolist() == [7, 9]
    assert [one.index for one in rejected] == [1]
    alone = decode(value, definition=definition)[1]
    assert [(a.reason, a.sentence) for a in alone] == [(r.reason, r.sentence) for r in rejected]
    return rejected[0].reason, rejected[0].field


def test_values_are_what_was_sent() -> None:
    batch, rejected = decode(
        event(amount=2.5, items=3, premium=True, geo={"city": "Köln"}, event_id="e1"),
        event(amount=None, geo=None, event_id=17, user_id=42),
        event(items=3.0, geo={"city": None}, event_id=""),
    )
    assert rejected == []
    assert batch.keys == ["alice", "42", "alice"]
    assert batch.event_ids == ["e1", "17", None]
    assert batch.fields["event_type"].values.tolist() == ["view"] * 3
    assert batch.fields["event_type"].valid is None
    assert batch.fields["amount"].values.tolist() == [2.5, 0, 0]
    assert batch.fields["amount"].mask().tolist() == [True, False, False]
    assert batch.fields["items"].values.tolist() == [3, 0, 3]
    assert batch.fields["items"].mask().tolist() == [True, False, True]
    assert batch.fields["premium"].values.tolist() == [True, False, False]
    assert batch.fields["premium"].mask().tolist() == [True, False, False]
    assert batch.fields["city"].values.tolist() == ["Köln", "", ""]
    assert batch.fields["city"].mask().tolist() == [True, False, False]


def test_a_time_after_the_broker_is_clamped_and_counted() -> None:
    batch, rejected = decode(event(timestamp=NOW + 300_000), event(timestamp=NOW - 5), event(timestamp=NOW + 1))
    assert rejected == []
    assert batch.t_ms.tolist() == [NOW, NOW - 5, NOW]
    assert batch.clamped is not None
    assert batch.clamped.tolist() == [True, False, True]


def test_of_equal_names_the_last_wins() -> None:
    batch, rejected = decode(b'{"user_id":[],"user_id":"bob","timestamp":0,"event_type":"a","event_type":"b"}')
    assert rejected == []
    assert batch.keys == ["bob"]
    assert batch.fields["event_type"].values.tolist() == ["b"]


def test_no_events_give_an_empty_batch() -> None:
    batch, rejected = decode()
    assert len(batch) == 0
    assert rejected == []
    assert set(batch.fields) == {"event_type", "amount", "items", "premium", "city"}


DEEP = b'{"user_id":"a","timestamp":0,"event_type":"v","x":' + b"[" * 500_000 + b"]" * 500_000 + b"}"


@pytest.mark.parametrize(
    ("value", "expected", "field"),
    [
        (None, Reason.EMPTY, None),
        (b"", Reason.EMPTY, None),
        (b"not json", Reason.NOT_JSON, None),
        (b'{"user_id": "alice"', Reason.NOT_JSON, None),
        (event() + b"x", Reason.NOT_JSON, None),
        (b"\xef\xbb\xbf" + event(), Reason.NOT_JSON, None),
        (b"[1, 2]", Reason.WRONG_TYPE, None),
        (b'"text"', Reason.WRONG_TYPE, None),
        (b"null", Reason.WRONG_TYPE, None),
        (event().replace(b"alice", b"al\xffice"), Reason.BAD_UTF8, None),
        (event(other="x").replace(b'"x"', b'"\xc3"'), Reason.BAD_UTF8, None),
        (event(other="x" * (1 << 20)), Reason.TOO_LARGE, None),
        (DEEP, Reason.TOO_DEEP, None),
        (event(user_id=None), Reason.MISSING_KEY, "user_id"),
        (b'{"timestamp":0,"event_type":"v"}', Reason.MISSING_KEY, "user_id"),
        (event(user_id=""), Reason.BAD_KEY, "user_id"),
        (event(user_id="ä" * 257), Reason.BAD_KEY, "user_id"),
        (event(user_id="x" * 513), Reason.BAD_KEY, "user_id"),
        (event(user_id=int("9" * 600)), Reason.BAD_KEY, "user_id"),
        (event(user_id="a\0b"), Reason.BAD_KEY, "user_id"),
        (event(user_id="\ud800"), Reason.BAD_KEY, "user_id"),
        (event(user_id=1.5), Reason.BAD_KEY, "user_id"),
        (event(user_id=True), Reason.BAD_KEY, "user_id"),
        (event(user_id={"a": 1}), Reason.BAD_KEY, "user_id"),
        (event(event_type="\udfff"), Reason.BAD_UTF8, None),
        (b'{"user_id":"a","event_type":"v"}', Reason.MISSING_TIMESTAMP, "timestamp"),
        (event(timestamp=None), Reason.MISSING_TIMESTAMP, "timestamp"),
        (event(timestamp="2026-01-05T10:30:00"), Reason.BAD_TIMESTAMP, "timestamp"),
        (event(timestamp="yesterday"), Reason.BAD_TIMESTAMP, "timestamp"),
        (event(timestamp=""), Reason.BAD_TIMESTAMP, "timestamp"),
        (event(timestamp="2026-02-30T10:30:00Z"), Reason.BAD_TIMESTAMP, "timestamp"),
        (event(timestamp="1969-12-31T23:59:59Z"), Reason.BAD_TIMESTAMP, "timestamp"),
        (event(timestamp="2101-01-01T00:00:00Z"), Reason.BAD_TIMESTAMP, "timestamp"),
        (event(timestamp=-1), Reason.BAD_TIMESTAMP, "timestamp"),
        (event(timestamp=10**40), Reason.BAD_TIMESTAMP, "timestamp"),
        (event(timestamp=1.5), Reason.BAD_TIMESTAMP, "timestamp"),
        (event(timestamp=[]), Reason.BAD_TIMESTAMP, "timestamp"),
        (event(timestamp=NOW + 300_001), Reason.FUTURE, "timestamp"),
        (event(timestamp="2026-01-05T10:35:00.001Z"), Reason.FUTURE, "timestamp"),
        (event(event_type=None), Reason.MISSING_FIELD, "event_type"),
        (b'{"user_id":"a","timestamp":0}', Reason.MISSING_FIELD, "event_type"),
        (event(event_type=5), Reason.WRONG_TYPE, "event_type"),
        (event(amount="5"), Reason.WRONG_TYPE, "amount"),
        (event(amount=-0.01), Reason.OUT_OF_RANGE, "amount"),
        (event(amount=1e6 + 1), Reason.OUT_OF_RANGE, "amount"),
        (event(amount=7).replace(b"7}", b"1e999}"), Reason.OUT_OF_RANGE, "amount"),
        (event(amount=float("nan")), Reason.OUT_OF_RANGE, None),
        (event(items=10**400), Reason.OUT_OF_RANGE, "items"),
        (event(items=1.5), Reason.WRONG_TYPE, "items"),
        (event(premium=1), Reason.WRONG_TYPE, "premium"),
        (event(geo="Köln"), Reason.WRONG_TYPE, "geo"),
        (event(geo={"city": 5}), Reason.WRONG_TYPE, "geo.city"),
        (event(event_id=1.5), Reason.WRONG_TYPE, "event_id"),
        (event(event_id=[]), Reason.WRONG_TYPE, "event_id"),
    ],
)
def test_a_bad_event_has_its_reason(value: bytes | None, expected: Reason, field: str | None) -> None:
    assert reason(value) == (expected, field)


def test_sentences_never_hold_the_payload() -> None:
    values = [
        event(user_id=["secret"]),
        event(timestamp="secret"),
        event(amount="secret"),
        event(geo="secret"),
        event(event_type="secret").replace(b"}", b""),
        event(event_type="secret\ud800"),
    ]
    for rejected in decode(*values)[1]:
        assert "secret" not in rejected.sentence
        assert len(rejected.sentence) > 20
    assert len(decode(*values)[1]) == len(values)


def test_unused_parts_of_an_event_may_hold_any_json() -> None:
    value = b'{"user_id":"a","timestamp":0,"event_type":"v","x":1e999,"y":' + b"[" * 100 + b"]" * 100 + b"}"
    assert decode(value)[1] == []


def test_braces_in_a_text_are_not_nesting() -> None:
    assert decode(event(other="{[" * 500 + '"\\' * 50))[1] == []


def test_a_field_may_also_be_the_key_or_the_time() -> None:
    fields = (
        Field("user", Type.TEXT, ("user_id",)),
        Field("number", Type.INTEGER, ("event_id",)),
        Field("when", Type.DOUBLE, ("timestamp",)),
    )
    definition = replace(DEFINITION, fields=fields)
    good, wrong = event(event_id=5), event(event_id="5")
    batch, rejected = decode(good, wrong, event(user_id=5), event(event_id=10**30), definition=definition)
    assert [(one.index, one.reason) for one in rejected] == [(1, Reason.WRONG_TYPE), (2, Reason.WRONG_TYPE)]
    assert batch.keys == ["alice", "alice"]
    assert batch.event_ids == ["5", str(10**30)]
    assert batch.fields["user"].values.tolist() == ["alice", "alice"]
    assert batch.fields["number"].values.tolist() == [5.0, 1e30]
    assert batch.fields["when"].values.tolist() == [NOW, NOW]


def test_paths_that_contradict_each_other_are_refused() -> None:
    fields = (Field("city", Type.TEXT, ("user_id", "city")),)
    with pytest.raises(ValueError, match="user_id"):
        EventDecoder(replace(DEFINITION, fields=fields))


def test_examine_and_judge_agree_with_decode() -> None:
    decoder = EventDecoder(DEFINITION)
    assert decoder.examine(event(), NOW) is None
    refused = decoder.examine(event(timestamp=NOW + 600_000), NOW)
    assert refused is not None
    assert (refused.index, refused.reason) == (0, Reason.FUTURE)
    judged = decoder.judge([b"x", event(user_id="bob"), None], NOW)
    assert (judged.positions, judged.keys, [r.index for r in judged.rejected]) == ([1], ["bob"], [0, 2])
