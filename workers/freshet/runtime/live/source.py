"""Follows the configuration: the watch decides while it works, the mounted file while it does not.

The file lags behind the ConfigMap by up to a minute or two. So once a watch has worked, only a file that has changed
since the watch was lost is believed: losing the API for a moment never brings an older configuration back.
"""

from __future__ import annotations

import hashlib
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path

from freshet.runtime.live.entries import Entries
from freshet.runtime.live.kubernetes import ApiError, ApiServer, ConfigMapApi, Gone
from freshet.runtime.live.payload import KEY, MAX_PACKED_BYTES, Unreadable, unpack
from freshet.runtime.live.state import ConfigState, Source, full_name
from freshet.runtime.settings import LiveSettings
from freshet.spec.definition import FeatureSet

Apply = Callable[[Sequence[FeatureSet]], Mapping[str, str]]
"""Makes these FeatureSets the ones in use; name → why one of them could not be. Called by one thread, in order."""

_MOUNT_SECONDS = 2.0
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 10.0
_STEADY_SECONDS = 10.0
"""A watch that went on so long was a good one: what fails after it is tried again at once."""

_GONE = "the ConfigMap is gone or empty: the last configuration stays in use"

_log = logging.getLogger(__name__)


class LiveConfig:
    """The configuration of one service, followed by one daemon thread."""

    def __init__(
        self, apply: Apply, namespace: str, folder: Path | None, api: ConfigMapApi | None, problem: str | None = None
    ) -> None:
        """`namespace` is of manifests that have none; without `api`, for a `problem`, only the folder is looked at."""
        self._apply = apply
        self._namespace = namespace
        self._file = None if folder is None else folder / KEY
        self._api = api
        self._entries = Entries(namespace)
        self._digest = b""
        """Of the content that was offered last; empty: of none."""
        self._again = False
        """Whether that is to be tried again when it is offered again: it met a mistake of ours."""
        self._used = False
        """Whether there was a configuration that could be used."""
        self._believed: bytes | None = None
        """Of the file that needs no look any more; empty: of no file."""
        self._state = ConfigState(None, (), "mount" if api is None else "watch", None)
        self._content_error: str | None = None
        self._source_error = problem
        self._read = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="config", daemon=True)

    @classmethod
    def of(cls, settings: LiveSettings, environment: Mapping[str, str], apply: Apply) -> LiveConfig:
        """What the settings ask for."""
        server = ApiServer.of_pod(environment)
        api, problem = None, None
        if settings.config_map is not None:
            if server is not None:
                api = ConfigMapApi(server, *settings.config_map)
            else:
                problem = "there is no Kubernetes API here: KUBERNETES_SERVICE_HOST is not set"
        return cls(apply, settings.namespace, settings.config_dir, api, problem)

    def start(self) -> None:
        """Begins to follow."""
        self._thread.start()

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Until a first answer, the end of the time, or `stop`."""
        end = time.monotonic() + seconds
        while not self._read.wait(0.05) and time.monotonic() < end and not stop.is_set():
            pass

    def known(self) -> bool:
        """Whether it was answered at least once what the configuration is, and be it that there is none yet."""
        return self._read.is_set()

    def state(self) -> ConfigState:
        """What is in use; callable from any thread."""
        errors = "; ".join(error for error in (self._content_error, self._source_error) if error)
        state = self._state
        return ConfigState(state.hash, state.featuresets, state.source, errors or None)

    def close(self) -> None:
        """Ends following."""
        self._stop.set()
        if self._api is not None:
            self._api.close()
        if self._thread.is_alive():
            self._thread.join(1)  # a connection that is being opened ends with the process

    def _run(self) -> None:
        if self._api is None:
            while not self._stop.is_set():
                self._look_at_file()
                self._stop.wait(_MOUNT_SECONDS)
            return
        failures = 0
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._follow(self._api)
            except Gone:
                _log.info("the configuration is listed again: its version is gone")
            except (ApiError, OSError, HTTPException) as error:
                self._lost(error)
            failures = 0 if time.monotonic() - began > _STEADY_SECONDS else failures + 1
            self._pause(min(_FIRST_WAIT * 2**failures, _LONGEST_WAIT))

    def _follow(self, api: ConfigMapApi) -> None:
        """Lists, then watches until something fails, or what was found has to be tried again."""
        seen = api.look()
        if self._source_error is not None:
            _log.info("the Kubernetes API can be asked")
        self._source_error = None
        self._offer(seen.content, "watch")
        version = seen.version
        while not self._stop.is_set() and not self._again:
            began, events = time.monotonic(), 0
            for event in api.watch(version):
                version = event.version
                events += 1
                if event.changed:
                    self._offer(event.content, "watch")
            if not events and time.monotonic() - began < 1:
                raise ApiError("the watch ended as soon as it began")

    def _lost(self, error: Exception) -> None:
        """The watch does not work: from now on the file may decide."""
        if self._stop.is_set():
            return
        sentence = f"the Kubernetes API cannot be asked: {type(error).__name__}: {error}"
        if self._source_error is None:
            _log.warning("the configuration is not watched", extra={"error": sentence})
            if self._read.is_set():
                self._believed = _digest(self._content_of_file())
        self._source_error = sentence

    def _pause(self, seconds: float) -> None:
        """Waits before the API is asked again; looks at the file meanwhile if the API could not be."""
        end = time.monotonic() + seconds * random.uniform(0.7, 1.3)  # noqa: S311  # spreads load; no secret
        while not self._stop.is_set():
            if self._source_error is not None:
                self._look_at_file()
            left = end - time.monotonic()
            if left <= 0:
                return
            self._stop.wait(min(left, _MOUNT_SECONDS))

    def _look_at_file(self) -> None:
        if self._file is None:
            return
        content = self._content_of_file()
        digest = _digest(content)
        if digest != self._believed:
            self._believed = digest
            self._offer(content, "mount")

    def _content_of_file(self) -> bytes | None:
        """None: there is no file, which is how a missing ConfigMap is mounted."""
        if self._file is None:
            return None
        try:
            with self._file.open("rb") as stream:
                return stream.read(MAX_PACKED_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("the mounted configuration cannot be read", extra={"error": str(error)})
            return None

    def _offer(self, content: bytes | None, source: Source) -> None:
        """Uses a configuration if it is another one than before; what cannot be used is said and changes nothing."""
        digest = _digest(content)
        if content is None:
            self._content_error = _GONE if self._used else None
        elif digest != self._digest or self._again:
            self._again = False
            try:
                self._use(content, source)
            except Unreadable as error:
                self._content_error = f"the newest configuration is not used: {error}"
            except Exception:
                _log.exception("a configuration could not be used")
                self._content_error = "the newest configuration is not used: it met an unexpected condition (see logs)"
                self._again = True
            if self._content_error:
                _log.warning("configuration", extra={"error": self._content_error})
        self._digest = digest
        self._state = replace(self._state, source=source)
        self._read.set()

    def _use(self, content: bytes, source: Source) -> None:
        payload = unpack(content)
        featuresets, wrong = self._entries.take(payload.manifests)
        refused = self._apply(featuresets)
        wrong += [f"{name}: {why}" for name, why in refused.items()]
        used = [full_name(one, self._namespace) for one in featuresets if one.name not in refused]
        self._used = True
        self._state = ConfigState(None if wrong else payload.hash, tuple(used), source, None)
        self._content_error = f"not used as written: {'; '.join(wrong)}"[:4000] if wrong else None
        _log.info("configuration in use", extra={"hash": payload.hash, "featuresets": len(used), "from": source})


def _digest(content: bytes | None) -> bytes:
    return b"" if content is None else hashlib.sha256(content).digest()
