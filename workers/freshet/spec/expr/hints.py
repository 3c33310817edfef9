"""What to write instead of SQL that expressions do not have."""

from __future__ import annotations

from sqlglot import exp

HINTS: tuple[tuple[tuple[type[exp.Expr], ...], str], ...] = (
    ((exp.Log,), "write log10(x), or ln(x)"),
    ((exp.IntDiv,), "write / and round the result"),
    ((exp.ILike,), "write lower(x) like 'a%'"),
    ((exp.SimilarTo, exp.RegexpLike, exp.Escape), "write like with % and _"),
    ((exp.StartsWith,), "write x like 'a%'"),
    ((exp.Contains, exp.StrPosition), "write x like '%a%'"),
    ((exp.Left, exp.Right), "write substr(x, 1, 3), or substr(x, -3)"),
    ((exp.NullSafeEQ, exp.NullSafeNEQ), "write coalesce(a = b, a is null and b is null)"),
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
