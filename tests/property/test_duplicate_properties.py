"""The duplicate filter is a function of the log: stored at any offset and loaded again, it decides as if nothing had
happened (design §5, §6.9)."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from freshet.dev.oracle.log import Log
from freshet.spec.definition import Definition
from freshet.spec.load import parse_featureset
from tests.oracle.owner import Owner, Store
from tests.oracle.traffic import Shape, Traffic

MANIFEST = """
apiVersion: freshet.dev/v1alpha1
kind: FeatureSet
metadata: {{name: counted}}
spec:
  version: v1
  entity: {{name: user, key: user_id}}
  source:
    deduplicate: {span}
    fields:
      amount: {{type: double}}
      qty: {{type: integer}}
      kind: {{type: string}}
      flag: {{type: boolean}}
      note: {{type: string}}
  features:
    - {{name: n, aggregate: count}}
"""
SHAPES = st.builds(
    Shape,
    records=st.integers(2, 150),
    entities=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
    start_ms=st.sampled_from((1_769_871_600_000, 1_782_000_059_999, 3_000)),
    paces=st.lists(st.sampled_from((0, 1, 900, 30_000, 700_000)), min_size=1, max_size=3).map(tuple),
    troubles=st.frozensets(st.sampled_from(("backwards", "malformed", "gaps"))).map(lambda some: some | {"duplicates"}),
)


@settings(max_examples=4 * settings().max_examples)
@given(st.sampled_from(("0s", "1s", "1m", "61s", "10m")), SHAPES, st.integers(0, 2**32 - 1))
def test_a_filter_stored_at_any_offset_decides_as_the_log_says(span: str, shape: Shape, seed: int) -> None:
    definition = parse_featureset(MANIFEST.format(span=span)).definition
    log = Traffic(definition, shape).log()
    walk(definition, log, random.Random(seed))


def walk(definition: Definition, log: Log, choice: random.Random) -> None:
    """Through the log with flushes that hold progress back, and crashes: every decision must be the log's."""
    valid, expected = log.valid(definition), log.accepted(definition)
    store = Store()
    owner = Owner(definition, log, store)
    crashes = 0
    while owner.position < len(log):
        start = owner.position
        accepted = owner.consume(min(start + choice.randint(1, 20), len(log)))
        at = start + np.flatnonzero(valid[start : owner.position])
        assert accepted.tolist() == expected[at].tolist(), f"records {start} to {owner.position}"
        if choice.random() < 0.5:
            owner.flush(hold_back=choice.randint(0, 15))
        if crashes < 8 and choice.random() < 0.3:
            owner, crashes = Owner(definition, log, store), crashes + 1
    oldest = int(log.log_time()[-1]) - definition.deduplicate_ms
    owner.flush()
    assert all((minute + 1) * 60_000 > oldest for minute in store.buckets), "buckets that can match nothing are kept"
