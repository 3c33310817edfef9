"""The FeatureSets under test: by the topic's key, by another entity, and one that accepts what they must refuse."""

from __future__ import annotations

_HEAD = """
apiVersion: freshet.dev/v1alpha1
kind: FeatureSet
metadata: {{name: {name}}}
spec:
  version: v1
  entity: {{name: {entity}, key: {entity}_id}}
  source:
    topic: {topic}
    rekey: {rekey}
    partitions: {partitions}
    replication: 3
    retention: 30d
    deduplicate: 10m
    fields:
"""
_STRICT = """
      kind: {{type: string, required: true}}
      amount: {{type: double, minimum: 0}}
  features:
    - {{name: n, aggregate: count, windows: [1m, 1h, 7d]}}
    - {{name: bought, aggregate: sum, of: amount, where: "kind = 'purchase'", windows: [1m, 1h, 7d]}}
    - {{name: mean, aggregate: mean, of: amount, windows: [1h]}}
    - {{name: spread, aggregate: stddev, of: amount, windows: [7d]}}
    - {{name: highest, aggregate: max, of: amount, windows: [1h]}}
    - {{name: ever, aggregate: count}}
    - {{name: newest, aggregate: last, of: amount}}
    - {{name: kinds, aggregate: distinct, of: kind, windows: [1h]}}
    - {{name: usual, aggregate: mode, of: kind, windows: [7d]}}
    - {{name: high, aggregate: percentile, of: amount, percentile: 90, windows: [1h]}}
    - {{name: latest, aggregate: last, of: kind}}
    - {{name: sessions, aggregate: session_count, gap: 2s}}
    - {{name: idle, aggregate: time_since_last}}
    - {{name: per_event, expression: "bought_7d / nullif(n_7d, 0)"}}
  output: {{topic: {name}-{topic}, every: 500ms}}
"""
_LENIENT = """
      colour: {{type: string}}
  features:
    - {{name: seen, aggregate: count, windows: [1h]}}
  output: {{topic: {name}-{topic}, every: 1s}}
"""


def users(topic: str) -> str:
    """Reads the topic by its own key."""
    return (_HEAD + _STRICT).format(name="users", entity="user", topic=topic, rekey="false", partitions=4)


def cards(topic: str) -> str:
    """Reads what a stage copies out of the same topic, in another number of partitions."""
    return (_HEAD + _STRICT).format(name="cards", entity="card", topic=topic, rekey="true", partitions=3)


def lenient(topic: str) -> str:
    """Of no processor: ingest lets through what it accepts, and the others have to refuse that."""
    return (_HEAD + _LENIENT).format(name="lenient", entity="user", topic=topic, rekey="false", partitions=4)
