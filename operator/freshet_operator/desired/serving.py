"""The one ConfigMap that serving and ingest run by: every served FeatureSet, compressed."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Iterable

from freshet.spec.resource import HISTORY, reduced
from freshet_operator import names
from freshet_operator.desired.objects import canonical, digest
from freshet_operator.model import Object
from freshet_operator.settings import Settings

CONFIG_HASH = f"{names.GROUP}/config-hash"
"""Annotation of the ConfigMap: what a pod says it runs, once it does."""

MOST_BYTES = 1_000_000
"""Compressed. The API server takes ConfigMaps of 1 MiB; the rest is metadata."""


class ServingConfigTooLarge(ValueError):
    """All FeatureSets together do not fit into one ConfigMap."""


def entry(resource: Object) -> Object:
    """What serving, ingest and the recorder read of a FeatureSet; with its namespace, which is part of its keys."""
    return reduced(resource, keep=(HISTORY,))


def entry_hash(entry: Object) -> str:
    """16 hexadecimal digits that are the same for equal entries."""
    return digest(entry)


def serving_config(entries: Iterable[Object], settings: Settings) -> tuple[Object, str]:
    """The ConfigMap of these entries, and its hash. Raises ServingConfigTooLarge."""
    ordered = sorted(entries, key=lambda one: (one["metadata"]["namespace"], one["metadata"]["name"]))
    text = canonical({"featuresets": ordered}).encode()
    content = gzip.compress(text, compresslevel=9, mtime=0)
    if len(content) > MOST_BYTES:
        raise ServingConfigTooLarge(
            f"the {len(ordered)} FeatureSets of this installation take {len(content) // 1024} KiB together, compressed;"
            f" one ConfigMap holds {MOST_BYTES // 1024} KiB: the last configuration that fits stays in use; delete"
            " FeatureSets that are not needed or move some to another installation of Freshet"
        )
    found = hashlib.sha256(text).hexdigest()[:16]
    config_map: Object = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": settings.serving_config,
            "namespace": settings.own_namespace,
            "labels": {
                "app.kubernetes.io/name": "freshet",
                "app.kubernetes.io/component": "serving-config",
                "app.kubernetes.io/part-of": "freshet",
                names.MANAGED_BY: names.FIELD_MANAGER,
            },
            "annotations": {CONFIG_HASH: found},
        },
        "binaryData": {names.SERVING_CONFIG_KEY: base64.b64encode(content).decode()},
    }
    return config_map, found
