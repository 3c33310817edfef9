"""From a manifest's SQL text to sqlglot's syntax tree, within bounds and without surprises.

Nothing here knows what the syntax means; `check` does, and lets through only what it knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlglot import Dialect, exp
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

MOST_CHARACTERS = 4_000
MOST_TOKENS = 600
MOST_NESTING = 20
"""Parentheses, calls and cases in each other: the parser recurses, and so does everything after it."""

_DUCKDB: Any = Dialect.get_or_raise("duckdb")
_PREFIXES = frozenset((TokenType.NOT, TokenType.DASH, TokenType.PLUS, TokenType.TILDE))


class ExpressionError(ValueError):
    """An expression cannot be used; the text is a sentence for the user."""


def parse_sql(text: str) -> exp.Expr:
    """The syntax of one expression in DuckDB's dialect. Raises ExpressionError."""
    if len(text) > MOST_CHARACTERS:
        raise ExpressionError(f"has {len(text)} characters; at most {MOST_CHARACTERS} are allowed")
    try:
        tokens = _DUCKDB.tokenize(text)
    except SqlglotError:
        raise ExpressionError("is not SQL: a quote or a comment is not closed") from None
    _bound(tokens)
    try:
        parsed = _DUCKDB.parser().parse_into(exp.Condition, tokens, text)
    except ParseError as error:
        raise ExpressionError(_sentence(error, text)) from None
    except (RecursionError, AttributeError, TypeError, ValueError, LookupError):
        # The parser takes more than expressions; on text that is none it can trip over itself.
        raise ExpressionError("is not an SQL expression that can be read") from None
    if len(parsed) != 1 or not isinstance(parsed[0], exp.Expr):
        raise ExpressionError("must be one SQL expression")
    return parsed[0]


def columns(syntax: exp.Expr) -> Iterator[str]:
    """The names that the expression reads, repeats included."""
    for column in syntax.find_all(exp.Column):
        if isinstance(column.this, exp.Identifier):
            yield column.name


def position(syntax: exp.Expr) -> str:
    """` at character 7` of the first thing in `syntax` whose place is known, or nothing."""
    starts = [node.meta["start"] for node in syntax.walk() if "start" in node.meta]
    return f" at character {min(starts) + 1}" if starts else ""


def _bound(tokens: list[Token]) -> None:
    if not tokens:
        raise ExpressionError("is empty")
    if len(tokens) > MOST_TOKENS:
        raise ExpressionError(f"has {len(tokens)} words and signs; at most {MOST_TOKENS} are allowed")
    depth = deepest = prefixes = 0
    for token in tokens:
        if token.token_type is TokenType.PARAMETER:
            # The parser takes it for abs(), but binds it tighter than DuckDB does.
            raise ExpressionError(f"@ is not part of expressions at character {token.start + 1}; write abs(x)")
        if token.token_type in (TokenType.CARET, TokenType.DSTAR):
            # The parser takes them for pow(), but groups them otherwise than DuckDB does.
            raise ExpressionError(
                f"{token.text} is not part of expressions at character {token.start + 1}; write pow(x, y)"
            )
        prefixes = prefixes + 1 if token.token_type in _PREFIXES else 0
        if token.token_type in (TokenType.L_PAREN, TokenType.CASE, TokenType.L_BRACKET, TokenType.L_BRACE):
            depth += 1
        elif token.token_type in (TokenType.R_PAREN, TokenType.END, TokenType.R_BRACKET, TokenType.R_BRACE):
            depth -= 1
        deepest = max(deepest, depth + prefixes)
    if deepest > MOST_NESTING:
        raise ExpressionError(f"is nested {deepest} deep; at most {MOST_NESTING} is allowed")


def _sentence(error: ParseError, text: str) -> str:
    first = error.errors[0] if error.errors else {}
    line, column = first.get("line"), first.get("col")
    description = str(first.get("description", ""))
    near = str(first.get("highlight") or "")
    place = ""
    if isinstance(line, int) and isinstance(column, int):
        before = sum(len(part) + 1 for part in text.split("\n")[: line - 1])
        place = f" at character {max(1, before + column - max(len(near), 1) + 1)}"
    if description.startswith("Expecting )"):
        return f'a ")" is missing{place}'
    if description.startswith("The number of provided arguments"):
        return f'too many arguments{place}, near "{near}"'
    if description.startswith("Required keyword"):
        return f'something is missing{place}, after "{near}"'
    return f'cannot be read{place}, near "{near}"'
