"""The engine's answers are SQL's, whatever the manifest, the log and the way it came (design §1, §5, §6.1, §6.2).

Every example is large: hundreds of records, up to 14 entities, a dozen features and more, forty reads at the edges that
the log has. The first test does everything at once; those after it each leave out all but one thing, so that a failure
says where to look.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from freshet.dev.oracle.log import Log
from freshet.dev.oracle.run import Reads
from freshet.engine.column import Column
from freshet.engine.layout import NEWEST
from freshet.engine.state import PartitionState
from freshet.spec.definition import Definition
from freshet.spec.load import parse_featureset
from tests.oracle.manifests import manifests
from tests.oracle.owner import Owner
from tests.oracle.traffic import SHAPES, Shape, Traffic
from tests.property.plan import ACTIONS, Plan, Run, check, join, plans

READS = 40


def drawn(manifest: str, shape: Shape) -> tuple[Definition, Log, Reads]:
    """What an example is about."""
    definition = parse_featureset(manifest).definition
    traffic = Traffic(definition, shape)
    log = traffic.log()
    return definition, log, traffic.reads(log, READS)


def at_the_end(log: Log, reads: Reads) -> Reads:
    """The same reads when the whole log was taken in."""
    return Reads(reads.keys, np.full(len(reads), log.end), reads.now_ms)


@pytest.mark.timeout(3600)
@settings(max_examples=8 * settings().max_examples)
@given(manifests(), SHAPES, plans(*ACTIONS))
def test_every_value_is_sqls(manifest: str, shape: Shape, plan: Plan) -> None:
    """Any cut, any crash, any replay, any eviction, reads at any position and time: engine = SQL."""
    definition, log, reads = drawn(manifest, shape)
    check(definition, log, reads, Run(definition, log, plan).answers(reads))


@given(manifests(), SHAPES, plans(), plans())
def test_any_cut_into_batches_answers_alike(manifest: str, shape: Shape, one: Plan, other: Plan) -> None:
    definition, log, reads = drawn(manifest, shape)
    check(definition, log, reads, *(Run(definition, log, plan).answers(reads) for plan in (one, other)))


@given(manifests(), SHAPES, plans("flush", "hold back", "crash", "cut off", "replay"))
def test_crashes_and_replays_change_nothing(manifest: str, shape: Shape, plan: Plan) -> None:
    definition, log, reads = drawn(manifest, shape)
    check(definition, log, reads, Run(definition, log, plan).answers(reads))


@given(manifests(), SHAPES, plans("flush", "evict", "reload"))
def test_eviction_and_reload_change_nothing(manifest: str, shape: Shape, plan: Plan) -> None:
    definition, log, reads = drawn(manifest, shape)
    check(definition, log, reads, Run(definition, log, plan).answers(reads))


@given(manifests(), SHAPES, plans("flush", "evict"))
def test_what_is_stored_is_what_is_in_memory(manifest: str, shape: Shape, plan: Plan) -> None:
    """Fronts laid over stored values give the whole value, byte for byte, and decoding and encoding gives it again."""
    definition, log, _ = drawn(manifest, shape)
    run = Run(definition, log, plan)
    for position in sorted({len(log) // 3, len(log) // 2, len(log)}):
        run.to(position)
        run.owner.flush()
        wholes = run.owner.wholes()
        assert wholes == {key: run.store.blobs[key] for key in wholes}
        again = PartitionState(definition, run.owner.layout, slots=1)
        again.load(list(wholes), list(wholes.values()))
        encoded = again.encode(again.slots(list(wholes)), renew_before_ms=1)
        assert {write.key: write.blob for write in encoded} == wholes


@given(manifests(), SHAPES, plans("flush", "reload"))
def test_roll_up_changes_nothing(manifest: str, shape: Shape, plan: Plan) -> None:
    """Rolling up every tile that can be, at any moment, cannot be told from any read, then or later."""
    definition, log, reads = drawn(manifest, shape)
    plain, rolled = Run(definition, log, plan), Run(definition, log, plan)
    for position in sorted({len(log) // 3, len(log) // 2, len(log)}):
        rolled.to(position)
        roll_up(rolled.owner)
    last = at_the_end(log, reads)
    check(definition, log, last, plain.answers(last), rolled.answers(last))


def roll_up(owner: Owner) -> None:
    """Rewrites all tiles of all entities as a late event would, without the event."""
    table = owner.states.table
    held = owner.states.rows(owner.states.resident())
    held = np.sort(held[np.isfinite(table.fixed[held, NEWEST])])
    if table.tiles and len(held):
        tiles = table.tiles
        before = tiles.count[held].copy()
        tiles._rebuild(held, *tiles._nothing(), table.fixed[held, NEWEST].astype(np.int64))
        assert (tiles.count[held] <= before).all()
        table.body[held] = True


@given(manifests(), SHAPES)
def test_many_entities_read_at_once_are_those_read_alone(manifest: str, shape: Shape) -> None:
    definition, log, reads = drawn(manifest, shape)
    run = Run(definition, log, Plan(shape.seed, 100, frozenset()))
    run.to(len(log))
    run.owner.flush()
    keys, now = [*run.store.blobs, "nobody"], int(reads.now_ms[0])
    vectors = run.owner.reader.read(keys, [run.store.blobs.get(key) for key in keys], now)
    alone, q = join([run.owner.read(key, now, stored=True) for key in keys])
    assert vectors.q_ms.tolist() == q.tolist()
    for name, column in vectors.columns.items():
        assert listed(column) == listed(alone[name]), name


def listed(column: Column) -> list[object]:
    """Values, None for null."""
    pairs = zip(column.values.tolist(), column.mask().tolist(), strict=True)
    return [value if valid else None for value, valid in pairs]
