"""The real scripts and the real PartitionOwner on a real Valkey keep S1 to S6 through random interleavings of two
processors, pauses, crashes, late and repeated scripts, expiry, and a store that falls back to an earlier copy of
itself; with any one rule left out they do not.

The short form takes under a minute. `MODEL_LONG=1` makes it a hundred times as long.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import redis

from freshet.dev.ports import HOST
from freshet.dev.servers import EmbeddedValkey
from tests.model.process import Variant
from tests.model.rules import Rule
from tests.model.scenario import play
from tests.model.variants import without
from tests.model.walk import Kind, walk

pytestmark = pytest.mark.server

WALKS = 30_000 if os.environ.get("MODEL_LONG") == "1" else 200
FIND_WITHIN = 1_000
"""Walks by which a missing rule must have shown; a few dozen are usual."""

_ALL = Kind().trouble
KINDS = {
    "everything": Kind(),
    "quick outputs": Kind(acknowledges=True, events=4, keys=2, steps=40),
    "two primaries": Kind(trouble=_ALL | {"old primary"}),
    "erasure": Kind(events=10, keys=2, erases=True),
    "restoring": Kind(trouble=_ALL | {"lose all"}, events=8),
    "expiry": Kind(trouble=frozenset({"crash", "late", "lost reply", "ahead", "expire"}), events=12),
}
_RESTORES = Kind(trouble=frozenset({"crash", "lose all"}), acknowledges=True, events=6)
_FORGETS = Kind(trouble=frozenset({"fall back"}), acknowledges=True, events=4, keys=2, steps=40)
FOUND_BY_WALKS = {
    Rule.COMPARE: Kind(),
    Rule.SKIP: Kind(),
    Rule.SEQ: _FORGETS,
    Rule.OFFSET_LAST: Kind(),
    Rule.CHECKED_LOADS: _FORGETS,
    Rule.START_FROM_STORE: Kind(),
    Rule.IDLE_CHECK: _FORGETS,
    Rule.RESTORING: _RESTORES,
    Rule.OUTPUTS_FIRST: Kind(),
    Rule.OUTPUTS_OF_SKIPPED: Kind(),
    Rule.FILTER_WITH_OFFSET: Kind(),
    Rule.REPLAY_REGISTERS: Kind(),
    Rule.LENGTH: Kind(trouble=frozenset({"expire"}), acknowledges=True, events=12, keys=1),
}
FOUND_BY_SCENARIOS = {
    Rule.TOKEN: ("XYX", "A own, A take 3, A flush, A send, back 2, B own, B take 2, B flush, B send, A send"),
    Rule.SINGLE_USE: ("XY", "A own, A take 2, A flush, A send, split 1, B own, old B take 1, B flush, B send"),
    Rule.DROP_ON_DOUBT: (
        "XYX",
        "A own, A take 2, A flush, A lose, A take 3, A flush, A send, back 1, A late, A send, B finish",
    ),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[redis.Redis, redis.Redis]]:
    """Two databases of one server: the primary, and one that stands for a former primary."""
    with (
        EmbeddedValkey(tmp_path_factory.mktemp("store")) as server,
        redis.Redis(host=HOST, port=server.port) as main,
        redis.Redis(host=HOST, port=server.port, db=1) as old,
    ):
        yield main, old


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_every_walk_ends_well(store: tuple[redis.Redis, redis.Redis], kind: Kind) -> None:
    for seed in range(WALKS):
        wrong = walk(*store, seed, kind, Variant())
        assert wrong is None, f"walk {seed}: {wrong}"


@pytest.mark.parametrize("rule", FOUND_BY_WALKS)
def test_without_a_rule_some_walk_ends_badly(
    store: tuple[redis.Redis, redis.Redis], rule: Rule, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant = without(rule, monkeypatch)
    assert any(walk(*store, seed, FOUND_BY_WALKS[rule], variant) for seed in range(FIND_WITHIN))


@pytest.mark.parametrize("rule", FOUND_BY_SCENARIOS)
def test_without_a_rule_its_scenario_ends_badly(
    store: tuple[redis.Redis, redis.Redis], rule: Rule, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, steps = FOUND_BY_SCENARIOS[rule]
    assert play(*store, events, steps, Variant()) is None
    assert play(*store, events, steps, without(rule, monkeypatch)) is not None


def test_every_rule_is_looked_for() -> None:
    assert set(FOUND_BY_WALKS) | set(FOUND_BY_SCENARIOS) == set(Rule)
