"""Rows of the event log as records: the same that Kafka would have given."""

from __future__ import annotations

from freshet.processor.backlog import to_records
from freshet.stores.event_log import Row


def test_every_row_keeps_its_place_and_only_events_are_events() -> None:
    rows = [
        Row(5, 1_000, 0, "a", None, '{"x": 1}'),
        Row(6, 1_001, 1, "a", None, '{"x":1}'),
        Row(8, 1_002, 2, None, None, None),
        Row(9, 1_003, 3, None, None, None, -2),
        Row(10, 1_004, 4, "b", None, None),
        Row(11, 1_005, 5, "b", None, None),
        Row(12, 1_006, 0, "c", "shop/other/0123456789", "{}"),
        Row(13, 1_007, 0, "c", "shop/mine/0123456789", "{}"),
        Row(14, 1_008, 3, None, "shop/other/0123456789", None, 7),
        Row(15, 1_009, 3, None, "shop/mine/0123456789", None, 8),
    ]
    records = to_records(rows, "shop/mine/0123456789")
    assert records.offset.tolist() == [5, 6, 8, 9, 10, 11, 12, 13, 14, 15]
    assert records.broker_ms.tolist() == list(range(1_000, 1_010))
    events = records.events()
    assert events is not None
    assert records.offset[events].tolist() == [5, 6, 13]
    assert [records.values[i] for i in events] == [b'{"x": 1}', b'{"x":1}', b"{}"]
    assert records.erasures() == {"b": 4}
    assert records.known is not None
    assert [part.tolist() for part in records.known] == [[3, 9], [2**64 - 2, 8]]


def test_rows_that_are_all_events_need_no_masks() -> None:
    records = to_records([Row(5, 1_000, 0, "a", None, "{}")], "o")
    assert (records.skip, records.erase, records.known, records.events()) == (None, None, None, None)
