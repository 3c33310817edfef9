"""The oracle against values worked out by hand: it judges the engine, so somebody has to judge it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from freshet.dev.oracle.compare import agree, differences, plain, report
from freshet.dev.oracle.log import Record, log_of
from freshet.dev.oracle.run import Oracle, Reads
from freshet.engine.column import Column
from freshet.spec.definition import Definition
from freshet.spec.load import parse_featureset

T = 1_769_860_800_000
"""2026-01-31T12:00:00Z: a multiple of every hop up to 12h."""
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000

Value = float | bool | str | None


def definition(*features: str, source: str = "") -> Definition:
    """A definition with these features, each in YAML's flow form."""
    lines = "".join(f"    - {{{feature}}}\n" for feature in features)
    return parse_featureset(
        "apiVersion: freshet.dev/v1alpha1\nkind: FeatureSet\nmetadata: {name: by-hand}\nspec:\n  version: v1\n"
        "  entity: {name: user, key: user_id}\n"
        f"  source: {{{source} fields: {{x: {{type: double}}, kind: {{type: string}}}}}}\n  features:\n{lines}"
    ).definition


def at(offset: int, after_t: int, x: float | None = None, **other: Any) -> Record:
    """A record of user u that reaches the broker when it happens; `other` attributes as given."""
    return Record(offset, T + after_t, T + after_t, "u", None, {"x": x})._replace(**other)


def values(wanted: Definition, records: Sequence[Record], *now: int, key: str = "u") -> dict[str, list[Value]]:
    """What the oracle says of user u at each of these times after T."""
    log = log_of(records, wanted)
    reads = Reads([key] * len(now), np.full(len(now), log.end), T + np.array(now, np.int64))
    with Oracle(wanted) as oracle:
        columns = oracle.values(log, reads).columns
    return {name: [plain(column, i) for i in range(len(now))] for name, column in columns.items()}


def test_a_window_is_half_open_and_its_oldest_edge_floored_to_the_hop() -> None:
    count = definition("name: n, aggregate: count, windows: [1h]")
    got = values(count, [at(0, 0)], 0, 1, HOUR, HOUR + MINUTE - 1, HOUR + MINUTE)
    # A read at the event's own time is moved to 1 ms after it; the hop of 1h is a minute.
    assert got["n_1h"] == [1, 1, 1, 1, 0]


def test_an_event_just_below_a_hop_leaves_when_the_edge_passes_it() -> None:
    count = definition("name: n, aggregate: count, windows: [1h]")
    assert values(count, [at(0, -1)], HOUR - 1, HOUR)["n_1h"] == [1, 0]


def test_granularity_sets_the_hop() -> None:
    count = definition("name: n, aggregate: count, windows: [1h], granularity: 1h")
    assert values(count, [at(0, 0)], 2 * HOUR - 1, 2 * HOUR)["n_1h"] == [1, 0]


def test_a_read_lies_after_the_newest_event_and_sees_all() -> None:
    wanted = definition("name: n, aggregate: count, windows: [1m]", "name: since, aggregate: time_since_last")
    got = values(wanted, [at(0, 0), at(1, 5000)], -DAY, 7000)
    assert got == {"n_1m": [2, 2], "since": [0.001, 2.0]}


def test_times_after_the_broker_are_clamped_and_far_ones_left_out() -> None:
    wanted = definition(
        "name: n, aggregate: count", "name: since, aggregate: time_since_last", source="maxFutureSkew: 5m,"
    )
    records = [at(0, 0, t=T + 5 * MINUTE), at(1, 0, t=T + 5 * MINUTE + 1)]
    assert values(wanted, records, 1000) == {"n": [1], "since": [1.0]}


def test_duplicates_up_to_the_edge_and_not_beyond() -> None:
    count = definition("name: n, aggregate: count", source="deduplicate: 10m,")
    span = 10 * MINUTE
    assert values(count, [at(0, 0, event_id="e"), at(1, span, event_id="e")], DAY)["n"] == [1]
    assert values(count, [at(0, 0, event_id="e"), at(1, span + 1, event_id="e")], DAY)["n"] == [2]


def test_only_accepted_records_make_duplicates() -> None:
    count = definition("name: n, aggregate: count", source="deduplicate: 10m,")
    # The second is a duplicate of the first; the third is 11 minutes from the first, so it counts; the fourth does not.
    records = [at(i, i * 6 * MINUTE if i < 2 else (i + 9) * MINUTE, event_id="e") for i in range(4)]
    assert [r.broker_ms - T for r in records] == [0, 6 * MINUTE, 11 * MINUTE, 12 * MINUTE]
    assert values(count, records, DAY)["n"] == [2]


def test_duplicates_are_counted_in_log_time_which_never_falls() -> None:
    count = definition("name: n, aggregate: count", source="deduplicate: 10m,")
    later = at(1, 11 * MINUTE, malformed=True)
    again = at(2, MINUTE, event_id="e")
    # The malformed record moves log time to 11 minutes; the third record's own broker time does not take it back.
    assert values(count, [at(0, 0, event_id="e"), later, again], DAY)["n"] == [2]
    assert values(count, [at(0, 0, event_id="e"), again], DAY)["n"] == [1]


def test_other_entities_and_no_ids_are_no_duplicates() -> None:
    count = definition("name: n, aggregate: count")
    records = [at(0, 0, event_id="e"), at(1, 0, event_id="e", key="v"), at(2, 0), at(3, 0)]
    assert values(count, records, DAY)["n"] == [3]
    assert values(count, records, DAY, key="v")["n"] == [1]
    everything = definition("name: n, aggregate: count", source="deduplicate: 0s,")
    assert values(everything, [at(0, 0, event_id="e"), at(1, 0, event_id="e")], DAY)["n"] == [2]


NUMBERS = [at(0, 2000, 4.0), at(1, 0, 1.0), at(2, 2000, 10.0), at(3, 1000, None), at(4, 0, 3.0)]
"""In order of (t, offset): 1, 3, (null), 4, 10."""


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        ("aggregate: sum, of: x", 18.0),
        ("aggregate: mean, of: x", 4.5),
        ("aggregate: min, of: x", 1.0),
        ("aggregate: max, of: x", 10.0),
        ("aggregate: variance, of: x", 15.0),
        ("aggregate: stddev, of: x", 15.0**0.5),
        ("aggregate: first, of: x", 1.0),
        ("aggregate: last, of: x", 10.0),
        # Means of x and t are 4.5 and 1 s: Σ dt·dx = 3.5 + 1.5 - 0.5 + 5.5 = 10, Σ dt² = 4.
        ("aggregate: trend, of: x", 2.5),
        ("aggregate: trend, of: x, unit: minute", 150.0),
        # Weights of the two ages are 1 and 1/4: (4 + 10 + (1 + 3)/4) / 2.5.
        ("aggregate: ewma, of: x, halfLife: 1s", 6.0),
        ("aggregate: count", 5.0),
        ('aggregate: count, where: "x is null"', 1.0),
        ('aggregate: sum, of: x, where: "x > 3"', 14.0),
        ("aggregate: sum, of: x, where: \"kind = 'a'\"", 0.0),
        ("aggregate: mean, of: x, where: \"kind = 'a'\"", None),
        ("aggregate: time_since_first", 10.0),
        ("aggregate: time_since_last, unit: minute", 8 / 60),
        ('aggregate: time_since_last, where: "x is null"', 9.0),
    ],
)
def test_an_aggregate_of_five_events(feature: str, expected: Value) -> None:
    got = values(definition(f"name: v, {feature}"), NUMBERS, 10_000)["v"][0]
    assert got == (pytest.approx(expected, rel=1e-12) if isinstance(expected, float) else expected)


def test_a_rate_is_over_the_windows_length() -> None:
    rates = definition(
        "name: r, aggregate: rate, windows: [1m, 1h], unit: minute", "name: s, aggregate: rate, windows: [1m]"
    )
    assert values(rates, NUMBERS, 10_000) == {"r_1m": [5.0], "r_1h": [5 / 60], "s_1m": [5 / 60]}


def test_a_slope_needs_two_times_and_a_spread_two_values() -> None:
    wanted = definition("name: t, aggregate: trend, of: x", "name: v, aggregate: variance, of: x")
    assert values(wanted, [at(0, 0, 1.0)], DAY) == {"t": [None], "v": [None]}
    assert values(wanted, [at(0, 0, 1.0), at(1, 0, 3.0)], DAY) == {"t": [None], "v": [2.0]}


def test_without_events() -> None:
    wanted = definition(
        "name: n, aggregate: count",
        "name: s, aggregate: sum, of: x",
        "name: r, aggregate: rate, windows: [1h]",
        "name: m, aggregate: mean, of: x",
        "name: d, aggregate: max, of: x, default: -1",
        "name: l, aggregate: time_since_last",
        "name: sa, aggregate: session_active, gap: 30m",
        "name: sc, aggregate: session_count, gap: 30m",
        "name: sd, aggregate: session_duration, gap: 30m",
        "name: e, expression: d + 1",
        "name: f, expression: last_seen is null",
    )
    expected = {
        "n": 0,
        "s": 0,
        "r_1h": 0,
        "m": None,
        "d": -1,
        "l": None,
        "sa": False,
        "sc": 0,
        "sd": None,
        "e": 0,
        "f": True,
    }
    assert {name: got for name, (got,) in values(wanted, [at(0, 0, 1.0)], DAY, key="other").items()} == expected


SESSIONS = [f"name: {name}, aggregate: session_{name}, gap: 30s" for name in ("active", "count", "duration")]


def sessions(records: Sequence[Record], now: int) -> tuple[Value, ...]:
    """(active, count, duration in seconds)."""
    got = values(definition(*SESSIONS), records, now)
    return got["active"][0], got["count"][0], got["duration"][0]


def test_a_session_ends_a_gap_after_its_last_event() -> None:
    events = [at(0, 0), at(1, 29_999)]
    assert sessions(events, 59_998) == (True, 1, 29.999)
    assert sessions(events, 59_999) == (False, 1, 29.999)


def test_an_event_a_whole_gap_later_opens_a_session() -> None:
    assert sessions([at(0, 0), at(1, 30_000)], 30_001) == (True, 2, 0.0)


def test_a_late_event_joins_two_sessions() -> None:
    apart = [at(0, 0), at(1, 40_000)]
    assert sessions(apart, 41_000) == (True, 2, 0.0)
    assert sessions([*apart, at(2, 20_000)], 41_000) == (True, 1, 40.0)


def test_a_late_event_before_the_newest_starts_it_earlier() -> None:
    assert sessions([at(0, 0), at(1, 70_000), at(2, 41_000)], 71_000) == (True, 2, 29.0)


def test_an_event_a_gap_behind_the_newest_is_left_out() -> None:
    # 10 s is exactly one gap behind 40 s, and would have joined the two.
    assert sessions([at(0, 0), at(1, 40_000), at(2, 10_000)], 41_000) == (True, 2, 0.0)
    assert sessions([at(0, 0), at(1, 40_000), at(2, 10_001)], 41_000) == (True, 1, 40.0)


def test_expressions_read_served_values_and_the_read_time() -> None:
    wanted = definition(
        "name: second, expression: first_one * 10",
        "name: first_one, expression: m + 1",
        "name: m, aggregate: mean, of: x, default: 4",
        'name: hour, expression: "extract(hour from now())"',
        "name: who, expression: \"case when user_id = 'u' then 'me' else 'you' end\"",
        'name: gone, expression: "ln(m - 4)"',
        'name: age, expression: "extract(epoch from now()) - extract(epoch from last_seen)"',
    )
    got = values(wanted, [at(0, 0, None)], 5 * HOUR)
    expected = {"second": 50, "first_one": 5, "m": 4, "hour": 17, "who": "me", "gone": None, "age": 5 * HOUR / 1000}
    assert {name: value for name, (value,) in got.items()} == expected


def test_reads_at_several_places_of_the_log() -> None:
    count = definition("name: n, aggregate: count")
    log = log_of([at(0, 0), at(5, 1000), at(6, 2000, key="v")], count)
    reads = Reads(["u", "u", "u", "v", "w"], np.array([0, 1, 6, 6, 7]), np.full(5, T + DAY))
    with Oracle(count) as oracle:
        got = oracle.values(log, reads)
    assert got.columns["n"].values.tolist() == [0, 1, 2, 0, 0]
    assert got.newest_ms.tolist() == [-1, T, T + 1000, -1, -1]


def test_a_difference_says_what_where_and_when() -> None:
    wanted = definition("name: s, aggregate: sum, of: x, windows: [1h]", "name: twice, expression: 2 * s_1h")
    log = log_of([at(0, 0, 4.0)], wanted)
    reads = Reads(["u"], np.array([1]), np.array([T + 1000]))
    with Oracle(wanted) as oracle:
        expected = oracle.values(log, reads)
        right = {"s_1h": Column(np.array([4.0 + 1e-10])), "twice": Column(np.array([8.0]))}
        assert differences(oracle, reads, expected, right, expected.q_ms) == []
        wrong = {"s_1h": Column(np.array([4.1])), "twice": Column(np.array([0.0]), np.array([False]))}
        found = differences(oracle, reads, expected, wrong, expected.q_ms + 1)
    assert [d.feature for d in found] == ["read time", "s_1h", "twice"]
    text = report(found)
    assert (
        "read 0 of 'u': s_1h at q = 2026-01-31T12:00:01.000Z, events from 2026-01-31T11:00:00.000Z until before" in text
    )
    assert "engine 4.1\n    SQL    4.0" in text
    assert "engine None\n    SQL    8.2" in text


def test_null_and_zero_are_different() -> None:
    zero, null = Column(np.zeros(1)), Column(np.zeros(1), np.zeros(1, np.bool_))
    assert agree(zero, zero, np.zeros(1)).all()
    assert agree(null, null, np.zeros(1)).all()
    assert not agree(zero, null, np.full(1, np.inf)).any()
