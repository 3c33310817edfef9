"""A real serving process over a real store, which tests fill as the processor does: decode, apply, encode, fence."""

from __future__ import annotations

import json
import multiprocessing
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from freshet.engine.decode import EventDecoder
from freshet.engine.layout import Layout
from freshet.engine.state import PartitionState, Write
from freshet.runtime.settings import ServingSettings
from freshet.serving.service import run
from freshet.spec.definition import FeatureSet
from freshet.spec.load import load_featuresets
from freshet.spec.naming import tag
from freshet.spec.partitioning import partition_of
from freshet.stores.fence import PartitionFence
from freshet.stores.redis import Client, connect

_START_SECONDS = 30


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Serving:
    """A process that serves some manifests."""

    def __init__(
        self,
        redis: str,
        folder: Path,
        namespace: str,
        *manifests: str,
        cache_age_ms: int = 0,
        postgres: str | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for index, text in enumerate(manifests):
            (folder / f"featureset-{index}.yaml").write_text(text)
        self.settings = ServingSettings(
            manifests=(folder,),
            namespace=namespace,
            redis=redis,
            postgres=postgres,
            host="127.0.0.1",
            port=free_port(),
            metrics_host="127.0.0.1",
            metrics_port=free_port(),
            cache_age_ms=cache_age_ms,
        )
        self.process = multiprocessing.get_context("spawn").Process(target=run, args=(self.settings,))
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.settings.port}", timeout=20)

    def start(self) -> None:
        self.process.start()
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                assert self.client.get("/health").status_code == 200
                return
            except httpx.TransportError:
                assert self.process.is_alive(), "the serving process ended at its start"
                assert time.monotonic() < deadline, "the serving process does not listen"
                time.sleep(0.05)

    def stop(self) -> None:
        self.client.close()
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.process.close()

    def get(self, path: str) -> tuple[int, Any]:
        answer = self.client.get(path)
        return answer.status_code, answer.json()

    def post(self, path: str, body: object) -> tuple[int, Any]:
        answer = self.client.post(path, content=json.dumps(body))
        return answer.status_code, answer.json()


@contextmanager
def serving(
    redis: str, folder: Path, namespace: str, *manifests: str, cache_age_ms: int = 0, postgres: str | None = None
) -> Iterator[Serving]:
    """A running `Serving`, killed at the end."""
    server = Serving(redis, folder, namespace, *manifests, cache_age_ms=cache_age_ms, postgres=postgres)
    try:
        server.start()
        yield server
    finally:
        server.stop()


class Owner:
    """Writes the states of all partitions of a FeatureSet through the fence."""

    def __init__(self, client: Client, featureset: FeatureSet, namespace: str) -> None:
        self._featureset = featureset
        definition, count = featureset.definition, featureset.source.partitions
        self.tags = [tag(namespace, featureset.name, definition.revision, p) for p in range(count)]
        self._fences = [PartitionFence(client, one) for one in self.tags]

    def take_over(self, complete: Sequence[int] | None = None) -> None:
        """Every partition gets progress; those in `complete` (None: all) say that they are."""
        for partition, fence in enumerate(self._fences):
            fence.take_over(0, "topic-id")
            if complete is None or partition in complete:
                fence.send(fence.prepare([], complete=True))

    def partition(self, key: str) -> int:
        return partition_of(key, len(self.tags), self._featureset.source.partitioner)

    def write(self, events: Sequence[dict[str, object]], now_ms: int) -> None:
        """The states that these events make, from nothing."""
        definition = self._featureset.definition
        for partition, fence in enumerate(self._fences):
            mine = [e for e in events if self.partition(str(e[definition.key])) == partition]
            if not mine:
                continue
            values = [json.dumps(event).encode() for event in mine]
            offsets = np.arange(len(mine), dtype=np.int64)
            batch, rejected = EventDecoder(definition).decode(values, offsets, np.full(len(mine), now_ms, np.int64))
            assert not rejected
            state = PartitionState(definition, Layout(definition))
            keys = list(dict.fromkeys(batch.keys))
            state.load(keys, [None] * len(keys))
            state.apply(batch, np.ones(len(batch), np.bool_))
            writes = [Write(w.key, w.blob, True, w.length, None) for w in state.encode(state.slots(keys))]
            fence.send(fence.prepare(writes, move_to=len(mine)))


def owners(server: Serving) -> tuple[list[Owner], Client]:
    """One owner a FeatureSet of a server, and the client that they write with."""
    client = connect(server.settings.redis)
    found = load_featuresets(server.settings.manifests)
    return [Owner(client, featureset, server.settings.namespace) for featureset in found], client
