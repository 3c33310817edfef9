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
    """

    names: Mapping[str, Type | None]
    noun: str
    now: bool
    elsewhere: Mapping[str, str] = field(default_factory=dict)
