"""Which names an expression may read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from freshet.spec.expr.tree import Type


@dataclass(frozen=True, slots=True)
class Scope:
    """The columns of one kind of expression.

    Attributes:
        names: type of each column; None for one whose own definition is broken, so that its problem is told once.
        noun: what a name should have been, for messages: `event field` or `feature`.
        now: whether now() has a meaning here.
        elsewhere: names that exist but not here, each with the sentence that says so.
        broken: names of features left out because they have problems; their values are not told as unknown.
    """

    names: Mapping[str, Type | None]
    noun: str
    now: bool
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()

    def is_broken(self, name: str) -> bool:
        """Whether `name`, which is unknown, could be a value of a feature that was left out."""
        return any(name == base or name.startswith(base + "_") for base in self.broken)
