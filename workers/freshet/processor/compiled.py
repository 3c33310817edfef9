"""What the owners of all partitions of a process share: one definition, compiled once."""

from __future__ import annotations

from dataclasses import dataclass

from freshet.engine.decode import EventDecoder
from freshet.engine.layout import Layout
from freshet.engine.reader import Reader
from freshet.engine.vectors import VectorTexts
from freshet.spec.definition import FeatureSet


@dataclass(frozen=True, slots=True)
class Compiled:
    """One definition, compiled."""

    decoder: EventDecoder
    layout: Layout
    reader: Reader
    texts: VectorTexts

    @classmethod
    def of(cls, featureset: FeatureSet) -> Compiled:
        """Compiles a FeatureSet's definition."""
        definition = featureset.definition
        layout = Layout(definition)
        head = {"featureset": featureset.name, "version": featureset.version, "revision": definition.revision}
        return cls(EventDecoder(definition), layout, Reader(definition, layout), VectorTexts(definition, head))
