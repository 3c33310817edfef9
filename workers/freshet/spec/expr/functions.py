"""The operators and functions of the expression language, by the names that `tree.Call.op` uses.

`freshet.engine.evaluate` has one entry for each, `sql.py` too; a test holds the three together.
"""

from __future__ import annotations

COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")
"""Two values of one kind; null if either is."""

ARITHMETIC = ("+", "-", "*", "/", "%")
"""Two numbers. `%` has the sign of the dividend. Not finite (also x / 0) is null."""

LOGIC = ("and", "or", "not")
"""Three-valued; `and` and `or` take two arguments or more."""

NUMERIC = ("neg", "abs", "ln", "exp", "sqrt", "round")
"""One number. `round` is half away from zero; its option is the number of digits, negative for tens."""

CHOICE = ("case", "switch", "coalesce", "nullif", "least", "greatest")
"""`case`: condition, value, …, else. `switch`: subject, match, value, …, else. `least`, `greatest` skip nulls."""

OTHER = ("in", "between", "is_null", "extract", "now")
"""`in`: subject, items. `between`: subject, low, high. `extract`: its option is the part."""

OPS = frozenset((*COMPARISONS, *ARITHMETIC, *LOGIC, *NUMERIC, *CHOICE, *OTHER))

PARTS = ("year", "quarter", "month", "week", "day", "hour", "minute", "second", "dow", "isodow", "doy", "epoch")
"""Of extract(): Sunday is dow 0 and isodow 7; week is that of ISO; second is whole, epoch is not."""

MOST_DIGITS = 15
"""Of round(): beyond it a double has no digits to round."""
