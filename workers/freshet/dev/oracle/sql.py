"""What a definition's features mean, as one DuckDB query over E (design §5). Written from the design, not the engine.

Tables that the query reads:

- `log(k, o, t, "f:<field>" …)`: the accepted records of one partition; `k` numbers the entity, `o` is the offset.
- `reads(i, k, upto, now, since)`: read number `i` of entity `k` when all records below offset `upto` were taken in;
  `since` is the offset of the entity's last erasure among them, or -1.

Its rows, in order of `i`: the read time `q`, `first` and `newest` event time of the entity (null if it has none), and
for feature number n its value `v<n>` without default and `e<n>`, how far another value may lie from it (see `compare`).

The steps: `e` computes what each input sees of an event; `r` the read times; `m<w>` pairs each read with the events of
window w and `a<w>` aggregates them; `z<s>` aggregates sessions. Sums are Kahan's, and slopes are taken over times from
the window's first event on, so that the query's own rounding is far below the tolerances.
"""

from __future__ import annotations

from dataclasses import dataclass

from freshet.spec.definition import (
    TEXT_CHARACTERS,
    Aggregate,
    AggregateFeature,
    Definition,
    ExpressionFeature,
    Input,
    Window,
)
from freshet.spec.expr.sql import text_literal, to_sql
from freshet.spec.expr.tree import Expr, Type

RELATIVE = 1e-9
"""The tolerance of design §5, relative to the sum of the magnitudes that a value is computed from."""

EXACT = "0.0::DOUBLE"

SESSIONS = (Aggregate.SESSION_ACTIVE, Aggregate.SESSION_COUNT, Aggregate.SESSION_DURATION)
SQL_TYPES = {Type.DOUBLE: "DOUBLE", Type.INTEGER: "DOUBLE", Type.BOOLEAN: "BOOLEAN", Type.TEXT: "VARCHAR"}


def field_column(name: str) -> str:
    """The column of an event field in `log`."""
    return '"f:' + name.replace('"', '""') + '"'


def value_column(name: str) -> str:
    """The column of a served value or of another name that expressions read."""
    return '"v:' + name.replace('"', '""') + '"'


@dataclass(frozen=True)
class Query:
    """The oracle's query for one definition."""

    definition: Definition

    def text(self) -> str:
        """The SQL."""
        inputs = self._inputs()
        steps = [self._events(inputs), self._reads()]
        scopes = {f.window: None for _, f in self._aggregates() if f.aggregate not in SESSIONS}
        joins = []
        for number, window in enumerate(scopes):
            steps += [self._members(number, window, inputs), self._aggregated(number, window, inputs)]
            joins.append(f"LEFT JOIN a{number} USING (i)")
        sessions = {(f.input, f.gap_ms): None for _, f in self._aggregates() if f.aggregate in SESSIONS}
        for number, (wanted, gap) in enumerate(sessions):
            steps.append(self._sessions(number, inputs[wanted], gap))
            joins.append(f"LEFT JOIN z{number} USING (i)")
        columns = ["r.i", "r.q", "r.first", "r.newest"]
        for n, feature in self._aggregates():
            if feature.aggregate in SESSIONS:
                number = list(sessions).index((feature.input, feature.gap_ms))
                columns += [f"{_session_value(feature, number)} AS v{n}", f"0.0::DOUBLE AS e{n}"]
            elif feature.aggregate in (Aggregate.COUNT, Aggregate.SUM, Aggregate.RATE, Aggregate.DISTINCT):
                columns += [f"coalesce(v{n}, 0) AS v{n}", f"e{n}"]
            else:
                columns += [f"v{n}", f"e{n}"]
        select = f"SELECT {', '.join(columns)}\nFROM r {' '.join(joins)} ORDER BY r.i"
        return "WITH " + ",\n".join(steps) + "\n" + select

    def _aggregates(self) -> list[tuple[int, AggregateFeature]]:
        return [(n, f) for n, f in enumerate(self.definition.features) if isinstance(f, AggregateFeature)]

    def _inputs(self) -> dict[Input, int]:
        distinct = dict.fromkeys(f.input for _, f in self._aggregates())
        return {wanted: j for j, wanted in enumerate(distinct)}

    def _events(self, inputs: dict[Input, int]) -> str:
        columns = ["k", "o", "t"]
        for wanted, j in inputs.items():
            where = f"({self._of_event(wanted.where)}) IS TRUE" if wanted.where else "TRUE"
            of = self._of_event(wanted.of) if wanted.of else "0.0::DOUBLE"
            columns += [f"{of} AS x{j}", f"({where} AND ({of}) IS NOT NULL) AS s{j}"]
        return f"e AS MATERIALIZED (SELECT {', '.join(columns)} FROM log)"

    def _of_event(self, expr: Expr) -> str:
        return to_sql(expr, field_column, timezone=self.definition.timezone)

    def _reads(self) -> str:
        return (
            "r AS MATERIALIZED (SELECT i, any_value(reads.k) AS k, any_value(upto) AS upto, any_value(since) AS since,"
            " min(t) AS first,"
            " max(t) AS newest, coalesce(greatest(any_value(now), max(t) + 1), any_value(now)) AS q\n"
            "  FROM reads LEFT JOIN e ON e.k = reads.k AND e.o < reads.upto AND e.o > reads.since GROUP BY i)"
        )

    def _members(self, number: int, window: Window | None, inputs: dict[Input, int]) -> str:
        """Each read with each event that it sees, and per input the first and last time of what it sees."""
        used = sorted({inputs[f.input] for _, f in self._aggregates() if f.window == window})
        span = ""
        if window:
            span = f" AND e.t >= {floor_to(f'r.q - {window.length_ms}', window.hop_ms)} AND e.t < r.q"
        anchors = "".join(
            f", min(t) FILTER (WHERE s{j}) OVER each AS t0_{j}, max(t) FILTER (WHERE s{j}) OVER each AS t1_{j}"
            for j in used
        )
        columns = "".join(f", e.x{j}, e.s{j}" for j in used)
        return (
            f"m{number} AS MATERIALIZED (SELECT r.i, r.q, e.o, e.t{columns}{anchors}\n"
            f"  FROM r JOIN e ON e.k = r.k AND e.o < r.upto AND e.o > r.since{span} WINDOW each AS (PARTITION BY r.i))"
        )

    def _aggregated(self, number: int, window: Window | None, inputs: dict[Input, int]) -> str:
        columns = ["i"]
        for n, feature in self._aggregates():
            if feature.window == window and feature.aggregate not in SESSIONS:
                value, slack = aggregate_sql(feature, inputs[feature.input])
                columns += [f"{value} AS v{n}", f"{slack} AS e{n}"]
        return f"a{number} AS (SELECT {', '.join(columns)} FROM m{number} GROUP BY i)"

    def _sessions(self, number: int, j: int, gap: int) -> str:
        """Sessions of the events that are not left out: see `in_time`, then cut where a gap is not shorter than `gap`.

        An event is left out if it lies at or below the largest earlier time, in log order, minus the gap.
        """
        return f"""z{number} AS (
  WITH seen AS (SELECT r.i, e.o, e.t FROM r JOIN e ON e.k = r.k AND e.o < r.upto AND e.o > r.since WHERE e.s{j}),
  behind AS (SELECT *, max(t) OVER (PARTITION BY i ORDER BY o ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS top
             FROM seen),
  in_time AS (SELECT * FROM behind WHERE top IS NULL OR t > top - {gap}),
  cut AS (SELECT *, coalesce(t - lag(t) OVER each >= {gap}, TRUE) AS opens FROM in_time
          WINDOW each AS (PARTITION BY i ORDER BY t, o)),
  numbered AS (SELECT *, count(*) FILTER (WHERE opens) OVER (PARTITION BY i ORDER BY t, o
                         ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS session FROM cut),
  sessions AS (SELECT i, session, min(t) AS start_ms, max(t) AS end_ms FROM numbered GROUP BY i, session)
  SELECT i, count(*) AS n{number}, arg_max(start_ms, session) AS b{number}, arg_max(end_ms, session) AS d{number}
  FROM sessions GROUP BY i)"""


def floor_to(value: str, grain: int) -> str:
    """SQL of `value` rounded down to a multiple of `grain`, below zero too."""
    return f"({value} - ((({value}) % {grain} + {grain}) % {grain}))"


def aggregate_sql(feature: AggregateFeature, j: int) -> tuple[str, str]:
    """SQL of a feature's value over the rows of a read, and of its tolerance; input number `j`."""
    seen, x = f"FILTER (WHERE s{j})", f"x{j}"
    count, size = f"count(*) {seen}", f"coalesce(fsum(abs({x})) {seen}, 0)"
    squares = f"{RELATIVE} * coalesce(fsum({x} * {x}) {seen}, 0) / greatest({count} - 1, 1)"
    match feature.aggregate:
        case Aggregate.COUNT:
            return f"({count})::DOUBLE", EXACT
        case Aggregate.SUM:
            return f"fsum({x}) {seen}", f"{RELATIVE} * {size}"
        case Aggregate.MEAN:
            return f"favg({x}) {seen}", f"{RELATIVE} * {size} / greatest({count}, 1)"
        case Aggregate.MIN | Aggregate.MAX:
            return f"{feature.aggregate.value}({x}) {seen}", EXACT
        case Aggregate.VARIANCE:
            return f"var_samp({x}) {seen}", squares
        case Aggregate.STDDEV:
            return f"stddev_samp({x}) {seen}", squares
        case Aggregate.FIRST:
            return kept_sql(feature, f"arg_min({x}, ROW(t, o)) {seen}"), EXACT
        case Aggregate.LAST:
            return kept_sql(feature, f"arg_max({x}, ROW(t, o)) {seen}"), EXACT
        case Aggregate.DISTINCT | Aggregate.MODE | Aggregate.PERCENTILE | Aggregate.LAST_N:
            return _many_sql(feature, j)
        case _:
            return _timed_sql(feature, j)


def kept_sql(feature: AggregateFeature, value: str) -> str:
    """What is kept of the value: of a text its first characters."""
    return f"left({value}, {TEXT_CHARACTERS})" if feature.type is Type.TEXT else value


def _many_sql(feature: AggregateFeature, j: int) -> tuple[str, str]:
    """The same for aggregates that have to remember many values."""
    seen, x = f"FILTER (WHERE s{j})", f"x{j}"
    different = f"(count(DISTINCT {x}) {seen})"
    match feature.aggregate:
        case Aggregate.DISTINCT:
            # Five standard errors of HyperLogLog with 1,024 registers.
            return f"{different}::DOUBLE", f"CASE WHEN {different} > 64 THEN 0.1625 * {different} ELSE 0 END::DOUBLE"
        case Aggregate.MODE:
            counts = f"map_entries(histogram({x}) {seen})"
            first = f"list_sort(list_transform({counts}, lambda e: {{'n': -e.value::BIGINT, 'k': e.key}}))[1].k"
            return kept_sql(feature, f"CASE WHEN {different} <= 64 THEN {first} END"), EXACT
        case Aggregate.PERCENTILE:
            value = f"quantile_disc({x}, {feature.quantile!r}) {seen}"
            return value, f"0.0100001 * abs({value}) + 1e-9"
        case _:
            values = f"list({x} ORDER BY t DESC, o DESC) {seen}"
            if feature.input.of is not None and feature.input.of.type is Type.TEXT:
                values = f"list(left({x}, {TEXT_CHARACTERS}) ORDER BY t DESC, o DESC) {seen}"
            return f"({values})[1:{feature.n}]", EXACT


def _timed_sql(feature: AggregateFeature, j: int) -> tuple[str, str]:
    """The same for aggregates in which time is a number."""
    seen, x, unit = f"FILTER (WHERE s{j})", f"x{j}", feature.unit_ms
    match feature.aggregate:
        case Aggregate.RATE:
            assert feature.window is not None
            value = f"(count(*) {seen})::DOUBLE / ({feature.window.length_ms}::DOUBLE / {unit})"
            return value, f"{RELATIVE} * {value}"
        case Aggregate.TREND:
            slope = f"regr_slope({x}, (t - t0_{j})::DOUBLE / {unit}) {seen}"
            # As much as the slope can move when every value moves by 1e-9 of itself (Cauchy-Schwarz).
            spread = f"sqrt(var_pop((t - t0_{j})::DOUBLE / {unit}) {seen} * (count(*) {seen}))"
            slack = f"{RELATIVE} * sqrt(fsum({x} * {x}) {seen}) / nullif({spread}, 0)"
            return f"CASE WHEN any_value(t0_{j}) < any_value(t1_{j}) THEN {slope} END", slack
        case Aggregate.EWMA:
            # Weights relative to the newest event: the read time cancels out, and here nothing underflows.
            weight = f"pow(2, -(t1_{j} - t)::DOUBLE / {feature.half_life_ms})"
            total = f"fsum({weight}) {seen}"
            return f"fsum({x} * {weight}) {seen} / {total}", f"{RELATIVE} * fsum(abs({x}) * {weight}) {seen} / {total}"
        case Aggregate.TIME_SINCE_FIRST:
            return f"(any_value(q) - min(t) {seen})::DOUBLE / {unit}", EXACT
        case Aggregate.TIME_SINCE_LAST:
            return f"(any_value(q) - max(t) {seen})::DOUBLE / {unit}", EXACT
        case _:
            raise ValueError(f"no SQL for {feature.aggregate}")


def _session_value(feature: AggregateFeature, number: int) -> str:
    if feature.aggregate is Aggregate.SESSION_COUNT:
        return f"coalesce(n{number}, 0)::DOUBLE"
    if feature.aggregate is Aggregate.SESSION_ACTIVE:
        return f"coalesce(r.q < d{number} + {feature.gap_ms}, FALSE)"
    return f"(d{number} - b{number})::DOUBLE / {feature.unit_ms}"


def default_sql(value: str, feature: AggregateFeature | ExpressionFeature) -> str:
    """SQL of the value as it is served."""
    default = feature.default
    if default is None:
        return value
    if isinstance(default, str):
        return f"coalesce({value}, {text_literal(default)})"
    return f"coalesce({value}, {default!r}::{SQL_TYPES[feature.type]})"


def expressions_sql(definition: Definition, table: str, *, given: bool) -> str:
    """The query of all expressions over `table`, which has `i`, `q` (timestamp) and `value_column` of every name.

    With `given` the table has the expressions' own values too and each is computed from its neighbours as they stand
    there; else one is computed from the other, in the order that the definition gives.
    """
    out = []
    source = table
    for n in definition.evaluation:
        feature = definition.features[n]
        if isinstance(feature, ExpressionFeature):
            value = to_sql(feature.expr, value_column, now="q", timezone=definition.timezone)
            served = default_sql(value, feature)
            if given:
                out.append(f"{served} AS {value_column(feature.name)}")
            else:
                source = f"(SELECT *, {served} AS {value_column(feature.name)} FROM {source})"
    if given:
        return f"SELECT {', '.join(['i', *out])} FROM {table} ORDER BY i"
    return f"SELECT * FROM {source} ORDER BY i"
