"""FeatureSets that the run is told about, from files or from what the operator gives the services."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

from freshet.runtime.variables import ConfigurationError
from freshet.spec.definition import FeatureSet
from freshet.spec.load import load_featuresets, parse_featureset

PACKED = "featuresets.json.gz"
"""The key of the operator's ConfigMap."""
_MOST_BYTES = 64 << 20


def read(paths: Sequence[Path]) -> list[FeatureSet]:
    """The FeatureSets of YAML files, of folders with such, and of packed ones.

    A folder with a packed file is a mounted ConfigMap; one that is empty is that ConfigMap before there is a
    FeatureSet. Raises ManifestError, ConfigurationError.
    """
    found: list[FeatureSet] = []
    for path in paths:
        packed = path / PACKED if path.is_dir() else path
        if packed.suffix == ".gz" and packed.exists():
            found += _unpacked(packed)
        elif not path.is_dir() or any(not file.name.startswith(".") for file in path.iterdir()):
            found += load_featuresets([path])
    return found


def _unpacked(file: Path) -> list[FeatureSet]:
    try:
        with gzip.open(file) as stream:
            manifests = json.loads(stream.read(_MOST_BYTES))["featuresets"]
        texts = [json.dumps(manifest) for manifest in manifests]
    except (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error) as error:
        reason = f"{type(error).__name__}: it must be a gzip of {{'featuresets': [...]}}"
        raise ConfigurationError(f"--manifest: {file} cannot be read: {reason}") from None
    return [parse_featureset(text, str(file)) for text in texts]
