"""The reconcile of the serving ConfigMap: all FeatureSets in, one ConfigMap out."""

from __future__ import annotations

import base64
import gzip
import hashlib
import logging
import time
from dataclasses import dataclass

from freshet_operator.api.client import Client
from freshet_operator.api.kinds import CONTROLLER_REVISION, FEATURESET
from freshet_operator.apply import Applier
from freshet_operator.desired.serving import CONFIG_HASH, ServingConfigTooLarge, serving_config
from freshet_operator.model import Key, Object
from freshet_operator.names import SERVING_CONFIG_KEY
from freshet_operator.observe.serving import ServingReader, entries_of
from freshet_operator.plan import needed_revision, served_entries, served_part
from freshet_operator.queue import WorkQueue
from freshet_operator.scope import Scope
from freshet_operator.settings import Settings

_log = logging.getLogger(__name__)

LOOK_SECONDS = 4.0
"""The ConfigMap is looked at this often, so that nobody's edit of it stays."""
REBUILD_SECONDS = 300.0
SPACING_SECONDS = 1.0
"""Between two builds: many FeatureSets change together, and each build reads them all."""


@dataclass(slots=True)
class ServingReconciler:
    """Writes the ConfigMap when what it should hold differs from what it holds."""

    settings: Settings
    client: Client
    queue: WorkQueue
    reader: ServingReader
    applier: Applier
    scope: Scope
    _built: float = float("-inf")
    _wanted: Object | None = None
    _hash: str = ""

    async def reconcile(self, key: Key) -> float:
        """Seconds until the next look. Raises ApiError, NotLeading."""
        now = time.monotonic()
        changed = self.queue.dirty_since(key) > self._built
        if changed and now - self._built < SPACING_SECONDS:
            return self._built + SPACING_SECONDS - now
        if changed or now - self._built > REBUILD_SECONDS:
            self._wanted, self._hash = await self._build(await self.reader.config_map())
            self._built = now
        found = await self.reader.config_map()
        if self._wanted is not None and (found is None or hash_of(found) != self._hash):
            wanted = self._wanted
            await self.applier.write("apply", f"ConfigMap {key.name}", lambda: self.client.apply(wanted))
            self.reader.invalidate()
        return LOOK_SECONDS

    async def _build(self, found: Object | None) -> tuple[Object | None, str]:
        """The ConfigMap as it should be and its hash; None if it would be too large: the old one stays.

        Always from complete lists: half a list would take features away from readers.
        """
        resources: list[Object] = []
        for namespace in self.scope.lists:
            async for page in self.client.pages(FEATURESET, namespace):
                resources += [served_part(item) for item in page]
        last_valid: dict[str, Object] = {}
        for resource in resources:
            name = needed_revision(resource)
            meta = resource["metadata"]
            if name is not None:
                revision = await self.client.get(CONTROLLER_REVISION, meta["namespace"], name)
                if revision is not None:
                    last_valid[f"{meta['namespace']}/{meta['name']}"] = revision["data"]
        try:
            entries = served_entries(resources, last_valid, entries_of(found), self.scope.unreadable)
            wanted = serving_config(entries, self.settings)
        except ServingConfigTooLarge as error:
            _log.error("%s", error)
            self.reader.error = str(error)
            return None, ""
        self.reader.error = None
        return wanted


def hash_of(found: Object) -> str | None:
    """The hash of a ConfigMap, computed and as annotated; None if the two differ or it cannot be read."""
    text = (found.get("binaryData") or {}).get(SERVING_CONFIG_KEY)
    try:
        content = gzip.decompress(base64.b64decode(text or ""))
    except (ValueError, OSError, EOFError):
        return None
    computed = hashlib.sha256(content).hexdigest()[:16]
    return computed if (found["metadata"].get("annotations") or {}).get(CONFIG_HASH) == computed else None
