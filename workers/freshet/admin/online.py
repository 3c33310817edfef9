"""Whether the processors have reset an entity's online states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from freshet.admin.installation import Installation
from freshet.spec import naming
from freshet.spec.definition import FeatureSet
from freshet.stores.fence import Progress
from freshet.stores.redis import Failures, StoreDown, connect, execute


@dataclass(frozen=True, slots=True)
class Online:
    """One FeatureSet's states of the entity."""

    featureset: str
    """namespace/featureset/revision."""
    done: bool
    """Whether its processors have passed the erasure: what is stored now is of later events only."""
    stored: bool | None
    """Whether there is a state; None: it is not known, as the store did not answer."""

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {"featureset": self.featureset, "done": self.done, "stored": self.stored}


def forgotten_online(
    installation: Installation, topic: str, partition: int, offset: int, entity: str
) -> tuple[Online, ...]:
    """Of every FeatureSet that reads the topic; empty without an online store in the settings."""
    if installation.redis is None:
        return ()
    readers = [fs for fs in installation.featuresets() if fs.source.topic == topic]
    tags = {installation.owner(fs): _tag(installation, fs, partition) for fs in readers}
    try:
        client = connect(installation.redis)
    except StoreDown:
        return tuple(Online(owner, False, None) for owner in tags)
    out = []
    try:
        for owner, tag in tags.items():
            try:
                progress, blob = execute(client, "MGET", naming.progress_key(tag), naming.entity_key(tag, entity))
                done = progress is not None and Progress.parse(progress).offset > offset
                out.append(Online(owner, done, blob is not None))
            except (*Failures, ValueError):
                out.append(Online(owner, False, None))
    finally:
        client.close()
    return tuple(out)


def _tag(installation: Installation, featureset: FeatureSet, partition: int) -> str:
    namespace = featureset.namespace or installation.namespace
    return naming.tag(namespace, featureset.name, featureset.definition.revision, partition)
