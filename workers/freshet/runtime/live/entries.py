"""Manifests of a configuration to FeatureSets: one that cannot be read leaves its last good form, and all others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from freshet.runtime.live.state import full_name
from freshet.spec.definition import FeatureSet
from freshet.spec.problems import ManifestError, shown
from freshet.spec.resource import featureset_of

_encode = msgspec.json.Encoder(order="sorted").encode


class Entries:
    """The FeatureSets of the newest configuration. One whose manifest did not change stays the same object."""

    def __init__(self, namespace: str) -> None:
        """`namespace` is the setting, for manifests that have none."""
        self._namespace = namespace
        self._known: dict[str, tuple[bytes, FeatureSet]] = {}

    def take(self, manifests: Iterable[Any]) -> tuple[list[FeatureSet], list[str]]:
        """The FeatureSets to use now, and a sentence for each manifest that is not one of them."""
        taken: dict[str, tuple[bytes, FeatureSet]] = {}
        names: dict[str, str] = {}
        wrong: list[str] = []
        for index, manifest in enumerate(manifests):
            place = self._place(manifest)
            try:
                entry = self._read(manifest, place)
            except ManifestError as error:
                wrong.append(f"{shown(place, 330) or f'featuresets[{index}]'}: {'; '.join(error.lines[:3])}")
                if place not in self._known:
                    continue
                entry = self._known[place]
            name = full_name(entry[1], self._namespace)
            other = names.setdefault(entry[1].name, name)
            if name in taken:
                wrong.append(f"{name}: stands twice; the first is used")
            elif other == name:
                taken[name] = entry
            else:
                wrong.append(f"{name}: {other} has the same name and is used instead; give one of them another name")
        self._known = taken
        return [featureset for _, featureset in taken.values()], wrong

    def _place(self, manifest: Any) -> str:
        """`namespace/name`; empty if the manifest does not even say that."""
        metadata = manifest.get("metadata") if isinstance(manifest, dict) else None
        if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
            return ""
        return f"{metadata.get('namespace') or self._namespace}/{metadata['name']}"[:330]

    def _read(self, manifest: Any, place: str) -> tuple[bytes, FeatureSet]:
        if not isinstance(manifest, dict):
            raise ManifestError(["is not a manifest"])
        text = _encode(manifest)
        known = self._known.get(place)
        return known if known is not None and known[0] == text else (text, featureset_of(manifest))
