"""What to write instead of SQL that expressions do not have."""

from __future__ import annotations

from sqlglot import exp

HINTS: tuple[tuple[tuple[type[exp.Expr], ...], str], ...] = (
    ((exp.Log,), "write ln(x) / ln(10), or ln(x)"),
    ((exp.Pow,), "write x * x, or exp(n * ln(x))"),
    ((exp.If,), "write case when … then … else … end"),
    ((exp.IntDiv,), "write / and round the result"),
    ((exp.Like, exp.ILike, exp.SimilarTo, exp.RegexpLike), "compare with = or in ('a', 'b')"),
    ((exp.DPipe, exp.Concat), "text can be compared, but not built"),
    ((exp.NullSafeEQ, exp.NullSafeNEQ), "write coalesce(a = b, a is null and b is null)"),
    ((exp.Cast, exp.TryCast), "types are fixed by the fields; numbers are doubles"),
    ((exp.Interval,), "compare seconds: extract(epoch from now()) - extract(epoch from last_seen)"),
    ((exp.Hour, exp.Minute, exp.Second, exp.Day, exp.Month, exp.Year, exp.Quarter), "write extract(hour from now())"),
    ((exp.DayOfWeek, exp.DayOfYear, exp.Week, exp.WeekOfYear), "write extract(dow from now())"),
    ((exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentTime), "write now()"),
    ((exp.Query, exp.Exists, exp.Any, exp.All), "an expression has no queries"),
    ((exp.AggFunc, exp.Window, exp.Star), "aggregates are features of their own: `aggregate:` with `of` and `where`"),
    ((exp.Column, exp.Dot, exp.Bracket), "write the name alone; a field inside an object is declared with `path`"),
    ((exp.Alias,), "the feature's `name` names it"),
    ((exp.RawString, exp.ByteString, exp.National), "write text in single quotes: 'it''s'"),
    ((exp.Block, exp.Tuple), "there can be one expression only"),
    ((exp.Placeholder, exp.Parameter), "write the value itself"),
)
