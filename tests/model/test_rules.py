"""Every rule of the model has its place in the code, and the code names no rule that the model does not know."""

from __future__ import annotations

import importlib
import re
from operator import attrgetter
from pathlib import Path

import pytest

import freshet
from tests.model.rules import PLACES, Rule

PACKAGE = Path(freshet.__file__).parent
_MARK = re.compile(r"(?:#|--) rules?: ([a-z_]+(?:, [a-z_]+)*)")


def marked(path: Path) -> set[str]:
    """Rules named in the comments of a file."""
    return {name for names in _MARK.findall(path.read_text()) for name in names.split(", ")}


@pytest.mark.parametrize("rule", list(Rule))
def test_every_rule_has_its_place(rule: Rule) -> None:
    place = PLACES[rule]
    if place.endswith(".lua"):
        assert rule.value in marked(PACKAGE / place)
    else:
        module, _, name = place.partition(":")
        assert callable(attrgetter(name)(importlib.import_module(f"freshet.{module}")))


def test_the_code_names_no_other_rule() -> None:
    files = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.lua")]
    unknown = {name: path.name for path in files for name in marked(path) if name not in set(Rule)}
    assert not unknown
