"""Leader election by a coordination.k8s.io Lease.

The clocks of two machines are never compared: a follower measures with its own monotonic clock how long the Lease has
not changed. Nobody writes without `holds()`, which ends before a follower may take over.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from collections.abc import Callable

from freshet_operator import metrics
from freshet_operator.api.client import Client
from freshet_operator.api.errors import ApiError
from freshet_operator.api.kinds import LEASE
from freshet_operator.model import Object

DURATION_SECONDS = 15.0
"""A Lease that did not change for this long may be taken."""
RENEW_DEADLINE_SECONDS = 10.0
"""A holder that could not renew for this long stops writing and ends."""
RETRY_SECONDS = 2.0

_log = logging.getLogger(__name__)


class Lease:
    """One replica's view of the Lease. `identity` must differ between replicas (the pod's name)."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        identity: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        duration: float = DURATION_SECONDS,
        deadline: float = RENEW_DEADLINE_SECONDS,
        retry: float = RETRY_SECONDS,
    ) -> None:
        self._client = client
        self._namespace, self._name, self._identity = namespace, name, identity
        self._clock = clock
        self._duration, self._deadline, self._retry = duration, deadline, retry
        self._seen: tuple[str, float] | None = None  # resourceVersion, and since when
        self._renewed: float | None = None
        self.last_answer: float | None = None
        """Monotonic time at which the Lease was last read or written."""
        metrics.LEADER.labels(name).set(0)

    def holds(self) -> bool:
        """Whether this replica may write now."""
        return self._renewed is not None and self._clock() - self._renewed < self._deadline

    async def acquire(self) -> None:
        """Returns when this replica holds the Lease; waits as long as another does, or the API server is away."""
        while not await self._attempt():
            await asyncio.sleep(self._retry)
        _log.info("this replica leads", extra={"lease": self._name, "identity": self._identity})
        metrics.LEADER.labels(self._name).set(1)

    async def keep(self) -> None:
        """Renews until that fails for too long; then returns: the caller has to end the process."""
        while self.holds():
            await asyncio.sleep(self._retry)
            if not await self._attempt() and self._taken:
                break
        metrics.LEADER.labels(self._name).set(0)
        self._renewed = None

    async def release(self) -> None:
        """Gives the Lease up, so that another replica need not wait."""
        if self._renewed is None:
            return
        self._renewed = None
        metrics.LEADER.labels(self._name).set(0)
        try:
            found = await self._client.get(LEASE, self._namespace, self._name)
            if found is not None and found["spec"].get("holderIdentity") == self._identity:
                found["spec"].update(holderIdentity="", leaseDurationSeconds=1, renewTime=_now())
                await self._client.replace(found)
        except ApiError as error:
            _log.warning("the lease could not be released; another replica takes it later: %s", error)

    _taken = False

    async def _attempt(self) -> bool:
        """Takes or renews it if possible."""
        begun = self._clock()
        try:
            async with asyncio.timeout(self._deadline / 2):
                found = await self._client.get(LEASE, self._namespace, self._name)
                self.last_answer = self._clock()
                if found is None:
                    await self._client.create(self._new())
                elif not self._may_take(found):
                    return False
                else:
                    await self._client.replace(self._mine(found))
        except (ApiError, TimeoutError) as error:
            if not isinstance(error, ApiError) or error.status != 409:
                _log.warning("the lease cannot be read or written: %s", error or "no answer in time")
            return False
        self._renewed = begun
        self.last_answer = self._clock()
        return True

    def _may_take(self, found: Object) -> bool:
        version, holder = found["metadata"]["resourceVersion"], found["spec"].get("holderIdentity")
        now = self._clock()
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, now)
        self._taken = bool(holder) and holder != self._identity
        return not self._taken or now - self._seen[1] >= self._duration

    def _new(self) -> Object:
        meta = {"namespace": self._namespace, "name": self._name}
        spec = {**self._spec(), "acquireTime": _now(), "leaseTransitions": 0}
        return {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": meta, "spec": spec}

    def _mine(self, found: Object) -> Object:
        spec = found["spec"]
        if spec.get("holderIdentity") != self._identity:
            spec["acquireTime"] = _now()
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        spec.update(self._spec())
        return found

    def _spec(self) -> Object:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(max(1, self._duration)),
            "renewTime": _now(),
        }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
