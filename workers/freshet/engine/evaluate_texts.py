"""Functions of texts, as DuckDB computes them: characters are Unicode code points."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freshet.engine.column import Bools
from freshet.engine.evaluate_value import Value
from freshet.spec.expr.tree import Call

_SPACES = "".join(map(chr, (0x20, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000)))
"""What trim() removes: the Unicode category Zs, no tabs and line feeds."""

_UPPER = {0xDF: 0x1E9E, 0x1FB3: 0x1FBC, 0x1FC3: 0x1FCC, 0x1FF3: 0x1FFC} | {
    c: c + 8 for row in (0x1F80, 0x1F90, 0x1FA0) for c in range(row, row + 8)
}
"""Letters whose one-letter upper case is not what Python's full mapping, of several letters, begins with."""


def apply(call: Call, args: Sequence[Value], size: int) -> Value:
    """The value of a function of texts."""
    if call.op == "concat":
        return _concat(args, size)
    if call.op == "||":
        return _mapped(str.__add__, np.object_, args)
    if call.op == "length":
        return _mapped(len, np.float64, args)
    if call.op == "like":
        return _mapped(matcher(str(args[1].values[()])), np.bool_, args[:1])
    if call.op == "substr":
        return _mapped(_substr(call.option), np.object_, args)
    return _mapped(_ONE[call.op], np.object_, args)


def _mapped(function: Callable[..., Any], dtype: Any, args: Sequence[Value]) -> Value:
    """The function of the rows in which no argument is null."""
    valid: Bools | None = None
    for arg in args:
        if arg.valid is not None:
            valid = arg.valid if valid is None else valid & arg.valid
    columns: list[NDArray[Any]] = list(np.broadcast_arrays(*(arg.values for arg in args)))
    shape = columns[0].shape if valid is None else np.broadcast_shapes(columns[0].shape, valid.shape)
    out = np.full(shape, "" if dtype is np.object_ else 0, dtype)
    wanted = np.ones(shape, np.bool_) if valid is None else np.broadcast_to(valid, shape)
    rows = zip(*(np.broadcast_to(column, shape)[wanted].tolist() for column in columns), strict=True)
    found = [function(*row) for row in rows]
    if dtype is np.object_:
        texts = np.empty(len(found), np.object_)
        texts[:] = found
        out[wanted] = texts
    else:
        out[wanted] = np.array(found, dtype)
    return Value(out, valid if valid is None or valid.shape == shape else np.broadcast_to(valid, shape))


def _concat(args: Sequence[Value], size: int) -> Value:
    """Texts one after another; a null adds nothing."""
    out = np.full(size, "", np.object_)
    for arg in args:
        part = np.where(arg.mask(), arg.values, "")
        out = out + part
    return Value(np.asarray(out, np.object_), None)


def _lower(text: str) -> str:
    # U+0130 is the only letter whose lower case has two.
    return text.lower() if text.isascii() else "".join([_single(c, c.lower(), {0x130: 0x69}) for c in text])


def _upper(text: str) -> str:
    return text.upper() if text.isascii() else "".join([_single(c, c.upper(), _UPPER) for c in text])


def _single(letter: str, full: str, others: dict[int, int]) -> str:
    """The case mapping of one letter to one letter."""
    if ord(letter) in others:
        return chr(others[ord(letter)])
    return full if len(full) == 1 else letter


_ONE: dict[str, Callable[[str], str]] = {
    "lower": _lower,
    "upper": _upper,
    "trim": lambda text: text.strip(_SPACES),
    "ltrim": lambda text: text.lstrip(_SPACES),
    "rtrim": lambda text: text.rstrip(_SPACES),
}


def _substr(option: str) -> Callable[[str], str]:
    start, *rest = map(int, option.split(","))

    def cut(text: str) -> str:
        # The first character is number 1; number 0 and those before it are none. From the end, -1 is the last.
        begin = start - 1 if start >= 0 else len(text) + start
        end = begin + rest[0] if rest else len(text)
        return text[max(begin, 0) : max(end, 0)]

    return cut


@functools.lru_cache(maxsize=1_000)
def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a text is like `pattern`: % is any text, _ any character. Time is the text's length times the pattern's.

    What stands between two % is looked for from the left: to take the first place where it fits is never wrong.
    """
    first, *rest = (_fixed(part) for part in re.split("%+", pattern))
    if not rest:
        return lambda text: (found := first.match(text)) is not None and found.end() == len(text)
    middle, (last, width) = rest[:-1], (rest[-1], len(re.split("%+", pattern)[-1]))

    def like(text: str) -> bool:
        found = first.match(text)
        for part in middle:
            if found is None:
                return False
            found = part.search(text, found.end())
        return (
            found is not None and found.end() <= len(text) - width and last.match(text, len(text) - width) is not None
        )

    return like


def _fixed(part: str) -> re.Pattern[str]:
    """A part of a pattern without %: as many characters as it has."""
    return re.compile("".join("." if c == "_" else re.escape(c) for c in part), re.DOTALL)
