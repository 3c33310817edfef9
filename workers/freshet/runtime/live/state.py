"""What a service says of its configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from freshet.runtime.side_server import Answer, SideServer
from freshet.spec.definition import FeatureSet

Source = Literal["watch", "mount", "files"]


@dataclass(frozen=True, slots=True)
class ConfigState:
    """The answer of `GET /config`."""

    hash: str | None
    """Of the configuration that is in use as a whole; None: of none, or not all of it could be taken."""
    featuresets: tuple[str, ...]
    """`namespace/name` of those in use."""
    source: Source
    error: str | None
    """What of the newest configuration is not in use, and why; or why there may be a newer one."""

    def answer(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self)).encode()


def full_name(featureset: FeatureSet, namespace: str) -> str:
    """`namespace/name`; `namespace` is the setting, for a manifest that has none."""
    return f"{featureset.namespace or namespace}/{featureset.name}"


def of_files(featuresets: Sequence[FeatureSet], namespace: str) -> ConfigState:
    """The state of a service whose manifests were read at its start."""
    return ConfigState(None, tuple(full_name(one, namespace) for one in featuresets), "files", None)


def serve(host: str, port: int, state: Callable[[], ConfigState]) -> SideServer:
    """Answers `GET /config`. Raises OSError if the port is taken."""

    def respond(path: str, _accept: str) -> Answer:
        if path == "/config":
            return Answer(200, state().answer())
        return Answer(404, b'{"message": "here is /config"}')

    return SideServer(host, port, "admin", respond)
