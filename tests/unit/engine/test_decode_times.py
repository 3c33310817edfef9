"""RFC 3339 texts: the rule for one, and the bulk reader that must agree with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.engine.timestamps import END_MS, epoch_ms, many_epoch_ms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2100-12-31T23:59:59.999Z", END_MS - 1),
        ("2026-01-05T10:30:00Z", 1_767_609_000_000),
        ("2026-01-05t10:30:00z", 1_767_609_000_000),
        ("2026-01-05 10:30:00.5Z", 1_767_609_000_500),
        ("2026-01-05T10:29:59.9999999999999Z", 1_767_608_999_999),
        ("2026-01-05T12:30:00.123456+02:00", 1_767_609_000_123),
        ("2026-01-04T23:00:00-11:30", 1_767_609_000_000),
        ("2101-01-01T00:30:00+01:00", END_MS - 1_800_000),
        ("1969-12-31T23:30:00-01:00", 1_800_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
    ],
)
def test_a_time_is_floored_to_milliseconds(text: str, expected: int) -> None:
    assert epoch_ms(text) == expected
    assert many_epoch_ms([text] * 40).tolist() == [expected] * 40


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-05T10:30:00",
        "2026-01-05",
        "1767609000000",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-05T24:00:00Z",
        "2026-01-05T10:60:00Z",
        "2026-01-05T10:30:60Z",
        "2026-01-05T10:30:00.Z",
        "2026-01-05T10:30:00+24:00",
        "2026-01-05T10:30:00+02:60",
        "2026-01-05T10:30:00+0200",
        "2026-1-05T10:30:00Z",
        "٢٠٢٦-01-05T10:30:00Z",
        "1970-01-01T00:00:00+00:01",
        "2101-01-01T00:00:00Z",
        "9999-01-01T00:00:00Z",
        "2026-01-05T10:30:00Z ",
        "2026-01-05T10:30:00\u00e9",
    ],
)
def test_what_is_not_a_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time"):
        epoch_ms(text)
    assert many_epoch_ms([text] * 40).tolist() == [-1] * 40


MOMENTS = st.datetimes(datetime(1970, 1, 3), datetime(2100, 12, 28))
ZONES = st.integers(-1439, 1439)


@given(MOMENTS, ZONES)
def test_a_text_of_the_standard_library_means_the_same(moment: datetime, minutes: int) -> None:
    local = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    exact = (local - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert epoch_ms(local.isoformat()) == exact


ODD = st.one_of(
    MOMENTS.map(lambda moment: moment.isoformat() + "Z"),
    st.tuples(MOMENTS, ZONES).map(
        lambda pair: pair[0].replace(tzinfo=timezone(timedelta(minutes=pair[1]))).isoformat()
    ),
    st.text(alphabet="0123456789-:TZ.+ tzé", min_size=18, max_size=32),
    st.text(max_size=24),
)


@given(st.lists(ODD, min_size=1, max_size=8), st.integers(1, 30))
def test_the_bulk_reader_agrees_with_the_rule(texts: list[str], times: int) -> None:
    def rule(text: str) -> int:
        try:
            return epoch_ms(text)
        except ValueError:
            return -1

    many = texts * times
    assert many_epoch_ms(many).tolist() == [rule(text) for text in many]
