"""With all rules of design §6 every interleaving ends well; without any one of them some ends badly.

The short form takes about half a minute. `MODEL_LONG=1` explores the larger worlds too (half an hour).
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.model.explore import Explorer
from tests.model.machine import Setting
from tests.model.rules import Rule

_TILES: dict[str, Any] = {"events": "XXYX", "tiles": "0100"}
"""X: a first tile, one that closes it, a late event in the closed one."""
_FRONTS: dict[str, Any] = {"events": "XXYX", "tiles": "0101"}
"""X: a first tile, one that closes it, an event for which the front is enough."""

SHORT: dict[str, dict[str, Any]] = {
    "one failover": {},
    "a script is late": {"events": "XX", "losses": 1},
    "a script is sent again": {"events": "XX", "losses": 1, "again": True},
    "outputs": {"events": "XYX", "outputs": True},
    "duplicates": {"repeats": ((2, 0),)},
    "closed tiles": {"events": "XXX", "tiles": "010"},
    "eviction, events taken during a flush": {"events": "XX", "evicts": True, "ahead": True},
    "two primaries": {"events": "XY", "two_primaries": True},
    "restoring": {"events": "XYX", "checkpoint": 2},
    "restoring, a script is late": {"events": "XYXY", "checkpoint": 2, "forgets": 0, "losses": 2},
    "restoring, duplicates": {"events": "XYXY", "repeats": ((3, 1),), "checkpoint": 2},
    "expiry": {**_FRONTS, "forgets": 0, "expiries": 2},
}
LONG: dict[str, dict[str, Any]] = {
    "two failovers": {"events": "XYX", "forgets": 2},
    "late, three events": {"events": "XYX", "losses": 1},
    "late, four events": {"losses": 1},
    "late, outputs": {"events": "XYX", "losses": 1, "outputs": True},
    "late, two primaries": {"events": "XY", "losses": 1, "two_primaries": True},
    "again, three events": {"events": "XYX", "losses": 1, "again": True},
    "outputs, four events": {"outputs": True},
    "duplicates, five events": {"events": "XYXXY", "repeats": ((2, 0),)},
    "duplicates, outputs": {"repeats": ((2, 0),), "outputs": True},
    "closed tiles, four events": _TILES,
    "closed tiles, two primaries": {**_TILES, "two_primaries": True},
    "eviction, four events": {"evicts": True, "ahead": True},
    "three processes": {"events": "XYX", "owners": 3},
    "two primaries, four events": {"two_primaries": True},
}
WITHOUT: dict[Rule, dict[str, Any]] = {
    Rule.COMPARE: {},
    Rule.SKIP: {"forgets": 0},
    Rule.TOKEN: {},
    Rule.SINGLE_USE: {"events": "XY", "two_primaries": True},
    Rule.SEQ: {},
    Rule.OFFSET_LAST: {"forgets": 0},
    Rule.CHECKED_LOADS: {},
    Rule.START_FROM_STORE: {},
    Rule.RESTORING: {"events": "XYX", "checkpoint": 2, "forgets": 0},
    Rule.DROP_ON_DOUBT: {"losses": 1},
    Rule.IDLE_CHECK: {},
    Rule.OUTPUTS_FIRST: {"forgets": 0, "outputs": True},
    Rule.OUTPUTS_OF_SKIPPED: {"forgets": 0, "outputs": True},
    Rule.FILTER_WITH_OFFSET: {"forgets": 0, "repeats": ((3, 1),)},
    Rule.REPLAY_REGISTERS: {"forgets": 0, "repeats": ((2, 0),)},
    Rule.LENGTH: {**_FRONTS, "forgets": 0, "expiries": 1},
}
LONGEST_TRACE = 14
"""Steps of a shortest bad end, its description included."""


def worlds() -> dict[str, dict[str, Any]]:
    """What is explored to the end."""
    return SHORT | LONG if os.environ.get("MODEL_LONG") == "1" else SHORT


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("world", worlds().values(), ids=worlds().keys())
def test_every_interleaving_ends_well(world: dict[str, Any]) -> None:
    result = Explorer(Setting(**world)).run(seconds=3000)
    assert result.wrong is None, "\n".join(result.trace)
    assert result.complete
    assert result.states > 1000


@pytest.mark.parametrize("rule", list(Rule))
def test_without_a_rule_something_ends_badly(rule: Rule) -> None:
    result = Explorer(Setting(**WITHOUT[rule], without=frozenset({rule})), alike=False).run(seconds=60)
    assert result.wrong is not None, f"{result.states} states hold without the rule {rule}"
    assert len(result.trace) <= LONGEST_TRACE, "\n".join(result.trace)


@pytest.mark.parametrize("rule", list(Rule))
def test_the_same_world_ends_well_with_the_rule(rule: Rule) -> None:
    """The bad end is the rule's doing, not the world's."""
    result = Explorer(Setting(**WITHOUT[rule])).run(seconds=1)
    assert result.wrong is None, "\n".join(result.trace)
