"""Small FeatureSets for tests of serving."""

from __future__ import annotations

from freshet.serving.catalogue import Catalogue
from freshet.spec.definition import FeatureSet
from freshet.spec.load import parse_featureset

ACTIVITY = """
apiVersion: freshet.dev/v1alpha1
kind: FeatureSet
metadata: {name: user-activity}
spec:
  version: v2
  entity: {name: user, key: user_id}
  source:
    topic: raw-events
    partitions: 4
    timestamp: timestamp
    eventId: event_id
    fields:
      event_type: {type: string, required: true}
      amount: {type: double}
      city: {type: string}
  features:
    - {name: activity_count, aggregate: count, windows: [1h, 24h]}
    - {name: purchase_amount, aggregate: sum, of: amount, where: "event_type = 'purchase'", windows: [24h]}
    - {name: amount_mean, aggregate: mean, of: amount, windows: [24h]}
    - {name: is_active_session, aggregate: session_active, gap: 30m}
    - {name: share, expression: "purchase_amount_24h / nullif(activity_count_24h, 0)"}
    - {name: level, expression: "case when activity_count_24h > 2 then 'busy, very' else 'calm' end"}
"""
"""Numbers, whole numbers, a boolean, a text with a comma, and values that are null without events."""

ORDERS = """
apiVersion: freshet.dev/v1alpha1
kind: FeatureSet
metadata: {name: user-orders}
spec:
  version: v1
  entity: {name: user, key: user_id}
  source: {topic: raw-events, partitions: 4, timestamp: timestamp, eventId: event_id}
  features:
    - {name: activity_count, aggregate: count, windows: [24h]}
    - {name: order_count, aggregate: count, windows: [24h]}
"""
"""Shares the name `activity_count_24h` with ACTIVITY."""

CARDS = """
apiVersion: freshet.dev/v1alpha1
kind: FeatureSet
metadata: {name: card-activity}
spec:
  version: v1
  entity: {name: card, key: card_id}
  source: {topic: raw-events, partitions: 4, timestamp: timestamp, eventId: event_id}
  features:
    - {name: card_count, aggregate: count, windows: [24h]}
"""


def featuresets(*texts: str) -> list[FeatureSet]:
    return [parse_featureset(text) for text in texts]


def catalogue(*texts: str) -> Catalogue:
    return Catalogue(featuresets(*(texts or (ACTIVITY, ORDERS, CARDS))), "test")
