"""Every operator and function gives what DuckDB gives, row for row."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import numpy as np
import pytest

from freshet.engine.column import Column
from freshet.engine.evaluate import evaluate
from freshet.spec.expr.functions import DIFFERENCES, OPS, PARTS
from freshet.spec.expr.tree import Call, Expr, Literal, Type
from tests.unit.engine.duckdb_columns import Table, compiled, same

EXACT = [
    "a + b", "a - b", "a * b", "a / b", "a % b", "a % n", "-a", "abs(a)", "sqrt(a)", "n / 0.1", "1e308 * a",
    "b % 1e-300", "round(a)", "round(a, 0)", "round(a, 2)", "round(a, -2)", "round(a * 1e5, 15)", "round(a, -15)",
    "round(n / 2)", "a = b", "a <> b", "a < b", "a <= n", "a > b", "a >= n", "a = 0", "s = u", "s <> 'a'", "s < u",
    "s <= 'b'", "s > u", "s >= 'é'", "p = q", "p <> q", "t < z", "t >= z", "t = z", "t < now()", "p and q", "p or q",
    "not p", "p and q and a > 0", "p or q or a > 0", "p and (q or not p)", "p or null", "p and null",
    "a in (1, 2.5, n)", "a in (1, null)", "a not in (1, null)", "n not in (0, 1, 2)", "s in ('a', u)",
    "p in (q, true)", "t in (z)", "null in (a)", "a between b and n", "a not between n and b", "s between 'a' and u",
    "t between z and now()", "a is null", "a is not null", "s is null", "(a > b) is null", "(a / n) is null",
    "case when p then a when q then b end", "case when p then a else n end", "case when a > b then s else 'none' end",
    "case n when 1 then 'one' when 2 then s end", "case s when u then 1 when null then 2 else 3 end",
    "case when p then t else z end", "case when a <> 0 then b / a else 0 end",
    "case when p then null when q then 1 end", "case when n = 1 then true else q end", "coalesce(a, b, 0)",
    "coalesce(s, u, 'none')", "coalesce(p, q)", "coalesce(t, z, now())", "coalesce(null, a)", "coalesce(a / n, -1)",
    "nullif(a, b)", "nullif(n, 0)", "nullif(s, u)", "nullif(p, q)", "nullif(t, z)", "nullif(1, n)", "nullif(a, null)",
    "least(a, b)", "greatest(a, b, n)", "least(a, null, b)", "greatest(s, u)", "least(s, u, 'm')", "least(t, z)",
    "greatest(a)", "least(100, coalesce(a, 0) + 5)", "1 + 2", "'text'", "true",
    "n + case when p then 1 else null end",
    "floor(a)", "ceil(a)", "ceiling(-a)", "sign(a)", "sign(n)", "lower(s)", "upper(u)", "trim(s)", "ltrim(s)",
    "rtrim(s)", "length(s)", "len(u)", "substr(s, 1, 1)", "substr(s, 0, 2)", "substr(s, -2)", "substr(s, -3, 2)",
    "substr(s, 2)", "substring(u, 2, 0)", "concat(s, u)", "concat(s, '-', u)", "concat(s)", "s || u", "s || '-' || u",
    "upper(s || 'x') = upper(u)", "s like 'a%'", "s like '%'", "s like '_'", "s not like '%b'", "s like '%a%b%'",
    "u like ''", "s like 'it''s'", "'é' like '_'", "date_diff('day', t, z)", "datediff('month', t, now())",
    "epoch(t)", "if(p, a, b)", "if(a > 0, s)", "cast(a as integer)", "cast(a as bigint)", "a::double",
    "cast(n as varchar)", "cast(a as varchar)", "cast(p as varchar)", "cast(p as double)", "cast(p as integer)",
    "cast(a as boolean)", "cast(s as double)", "try_cast(s as boolean)", "cast(u as varchar)", "a::bigint / n",
    "coalesce(s, u) || cast(n as varchar)", "cast(now() > t as integer)", "cast(null as varchar) is null",
    "cast(-0.0 as varchar)", "cast(coalesce(null, -0) as varchar)", "cast(n * -0.0 as varchar)",
]  # fmt: skip
CLOSE = [
    "log10(a)", "pow(a, 2)", "pow(abs(a), 0.5)", "power(n, a)", "pow(a, n)", "ln(a)", "exp(a)", "exp(n)", "ln(1 + n)",
    "ln(exp(n))", "12 * ln(1 + abs(a)) + 25 * coalesce(a / n, 0)",
]  # fmt: skip
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"]


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    with duckdb.connect() as connection:
        yield Table(connection, 2_000, seed=1)


@pytest.mark.parametrize("text", EXACT)
def test_equals_duckdb(table: Table, text: str) -> None:
    expr = compiled(text)
    assert table.engine(expr)[0] == table.oracle(expr)


@pytest.mark.parametrize("text", CLOSE)
def test_equals_duckdb_but_for_the_last_bits(table: Table, text: str) -> None:
    expr = compiled(text)
    pairs = list(zip(table.engine(expr)[0], table.oracle(expr), strict=True))
    assert [pair for pair in pairs if not same(*pair, relative=1e-14)] == []


@pytest.mark.parametrize("zone", ZONES)
def test_extract_equals_duckdb_in_every_zone(table: Table, zone: str) -> None:
    for part in PARTS:
        expr = compiled(f"extract({part} from t)")
        ours, theirs = table.engine(expr, zone)[0], table.oracle(expr, zone)
        # From 2038 on the two may hold other releases of the time zone database.
        rows = [i for i in range(table.rows) if (table.data["t"][i] or 0) < 2_145_916_800_000]
        assert [ours[i] for i in rows] == [theirs[i] for i in rows], part


@pytest.mark.parametrize("zone", ZONES)
def test_date_diff_equals_duckdb_in_every_zone(table: Table, zone: str) -> None:
    for part in DIFFERENCES:
        expr = compiled(f"date_diff('{part}', t, z)")
        ours, theirs = table.engine(expr, zone)[0], table.oracle(expr, zone)
        rows = [i for i in range(table.rows) if max(table.data[c][i] or 0 for c in "tz") < 2_145_916_800_000]
        assert [ours[i] for i in rows] == [theirs[i] for i in rows], part


def test_hours_around_a_change_of_clocks() -> None:
    utc = np.array([1_774_745_999_999, 1_774_746_000_000, 1_792_889_999_999, 1_792_890_000_000], np.float64)
    column, _ = evaluate(compiled("extract(hour from now())"), {}, 4, utc, "Europe/Berlin")
    assert column.values.tolist() == [1, 3, 2, 2]


def test_counts_what_became_null(table: Table) -> None:
    lost = table.engine(compiled("a / n"))[1]
    zeros = [i for i in range(table.rows) if table.data["n"][i] == 0 and table.data["a"][i] is not None]
    assert lost == len(zeros) > 0


@pytest.mark.parametrize(
    "text",
    [
        "case when n <> 0 then a / n end",
        "case when n = 0 then 0 else a / n end",
        "case n when 0 then 0 else a / n end",
        "coalesce(case when n = 0 or n is null then 0 end, a / n)",
    ],
)
def test_does_not_count_what_nobody_asked_for(table: Table, text: str) -> None:
    assert table.engine(compiled(text))[1] == 0


def test_a_constant_that_is_not_finite_is_counted_in_each_row() -> None:
    zero = Call("/", (Literal(1.0, Type.DOUBLE), Literal(0.0, Type.DOUBLE)), Type.DOUBLE)
    column, lost = evaluate(zero, {}, 3, None, "UTC")
    assert column.mask().tolist() == [False] * 3
    assert lost == 3


def test_no_rows(table: Table) -> None:
    empty = {name: Column(column.values[:0], column.mask()[:0]) for name, column in table.columns.items()}
    for text in [*EXACT, *CLOSE, "extract(week from t)"]:
        column, lost = evaluate(compiled(text), empty, 0, np.empty(0), "Europe/Berlin")
        assert (len(column.values), lost) == (0, 0)


def test_columns_without_nulls_give_columns_without_a_mask() -> None:
    columns = {"a": Column(np.array([1.0, 2.0])), "s": Column(np.array(["x", "y"], object))}
    for text in (
        "a + 1",
        "s < 'y' and a > 0 or not s = 'x'",
        "coalesce(a, 3)",
        "least(a, 1)",
        "a in (1, 2)",
        "s is null",
    ):
        column, _ = evaluate(compiled(text), columns, 2, None, "UTC")
        assert column.valid is None, text


def test_arguments_are_left_as_they_are(table: Table) -> None:
    before = {name: column.values.copy() for name, column in table.columns.items()}
    for text in EXACT:
        table.engine(compiled(text))
    assert all((column.values == before[name]).all() for name, column in table.columns.items())


def test_now_needs_a_read_time() -> None:
    with pytest.raises(ValueError, match="now"):
        evaluate(compiled("now() > t"), {"t": Column(np.zeros(1))}, 1, None, "UTC")


def test_every_op_is_compared_with_duckdb() -> None:
    def ops(expr: Expr) -> set[str]:
        return {expr.op}.union(*map(ops, expr.args)) if isinstance(expr, Call) else set()

    seen = set().union(*(ops(compiled(text)) for text in [*EXACT, *CLOSE, "extract(hour from now())"]))
    assert seen == OPS
