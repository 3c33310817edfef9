"""Windows, hops and durations."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.spec.definition import Window
from freshet.spec.durations import duration_text, parse_duration
from freshet.spec.windows import HOPS, LONGEST_MS, SHORTEST_MS, hop_ms, most_tiles, parse_window


@pytest.mark.parametrize(
    ("window", "hop"),
    [
        ("1m", "1s"),
        ("299s", "1s"),
        ("5m", "5s"),
        ("15m", "15s"),
        ("1h", "1m"),
        ("6h", "5m"),
        ("24h", "15m"),
        ("59h", "15m"),
        ("60h", "1h"),
        ("7d", "1h"),
        ("14d", "3h"),
        ("15d", "6h"),
        ("30d", "12h"),
        ("60d", "1d"),
        ("90d", "1d"),
    ],
)
def test_hop_is_the_largest_within_a_sixtieth(window: str, hop: str) -> None:
    assert parse_window(window, None) == Window(parse_duration(window), parse_duration(hop), window)


@given(st.integers(SHORTEST_MS, LONGEST_MS))
def test_hop_rule(length: int) -> None:
    hop = hop_ms(length)
    assert hop * 60 <= length
    assert not any(hop < other and other * 60 <= length for other in HOPS.values())


def test_each_hop_divides_the_next() -> None:
    hops = list(HOPS.values())
    assert all(after % before == 0 for before, after in pairwise(hops))


def test_the_design_s_example_needs_at_most_337_tiles_and_edges() -> None:
    windows = [parse_window(text, None) for text in ("1h", "6h", "24h", "7d")]
    assert most_tiles(windows) == 60 + 72 + 96 + 168 + 8


def test_granularity_takes_the_hop_s_place() -> None:
    assert parse_window("1h", "1s").hop_ms == 1_000
    assert parse_window("1h", "1h").hop_ms == 3_600_000


@pytest.mark.parametrize(
    ("window", "granularity", "sentence"),
    [
        ("59s", None, "from 1m to 90d"),
        ("91d", None, "from 1m to 90d"),
        ("90001ms", None, "whole seconds"),
        ("1h", "3h", "longer than the window"),
        ("24h", "1s", "86400 tiles; at most 3600"),
    ],
)
def test_windows_that_are_refused(window: str, granularity: str | None, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_window(window, granularity)


@pytest.mark.parametrize("text", ["", "5", "m", "-1h", "1.5h", "01h", "1 h", "1H", "1w", "1h30m", "٣h", "99999999999s"])
def test_durations_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="whole number and one of the units"):
        parse_duration(text)


@given(st.integers(0, 10**9))
def test_a_duration_s_text_says_it(ms: int) -> None:
    assert parse_duration(duration_text(ms)) == ms
