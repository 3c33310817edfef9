"""Feast's own Python feature server on Redis with one feature view: run in the rivals' environment.

`python feast_serve.py FOLDER HOST:PORT USERS FEATURES HTTP_PORT` fills the store and serves until it is ended.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64, String
from feast.value_type import ValueType


def main(folder: Path, redis: str, users: int, features: int, port: int) -> None:
    """Applies the view, writes a row of each user and serves."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"f{i:02d}" for i in range(features)]
    rows = pd.DataFrame({"user_id": [f"user_{i:06d}" for i in range(users)]})
    rows = rows.assign(**{name: float(i) for i, name in enumerate(names)})
    rows["event_timestamp"] = rows["created"] = pd.Timestamp.now(tz="UTC")
    source = folder / "rows.parquet"
    rows.to_parquet(source)
    config = RepoConfig(
        project="rival",
        provider="local",
        registry=str(folder / "registry.db"),
        online_store={"type": "redis", "connection_string": redis},
        offline_store={"type": "file"},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    store = FeatureStore(config=config, repo_path=None)
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    view = FeatureView(
        name="v",
        entities=[user],
        ttl=timedelta(days=7),
        schema=[Field(name="user_id", dtype=String), *(Field(name=name, dtype=Float64) for name in names)],
        source=FileSource(path=str(source), timestamp_field="event_timestamp", created_timestamp_column="created"),
    )
    store.apply([user, view])
    store.write_to_online_store("v", rows)
    store.serve(host="127.0.0.1", port=port, type_="http", no_access_log=True, workers=1, max_requests=0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
