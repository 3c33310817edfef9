"""How long a state is kept, and how far back the log matters for it."""

from __future__ import annotations

from freshet.spec.definition import Definition, FeatureSet

_DAY_MS = 86_400_000
TTL_SLACK_MS = 2 * _DAY_MS
"""How much longer than its windows a state lives (design §6.10). It is written whole at least this often."""
_CHAIN = 10
_CLOCK_MS = 7_200_000
"""How far apart the broker's clock and the one that the horizon is reckoned from may be."""


def state_ttl_ms(featureset: FeatureSet) -> int | None:
    """How long a state lives after it was last written whole (design §6.10); None: for ever."""
    if featureset.entity_ttl_ms is not None:
        return featureset.entity_ttl_ms
    if featureset.definition.has_lifetime or not featureset.definition.windows:
        return None
    return featureset.definition.windows[-1].length_ms + 2 * TTL_SLACK_MS


def horizon_ms(definition: Definition) -> int | None:
    """A record whose broker time is further back than this shows in no value any more; None: every record does.

    An event is never later than its broker time (design §5), so none of those records lies in a window. Whether one
    that does is a duplicate depends on the accepted records of its id within `deduplicate` before it, and so on back
    along a chain of repeats: ten links of it are within.
    """
    if definition.has_lifetime or not definition.windows:
        return None
    return max(w.length_ms + w.hop_ms for w in definition.windows) + _CHAIN * definition.deduplicate_ms + _CLOCK_MS
