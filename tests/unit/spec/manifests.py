"""A small manifest that the tests of this folder bend."""

from __future__ import annotations

from freshet.spec.definition import FeatureSet
from freshet.spec.load import parse_featureset
from freshet.spec.problems import ManifestError

SMALL = """\
apiVersion: freshet.dev/v1alpha1
kind: FeatureSet
metadata: {name: demo}
spec:
  version: v1
  entity: {name: user, key: user_id}
  source:
    retention: 8d
    fields:
      event_type: {type: string, required: true}
      amount: {type: double, minimum: 0}
  features:
    - {name: n, aggregate: count, windows: [1h, 24h]}
    - {name: total, aggregate: sum, of: amount, where: "event_type = 'buy'"}
    - {name: ratio, expression: "total / nullif(n_1h, 0)"}
"""


def bent(old: str, new: str) -> str:
    """The small manifest with one piece of text exchanged."""
    assert SMALL.count(old) >= 1, old
    return SMALL.replace(old, new, 1)


def with_features(*lines: str) -> FeatureSet:
    """The small manifest with these features (flow mappings without braces) in place of its own."""
    head = SMALL[: SMALL.index("    - {name: n")]
    return parse_featureset(head + "".join(f"    - {{{line}}}\n" for line in lines))


def complaints(text: str) -> list[str]:
    """What is wrong with a manifest, one line each, without the file's name."""
    try:
        parse_featureset(text, "f.yaml")
    except ManifestError as error:
        told = error
    else:
        return []
    assert str(told) == "\n".join(told.lines)
    assert all(line.startswith("f.yaml:") for line in told.lines)
    return [line.removeprefix("f.yaml:") for line in told.lines]
