"""Every rule of the model is kept somewhere in the code, and the code names no rule that the model does not know."""

from __future__ import annotations

import re
from pathlib import Path

import freshet
from tests.model.rules import PLACES, Rule

PACKAGE = Path(freshet.__file__).parent
_MARK = re.compile(r"\brules?: ([a-z_]+(?:, [a-z_]+)*)")


def marked(path: Path) -> set[str]:
    """Rules named in the comments of a file."""
    found = re.findall(r"^\s*(?:.*\s)?(?:#|--) " + _MARK.pattern, path.read_text(), re.MULTILINE)
    return {name for names in found for name in names.split(", ")}


def test_every_rule_is_marked_where_it_is_kept() -> None:
    assert set(PLACES) == set(Rule)
    missing = {rule: place for rule, place in PLACES.items() if rule.value not in marked(PACKAGE / place)}
    assert not missing, "the code has no comment `rule: <name>` for these"


def test_the_code_names_no_other_rule() -> None:
    files = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.lua")]
    unknown = {name: path.name for path in files for name in marked(path) if name not in set(Rule)}
    assert not unknown
