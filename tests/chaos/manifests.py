"""The FeatureSet under test, and a second one that makes ingest accept what the first must refuse."""

from __future__ import annotations

PARTITIONS = 4

_SOURCE = """
  source:
    topic: {topic}
    partitions: 4
    replication: 3
    retention: 30d
    deduplicate: 10m
    fields:
"""

STRICT = """
apiVersion: freshet.dev/v1alpha1
kind: FeatureSet
metadata: {{name: faults}}
spec:
  version: v1
  entity: {{name: user, key: user_id}}
"""
STRICT += _SOURCE
STRICT += """
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
  output: {{topic: {output}, every: 500ms}}
"""

LENIENT = """
apiVersion: freshet.dev/v1alpha1
kind: FeatureSet
metadata: {{name: lenient}}
spec:
  version: v1
  entity: {{name: user, key: user_id}}
"""
LENIENT += _SOURCE
LENIENT += """
      colour: {{type: string}}
  features:
    - {{name: seen, aggregate: count, windows: [1h]}}
  output: {{topic: {output}-lenient, every: 1s}}
"""
