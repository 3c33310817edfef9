"""`freshet smoke` against a whole real installation: green as it stands, and red with each fault, for its reason."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from freshet.dev.service import Service
from freshet.dev.stack import Ports, Stack
from freshet.smoke.options import Options
from freshet.smoke.report import Report, Status
from freshet.smoke.run import run
from tests.integration.local import EXAMPLE, eventually, freshet

pytestmark = pytest.mark.server

ORDERS = """
apiVersion: freshet.dev/v1alpha1
kind: FeatureSet
metadata: {name: orders}
spec:
  version: v3
  entity: {name: shop, key: shop}
  source:
    topic: orders
    partitions: 2
    replication: 1
    timestamp: at
    deduplicate: 0s
    fields:
      kind: {type: string, required: true}
      pieces: {type: integer, required: true, minimum: 50, path: cart.pieces}
      paid: {type: boolean, required: true}
  features:
    - {name: n, aggregate: count, windows: [1m, lifetime]}
    - {name: sold, aggregate: sum, of: pieces, where: "kind = 'sale' and paid", windows: [1h]}
"""


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("manifests") / "orders.yaml"
    path.write_text(ORDERS)
    return path


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, orders: Path) -> Iterator[Stack]:
    with Stack([EXAMPLE, orders], tmp_path_factory.mktemp("smoke"), Ports(0, 0, 0, 0, 0)) as found:
        yield found


@pytest.fixture
def options(stack: Stack) -> Options:
    """Everything that can be given."""
    return Options(
        ingest=stack.ingest_url,
        serving=stack.serving_url,
        metrics=(stack.hub.url,),
        kafka=stack.kafka.bootstrap,
        redis=stack.valkey.url,
        postgres=history(stack),
        featureset="user-activity",
        manifests=(EXAMPLE,),
        timeout_seconds=40,
        read_limit_ms=5000,
    )


def statuses(report: Report) -> dict[int, Status]:
    return {category.number: category.status for category in report.categories}


def failures(report: Report) -> dict[tuple[int, str], str]:
    """(category, check) → sentence and advice of what failed."""
    checks = [(category.number, check) for category in report.categories for check in category.checks]
    return {(n, c.name): f"{c.sentence} → {c.advice}" for n, c in checks if c.status is Status.FAILED}


def sentence(report: Report, number: int, name: str) -> str:
    (found,) = [check.sentence for check in report.categories[number - 1].checks if check.name == name]
    return found


def history(stack: Stack) -> str:
    assert stack.postgres is not None
    return stack.postgres.url


def service(stack: Stack, name: str) -> Service:
    (found,) = [one for one in stack.services if one.name == name]
    return found


def restart(stack: Stack, name: str) -> None:
    again = service(stack, name)
    again.start()
    eventually(lambda: again.ready()[0], f"{name} is back", 60)
    if name.startswith("processor"):
        eventually(lambda: bool(again.ready()[1].get("partitions")), "it has its partitions", 60)


def test_everything_is_green_with_all_addresses_and_the_manifest(options: Options, stack: Stack) -> None:
    eventually(lambda: not service(stack, "serving").ready()[1]["incomplete_partitions"], "partitions complete", 60)
    report = run(options)
    assert failures(report) == {}
    absent = {number for number, status in statuses(report).items() if status is Status.ABSENT}
    assert absent == {6, 7}
    assert report.counts()["skipped"] == 0
    assert "37 values are what 8 events make them" in sentence(report, 5, "served values")
    assert "counted once" in sentence(report, 5, "duplicates")
    assert sentence(report, 8, "events").startswith("9 of 9 records that were sent are recorded, 8 of them as accepted")
    assert sentence(report, 8, "feature vectors").endswith("recorded")
    with redis.Redis.from_url(stack.valkey.url) as store:
        mine = [key for key in store.scan_iter(count=1000) if report.run.encode() in key]
    assert len(mine) == 2, "one entity for the values, one for the batch"


def test_without_a_manifest_it_learns_from_ingest_what_an_event_is(options: Options) -> None:
    for name, duplicates in (("user-activity", Status.PASSED), ("orders", Status.SKIPPED)):
        bare = replace(options, manifests=(), featureset=name, kafka=None, redis=None, postgres=None)
        report = run(bare)
        assert failures(report) == {}, name
        assert report.featureset == name
        seen = {check.name: check.status for check in report.categories[4].checks}
        assert seen["duplicates"] is duplicates
        # Without a duplicate filter the counts go beyond what was sent; only the manifest can say that this is right.
        assert seen["served values"] is (Status.PASSED if name == "user-activity" else Status.SKIPPED)


def test_another_kind_of_featureset_with_its_manifest(options: Options, orders: Path) -> None:
    report = run(replace(options, manifests=(orders,), featureset=None))
    assert failures(report) == {}
    assert report.featureset == "orders", "the manifest chooses"
    assert "3 values are what 8 events make them" in sentence(report, 5, "served values")
    assert "twice, as deduplicate: 0s says" in sentence(report, 5, "duplicates")


def test_another_manifest_than_the_served_one_is_told(options: Options, tmp_path: Path) -> None:
    changed = tmp_path / "changed.yaml"
    changed.write_text(
        EXAMPLE.read_text().replace(
            "name: cart_count, aggregate: count, where: \"event_type = 'add_to",
            "name: cart_count, aggregate: count, where: \"event_type = 'put_to",
        )
    )
    report = run(replace(options, manifests=(changed,)))
    assert list(failures(report)) == [(2, "manifest")]
    assert "revision" in failures(report)[2, "manifest"]


def test_serving_down(options: Options, stack: Stack) -> None:
    service(stack, "serving").stop(10)
    try:
        report = run(options)
    finally:
        restart(stack, "serving")
    found = failures(report)
    assert "nothing listens there" in found[1, "serving"]
    assert "--serving" in found[1, "serving"]
    assert "not running: serving" in found[1, "metrics port"]
    assert statuses(report)[5] is Status.SKIPPED
    assert statuses(report)[10] is Status.PASSED, "what does not need serving is still looked at"
    assert report.seconds < 20


def test_recorder_stopped(options: Options, stack: Stack) -> None:
    service(stack, "recorder").stop(10)
    try:
        found = failures(run(options))
    finally:
        restart(stack, "recorder")
    assert "0 of 9 records" in found[8, "events"]
    assert "recorder" in found[8, "events"]
    assert "none is recorded" in found[8, "feature vectors"]
    assert "not running: recorder" in found[1, "metrics port"]
    assert set(found) == {(1, "metrics port"), (8, "events"), (8, "feature vectors")}


def test_a_database_that_is_not_there_or_not_the_recorders(options: Options, stack: Stack) -> None:
    url = history(stack)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE another")
    try:
        empty = failures(run(replace(options, postgres=url.rpartition("/")[0] + "/another")))
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP DATABASE another")
    assert list(empty) == [(8, "the rest")]
    assert "no recorder has used it" in empty[8, "the rest"]
    away = failures(run(replace(options, postgres="postgresql://me:geheim@127.0.0.1:1/freshet")))
    assert list(away) == [(8, "server")]
    assert "geheim" not in away[8, "server"]
    wrong = failures(run(replace(options, postgres="mysql://x/y")))
    assert "--postgres" in wrong[8, "server"]


def test_processor_stopped(options: Options, stack: Stack) -> None:
    service(stack, "processor-user-activity").stop(10)
    try:
        report = run(replace(options, timeout_seconds=12))
        without_metrics = run(replace(options, metrics=(stack.ingest_url,), timeout_seconds=12))
    finally:
        restart(stack, "processor-user-activity")
    assert "not running: processor-user-activity" in failures(report)[1, "metrics port"]
    # The events are recorded all the same: the recorder does not wait for processors.
    assert (8, "events") not in failures(report)
    for one in (report, without_metrics):
        assert "none of the 8 events is in the values" in failures(one)[5, "served values"]
        assert "processor" in failures(one)[5, "served values"]
    assert list(failures(without_metrics)) == [(5, "served values")]
    assert report.seconds < 15
    eventually(lambda: failures(run(options)) == {}, "green again", 60)


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ("ingest", {(3, "POST /ingest without events"), (4, "all")}),
        ("serving", {(2, "all"), (3, "GET /features/{entity}")}),
    ],
)
def test_a_url_of_another_service_is_recognised(
    options: Options, stack: Stack, change: str, failed: set[tuple[int, str]]
) -> None:
    wrong = (
        replace(options, ingest=stack.serving_url) if change == "ingest" else replace(options, serving=stack.ingest_url)
    )
    found = failures(run(wrong))
    assert any(key in found for key in failed), found
    assert all(f"--{change}" in told for told in found.values()), found


def test_stores_that_are_not_there_or_not_right(options: Options, stack: Stack) -> None:
    with redis.Redis.from_url(stack.valkey.url) as store:
        store.config_set("maxmemory-policy", "allkeys-lru")
        try:
            found = failures(run(replace(options, kafka="127.0.0.1:1")))
        finally:
            store.config_set("maxmemory-policy", "noeviction")
    assert set(found) == {(9, "noeviction"), (10, "directly")}
    assert "allkeys-lru" in found[9, "noeviction"]
    assert "--kafka" in found[10, "directly"]
    found = failures(run(replace(options, dead_letter_topic="nowhere", redis="redis://127.0.0.1:1")))
    assert set(found) == {(9, "directly"), (10, "dead letters")}


def test_a_limit_that_is_missed_fails(options: Options) -> None:
    found = failures(run(replace(options, read_limit_ms=0.001, ingest_limit=1e9)))
    assert set(found) == {(11, "reads"), (11, "ingest")}
    assert "p99" in found[11, "reads"]


def test_the_command_ends_with_0_or_1(options: Options, stack: Stack) -> None:
    common = ["--serving", options.serving, "--metrics", options.metrics[0], "--read-limit-ms", "5000"]
    good = freshet("smoke", "--ingest", options.ingest, *common, "--output", "json")
    assert good.returncode == 0, good.stdout + good.stderr
    document: dict[str, Any] = json.loads(good.stdout)
    assert document["passed"] is True
    assert document["counts"]["absent"] >= 2
    begin = time.monotonic()
    bad = freshet("smoke", "--ingest", "http://127.0.0.1:1", *common)
    assert bad.returncode == 1
    assert time.monotonic() - begin < 20
    assert "FAILED" in bad.stdout
    assert "--ingest" in bad.stdout
