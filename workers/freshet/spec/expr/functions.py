"""The operators and functions of the expression language, by the names that `tree.Call.op` uses.

`freshet.engine.evaluate` has one entry for each, `sql.py` too; a test holds the three together.
"""

from __future__ import annotations

COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")
"""Two values of one kind; null if either is."""

ARITHMETIC = ("+", "-", "*", "/", "%", "pow")
"""Two numbers. `%` has the sign of the dividend. Not finite (also x / 0) is null."""

LOGIC = ("and", "or", "not")
"""Three-valued; `and` and `or` take two arguments or more."""

NUMERIC = ("neg", "abs", "ln", "log10", "exp", "sqrt", "floor", "ceil", "sign", "round")
"""One number. `round` is half away from zero; its option is the number of digits, negative for tens."""

CHOICE = ("case", "switch", "coalesce", "nullif", "least", "greatest")
"""`case`: condition, value, …, else. `switch`: subject, match, value, …, else. `least`, `greatest` skip nulls."""

TEXTUAL = ("lower", "upper", "trim", "ltrim", "rtrim", "length", "substr", "concat", "||", "like")
"""Of texts. `substr`: its option is `start` or `start,length`. `concat` skips nulls, `||` does not. `like`: subject,
constant pattern."""

OTHER = ("in", "between", "is_null", "extract", "now", "date_diff", "cast")
"""`in`: subject, items. `between`: subject, low, high. `extract`: its option is the part.
`date_diff`: from, to; its option is the part. `cast`: its option is one of CASTS."""

OPS = frozenset((*COMPARISONS, *ARITHMETIC, *LOGIC, *NUMERIC, *CHOICE, *TEXTUAL, *OTHER))

FUNCTION_NAMES = (
    *("coalesce", "nullif", "least", "greatest", "ln", "log10", "exp", "pow", "sqrt", "abs", "round", "floor", "ceil"),
    *("sign", "lower", "upper", "trim", "ltrim", "rtrim", "length", "substr", "concat", "extract", "epoch"),
    *("date_diff", "now", "cast"),
)
"""As a manifest writes them."""

CASTS = ("double", "integer", "bigint", "varchar", "boolean")

DIFFERENCES = ("second", "minute", "hour", "day", "week", "month", "quarter", "year")
"""Of date_diff(): how many beginnings of the part lie between; of weeks the days by seven, rounded towards 0."""

PARTS = ("year", "quarter", "month", "week", "day", "hour", "minute", "second", "dow", "isodow", "doy", "epoch")
"""Of extract(): Sunday is dow 0 and isodow 7; week is that of ISO; second is whole, epoch is not."""

MOST_DIGITS = 15
"""Of round(): beyond it a double has no digits to round."""
