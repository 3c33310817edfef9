"""Which of the namespaces that were asked for can be read.

With Roles only, the right to a namespace goes with it, or is taken away by somebody. That must cost no other namespace
its operator: what cannot be read is left out, and left as it is, until it can be read.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from freshet_operator import metrics
from freshet_operator.api.client import Client
from freshet_operator.api.errors import ApiError
from freshet_operator.api.kinds import FEATURESET

_log = logging.getLogger(__name__)

_WAIT_SECONDS = 5.0
_LOOK_SECONDS = 20.0
"""Well below the two minutes after which kopf gives a watch up that is refused."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The namespaces of one run of the engine."""

    namespaces: tuple[str, ...] = ()
    """Which are watched; empty: all."""
    unreadable: tuple[str, ...] = ()
    """Which were asked for and cannot be read."""

    @property
    def lists(self) -> tuple[str | None, ...]:
        """What to list: each namespace, or (None) all at once."""
        return self.namespaces or (None,)


async def wait(client: Client, asked: tuple[str, ...]) -> Scope:
    """Waits until there is something to watch: kopf looks for kinds once, at its start, and would stay blind."""
    said = ""
    while True:
        try:
            found = await _look(client, asked)
        except ApiError as error:
            if said != str(error):
                said = str(error)
                _log.warning("waiting for the FeatureSet CRD and the right to list it: %s", error)
            await asyncio.sleep(_WAIT_SECONDS)
            continue
        if found.unreadable:
            _log.warning(
                "no right to list FeatureSets in %s: what is there stays as it is, the others are looked after; if such"
                " a namespace is being deleted and does not go, see docs/operator.md, What happens to data",
                ", ".join(found.unreadable),
            )
        metrics.UNREADABLE.set(len(found.unreadable))
        return found


async def until_changed(client: Client, asked: tuple[str, ...], scope: Scope) -> None:
    """Returns when a namespace can be read that could not, or the other way round; never without namespaces."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        try:
            if asked and await _look(client, asked) != scope:
                return
        except ApiError:  # an outage, which says nothing about rights
            continue


async def _look(client: Client, asked: tuple[str, ...]) -> Scope:
    """Raises ApiError if no namespace can be read, or for another reason than a missing right."""
    refused: dict[str, ApiError] = {}
    for namespace in asked or (None,):
        try:
            await client.request("GET", FEATURESET.path(namespace), params={"limit": "1"})
        except ApiError as error:
            if error.status != 403 or namespace is None:
                raise
            refused[namespace] = error
    if refused and len(refused) == len(asked):
        raise next(iter(refused.values()))
    return Scope(tuple(one for one in asked if one not in refused), tuple(refused))
