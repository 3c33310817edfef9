"""Specs, compiled: what a plan reads of them, remembered, because the same few are asked for again and again.

Compiling takes milliseconds, and 300 FeatureSets are looked at every few seconds. Equal specs give equal answers, so
remembering them changes nothing but the time it takes.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict

from freshet.spec.definition import AggregateFeature, FeatureSet, Window
from freshet.spec.problems import ManifestError
from freshet.spec.resource import featureset_of, plain_resource
from freshet_operator.desired.objects import digest
from freshet_operator.model import Object

_MOST = 2_000
_known: OrderedDict[str, FeatureSet | tuple[str, ...]] = OrderedDict()


def compiled(resource: Object) -> FeatureSet:
    """The FeatureSet of a resource, without the features that nobody here reads. Raises ManifestError."""
    try:
        key = digest(plain_resource(resource), 64)
    except (ValueError, TypeError, KeyError):
        return outline(featureset_of(resource))  # not even JSON: let the validator say it
    if key not in _known:
        try:
            _known[key] = outline(featureset_of(resource))
        except ManifestError as error:
            _known[key] = error.lines
        while len(_known) > _MOST:
            _known.popitem(last=False)
    _known.move_to_end(key)
    found = _known[key]
    if isinstance(found, tuple):
        raise ManifestError(found)
    return found


def outline(featureset: FeatureSet) -> FeatureSet:
    """The FeatureSet with one feature for each window, which tells how far back its log is needed."""
    by_window: dict[Window, AggregateFeature] = {}
    for feature in featureset.definition.features:
        if isinstance(feature, AggregateFeature) and feature.window is not None:
            by_window.setdefault(feature.window, feature)
    features = tuple(by_window[window] for window in sorted(by_window))
    definition = dataclasses.replace(featureset.definition, fields=(), features=features, evaluation=())
    return dataclasses.replace(featureset, definition=definition)
