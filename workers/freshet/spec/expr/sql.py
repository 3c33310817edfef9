"""A checked tree as DuckDB SQL that gives, value for value, what the engine gives: the oracle of the tests.

Also what point-in-time training sets are computed with.
"""

from __future__ import annotations

from collections.abc import Callable

from freshet.spec.expr.functions import ARITHMETIC, COMPARISONS, LOGIC, NUMERIC, TEXTUAL
from freshet.spec.expr.tree import Call, Expr, Literal, Name, Type

_TYPES = {
    Type.DOUBLE: "DOUBLE",
    Type.INTEGER: "DOUBLE",
    Type.TEXT: "VARCHAR",
    Type.BOOLEAN: "BOOLEAN",
    Type.TIMESTAMP: "TIMESTAMP",
}


def to_sql(expr: Expr, quote_name: Callable[[str], str], now: str = "now()", timezone: str = "UTC") -> str:
    """DuckDB SQL of `expr`.

    Number columns must be DOUBLE, timestamps TIMESTAMP in UTC; `quote_name` gives the SQL of a column, `now` the SQL
    of the read time (also TIMESTAMP in UTC). Where DuckDB would raise, or a number is not finite, the SQL gives NULL.
    """
    return _Writer(quote_name, now, timezone).write(expr)


def text_literal(text: str) -> str:
    """`text` as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


class _Writer:
    def __init__(self, quote_name: Callable[[str], str], now: str, timezone: str) -> None:
        self.quote_name = quote_name
        self.now = now
        self.timezone = timezone

    def write(self, expr: Expr) -> str:
        if isinstance(expr, Literal):
            return self.literal(expr)
        if isinstance(expr, Name):
            return self.quote_name(expr.name)
        if expr.op in (*ARITHMETIC, *NUMERIC):
            return self.finite(expr)
        return self.call(expr, [self.write(arg) for arg in expr.args])

    def literal(self, literal: Literal) -> str:
        value = literal.value
        if value is None:
            return f"CAST(NULL AS {_TYPES[literal.type]})"
        if isinstance(value, bool):
            return "TRUE" if value else "FALSE"
        if isinstance(value, str):
            return text_literal(value)
        # The exponent makes DuckDB read a DOUBLE at once, not a DECIMAL that is then converted.
        return f"CAST({value:.17e} AS DOUBLE)"

    def finite(self, call: Call) -> str:
        """The call, NULL where it raises or is not finite. A lambda names the value, which is so written once."""
        args = [self.write(arg) for arg in call.args]
        if call.op == "pow":
            value = f"pow({args[0]}, {args[1]})"
        elif call.op in ARITHMETIC:
            value = f"({args[0]} {call.op} {args[1]})"
        elif call.op == "neg":
            value = f"(- {args[0]})"
        elif call.op == "round":
            value = f"round({args[0]}, {int(call.option or 0)})"
        else:
            value = f"{call.op}({args[0]})"
        return self.guarded(value)

    def guarded(self, value: str) -> str:
        """A number, NULL where it raises or is not finite."""
        return f"list_transform([CAST(TRY({value}) AS DOUBLE)], lambda v: CASE WHEN isfinite(v) THEN v END)[1]"

    def call(self, call: Call, args: list[str]) -> str:
        op = call.op
        if op in COMPARISONS:
            return f"({args[0]} {op} {args[1]})"
        if op == "not":
            return f"(NOT {args[0]})"
        if op in LOGIC:
            return "(" + f" {op.upper()} ".join(args) + ")"
        if op == "in":
            return f"({args[0]} IN ({', '.join(args[1:])}))"
        if op == "between":
            return f"({args[0]} BETWEEN {args[1]} AND {args[2]})"
        if op == "is_null":
            return f"({args[0]} IS NULL)"
        if op in ("case", "switch"):
            return self.case(args, subject=op == "switch")
        if op == "now":
            return self.now
        if op == "extract":
            return self.extract(args[0], call.option)
        if op == "date_diff":
            return f"CAST(date_diff('{call.option}', {self.local(args[0])}, {self.local(args[1])}) AS DOUBLE)"
        if op == "cast":
            return self.cast(call, args[0])
        if op in TEXTUAL:
            return self.textual(call, args)
        return f"{op}({', '.join(args)})"

    def case(self, args: list[str], subject: bool) -> str:
        head, rest = ([args[0]], args[1:]) if subject else ([], args)
        whens = [f"WHEN {rest[i]} THEN {rest[i + 1]}" for i in range(0, len(rest) - 1, 2)]
        return "(" + " ".join(["CASE", *head, *whens, "ELSE", rest[-1], "END"]) + ")"

    def extract(self, timestamp: str, part: str) -> str:
        if part == "epoch" or self.timezone == "UTC":
            return f"CAST(extract({part} FROM {timestamp}) AS DOUBLE)"
        return f"CAST(extract({part} FROM {self.local(timestamp)}) AS DOUBLE)"

    def local(self, timestamp: str) -> str:
        """What the clock on the wall shows at a moment."""
        if self.timezone == "UTC":
            return timestamp
        return f"timezone({text_literal(self.timezone)}, timezone('UTC', {timestamp}))"

    def textual(self, call: Call, args: list[str]) -> str:
        op = call.op
        if op in ("||", "like"):
            return f"({args[0]} {op.upper()} {args[1]})"
        if op == "length":
            return f"CAST(length({args[0]}) AS DOUBLE)"
        if op == "substr":
            return f"substr({args[0]}, {call.option})"
        return f"{op}({', '.join(args)})"

    def cast(self, call: Call, arg: str) -> str:
        given, to = call.args[0].type, call.option.upper()
        if call.type.is_number:
            return self.guarded(f"CAST({arg} AS {to})")
        if given is Type.INTEGER and call.type is Type.TEXT:
            arg = f"CAST({arg} AS BIGINT)"
        return f"TRY(CAST({arg} AS {to}))"
