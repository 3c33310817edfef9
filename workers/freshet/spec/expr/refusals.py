"""How syntax that expressions do not have is refused."""

from __future__ import annotations

from sqlglot import exp

from freshet.spec.expr.functions import FUNCTION_NAMES
from freshet.spec.expr.hints import HINTS
from freshet.spec.expr.parse import ExpressionError, position
from freshet.spec.problems import did_you_mean


def plain(node: exp.Expr, *known: str) -> None:
    """Refuses a node that the parser gave more than we know the meaning of."""
    for key, value in node.args.items():
        if key not in known and value:
            raise ExpressionError(unknown(node))


def unknown(node: exp.Expr) -> str:
    """The sentence about a node that is not part of the language."""
    hint = next((hint for kinds, hint in HINTS if isinstance(node, kinds)), "")
    name = node.sql_name().lower() if isinstance(node, exp.Func) and type(node) is not exp.Func else ""
    what = f"{name}() is" if name and not isinstance(node, exp.Connector) else "this is"
    return f"{what} not part of expressions{position(node)}{'; ' + hint if hint else functions_hint(name)}"


def functions_hint(name: str) -> str:
    """The nearest function, or all of them."""
    return did_you_mean(name.lower(), FUNCTION_NAMES) or f"; functions are {', '.join(FUNCTION_NAMES)}"
