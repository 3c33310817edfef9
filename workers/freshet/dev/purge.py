"""The command `freshet purge`: checks what it is told, deletes, and says how far it is."""

from __future__ import annotations

import re
import time

from rich.console import Console

from freshet.dev.errors import CommandFailed
from freshet.runtime.settings import ConfigurationError
from freshet.runtime.variables import redis_url
from freshet.spec import naming
from freshet.stores.postgres import HistoryDown
from freshet.stores.purge import Purge, StillWritten
from freshet.stores.redis import StoreDown, connect
from freshet.stores.states import States

_TELL_SECONDS = 2.0
_NAME = re.compile(r"[^/{}\s]{1,253}/[^/{}\s]{1,253}")
_REVISION = re.compile(r"[0-9a-f]{10}")


def purge(
    featureset: str, revision: str, partitions: int, redis: str, postgres: str | None, rate: int, console: Console
) -> None:
    """Frees a revision's keys, and with `postgres` its checkpoints, from which its states would come back.

    Raises ConfigurationError for wrong options, CommandFailed if it could not be done.
    """
    if not _NAME.fullmatch(featureset):
        raise ConfigurationError(f'--featureset: "{featureset[:80]}" is not of the form NAMESPACE/NAME')
    if not _REVISION.fullmatch(revision):
        raise ConfigurationError(f'--revision: "{revision[:80]}" is not 10 hexadecimal digits')
    try:
        url = redis_url(redis)
    except ValueError as error:
        raise ConfigurationError(f"FRESHET_REDIS: {error}") from None
    namespace, _, name = featureset.partition("/")
    progress = _Progress(console)
    try:
        client = connect(url)
        try:
            freed = Purge(client, namespace, name, revision, partitions, rate).run(progress.tell)
        finally:
            client.close()
    except (StoreDown, StillWritten) as error:
        raise CommandFailed(str(error)) from None
    if postgres is not None:
        try:
            states = States(postgres).forget(naming.owner(namespace, name, revision))
        except HistoryDown as error:
            raise CommandFailed(f"the keys are deleted, the checkpoints are not: {error}") from None
        console.print(f"checkpoints of {states} states deleted")
    console.print(f"{freed} keys of {featureset} revision {revision} deleted; none is left")


class _Progress:
    """A line every two seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told = time.monotonic()

    def tell(self, freed: int) -> None:
        """How many keys were deleted so far."""
        if time.monotonic() - self._told >= _TELL_SECONDS:
            self._told = time.monotonic()
            self._console.print(f"{freed} keys deleted so far")
