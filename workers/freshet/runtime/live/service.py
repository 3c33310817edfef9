"""How a service gets its configuration, and tells of it on the admin port."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol

from freshet.runtime.live import state
from freshet.runtime.live.source import Apply, LiveConfig
from freshet.runtime.live.state import ConfigState
from freshet.runtime.settings import LiveSettings
from freshet.runtime.shutdown import Stop
from freshet.spec.definition import FeatureSet

_FIRST_ANSWER_SECONDS = 10.0
"""A service that listened before it knew its configuration would deny that there are FeatureSets."""


class Server(Protocol):
    """What listens on the admin port."""

    def shutdown(self) -> None:
        """Stops listening."""


@contextmanager
def configured(
    settings: LiveSettings,
    featuresets: Sequence[FeatureSet],
    apply: Apply,
    stop: Stop,
    serve: Callable[[str, int, Callable[[], ConfigState]], Server] = state.serve,
) -> Iterator[Callable[[], bool] | None]:
    """Follows the live configuration until the block ends, with `GET /config` if the settings name a port.

    `serve` answers on that port: host, port and what to tell. Gives what tells whether it was read, usually before the
    block begins; None if the FeatureSets are those of files.
    Raises OSError for a port that is taken.
    """
    live = LiveConfig.of(settings, os.environ, apply) if settings.live else None
    fixed = state.of_files(featuresets, settings.namespace)
    with ExitStack() as stack:
        if settings.admin_port is not None:
            told = live.state if live is not None else lambda: fixed
            stack.callback(serve(settings.metrics_host, settings.admin_port, told).shutdown)
        if live is None:
            yield None
            return
        live.start()
        stack.callback(live.close)
        live.wait(_FIRST_ANSWER_SECONDS, stop)
        yield live.known
