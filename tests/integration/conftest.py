"""The stores that tests of `freshet.stores` run on: what holds on one server has to hold on a cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from freshet.dev.servers import EmbeddedValkey
from freshet.stores.redis import Client, connect
from tests.valkey_cluster import valkey_cluster


@pytest.fixture(scope="module", params=["single", "cluster"])
def store_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a store that the tests of a module have to themselves."""
    folder = tmp_path_factory.mktemp("store")
    if request.param == "cluster":
        with valkey_cluster(folder) as cluster:
            yield cluster
    else:
        with EmbeddedValkey(folder) as server:
            yield server.url


@pytest.fixture
def client(store_url: str) -> Iterator[Client]:
    """A client of that store, which is empty."""
    with connect(store_url) as connected:
        connected.flushall()
        yield connected
