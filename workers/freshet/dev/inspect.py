"""The commands `freshet features` and `freshet explain`: what serving says of an entity, and why."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from urllib.parse import quote, urlencode

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from freshet.dev.errors import CommandFailed
from freshet.dev.explain import Explanation, explain
from freshet.dev.http import NOT_ANSWERED, Connection
from freshet.engine.layout import LayoutError
from freshet.runtime.settings import ConfigurationError
from freshet.runtime.variables import redis_url
from freshet.spec import naming
from freshet.spec.definition import FeatureSet
from freshet.spec.partitioning import partition_of
from freshet.spec.problems import or_else
from freshet.stores.redis import Failures, StoreDown, connect, describe, execute

_MOST_TILES = 40
"""Tiles that are shown; JSON has all of them."""


def show_features(entity: str, url: str, featureset: str | None, *, as_json: bool, console: Console) -> None:
    """Prints the features of an entity as serving answers them. Raises CommandFailed."""
    query = f"?{urlencode({'featureset': featureset})}" if featureset else ""
    try:
        connection = Connection(url, timeout_seconds=10)
        answer = connection.get(f"/features/{quote(entity, safe='')}{query}")
        connection.close()
    except (*NOT_ANSWERED, ValueError) as error:
        raise CommandFailed(f"serving at {url} does not answer: {error}") from None
    if answer.status != 200:
        raise CommandFailed(f"serving answered {answer.status}: {answer.body[:300].decode(errors='replace')}")
    if as_json:
        console.print_json(answer.body.decode())
        return
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("feature", "value", "as of"):
        table.add_column(name)
    for name, one in answer.json()["features"].items():
        table.add_row(name, escape(json.dumps(one["value"], ensure_ascii=False)), one["computed_at"])
    console.print(table)


def show_explanation(
    entity: str,
    feature: str,
    featuresets: Sequence[FeatureSet],
    redis: str,
    namespace: str,
    *,
    as_json: bool,
    console: Console,
) -> None:
    """Prints why the value is what it is, from the state in the online store. Raises CommandFailed."""
    chosen = [fs for fs in featuresets if any(f.name == feature for f in fs.definition.features)]
    if not chosen:
        known = [f.name for fs in featuresets for f in fs.definition.features]
        raise CommandFailed(f'no FeatureSet has a feature "{feature}"{or_else(feature, known)}')
    for featureset in chosen:
        blob = _state(featureset, entity, redis, featureset.namespace or namespace)
        try:
            found = explain(featureset.definition, entity, feature, blob, time.time_ns() // 1_000_000)
        except LayoutError as error:
            raise CommandFailed(f"{featureset.name}: the stored state is not of this manifest: {error}") from None
        if as_json:
            console.print_json(json.dumps({"featureset": featureset.name, **found.document()}))
        else:
            _print(featureset, found, blob is not None, console)


def _state(featureset: FeatureSet, entity: str, redis: str, namespace: str) -> bytes | None:
    try:
        url = redis_url(redis)
    except ValueError as error:
        raise ConfigurationError(f"FRESHET_REDIS: {error}") from None
    partition = partition_of(entity, featureset.source.partitions, featureset.source.partitioner)
    tag = naming.tag(namespace, featureset.name, featureset.definition.revision, partition)
    try:
        client = connect(url)
        try:
            blob: bytes | None = execute(client, "GET", naming.entity_key(tag, entity))
        finally:
            client.close()
    except Failures as error:
        raise CommandFailed(f"the online store cannot be read: {describe(error)}") from None
    except StoreDown as error:
        raise CommandFailed(str(error)) from None
    return blob


def _print(featureset: FeatureSet, found: Explanation, known: bool, console: Console) -> None:
    definition = featureset.definition
    console.print(f"[bold]{found.feature}[/] of {definition.key} {escape(found.entity)!s} ({featureset.name})")
    console.print(f"value    {escape(json.dumps(found.value, ensure_ascii=False))}")
    console.print(f"formula  {escape(found.formula)}")
    console.print(f"read at  {found.read_at}")
    hop = f" (oldest edge floored to {found.hop})" if found.hop else ""
    console.print(f"events   from {found.since or 'the first one'} until before {found.until}{hop}")
    if not known:
        console.print("state    none: no event of this entity is in the store")
        return
    console.print(f"state    holds the partition's events below offset {found.offset}, newest at {found.newest_event}")
    for note in found.notes:
        console.print(f"         {escape(note)}")
    for name, value in found.inputs.items():
        console.print(f"reads    {name} = {escape(json.dumps(value, ensure_ascii=False))}")
    if found.tiles:
        names = list(found.tiles[0].parts)
        table = Table(box=box.SIMPLE_HEAD)
        for name in ("tile", *names):
            table.add_column(name)
        for tile in found.tiles[-_MOST_TILES:]:
            table.add_row(tile.start or "life", *(", ".join(f"{x:g}" for x in tile.parts[n]) for n in names))
        console.print(table)
        if len(found.tiles) > _MOST_TILES:
            console.print(f"and {len(found.tiles) - _MOST_TILES} older tiles: see --output json")
