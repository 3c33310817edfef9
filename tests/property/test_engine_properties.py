"""The engine's answers are SQL's, whatever the manifest, the log and the way it came (design §1, §5, §6.1, §6.2)."""

from __future__ import annotations

from freshet.spec.load import parse_featureset
from hypothesis import given
from hypothesis import strategies as st

from tests.oracle.manifests import manifests
from tests.oracle.traffic import SHAPES, Shape, Traffic
from tests.property.plan import ACTIONS, Plan, Run, check, plans

READS = 40


@given(manifests(), SHAPES, plans(*ACTIONS))
def test_every_value_is_sqls(manifest: str, shape: Shape, plan: Plan) -> None:
    """Any cut, any crash, any replay, any eviction, reads at any position and time: engine = SQL."""
    definition = parse_featureset(manifest).definition
    traffic = Traffic(definition, shape)
    log = traffic.log()
    reads = traffic.reads(log, READS)
    check(definition, log, reads, Run(definition, log, plan).answers(reads))
