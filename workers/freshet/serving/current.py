"""What is served now: swapped as a whole, so that a request never sees half of a change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from freshet.serving.catalogue import Catalogue
from freshet.serving.selection import Selector
from freshet.spec.definition import FeatureSet


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of what is served; never changes."""

    catalogue: Catalogue
    selector: Selector


class Current:
    """The newest snapshot. A request reads it once and goes on with what it got."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.snapshot = Snapshot(catalogue, Selector(catalogue))

    def switch(self, feature_sets: Sequence[FeatureSet]) -> Mapping[str, str]:
        """Serves these from the next request on; callable from any thread. All are taken, so nothing is returned."""
        before = self.snapshot.catalogue
        catalogue = Catalogue(feature_sets, before.namespace, before=before, may_be_empty=True)
        self.snapshot = Snapshot(catalogue, Selector(catalogue))
        return {}
