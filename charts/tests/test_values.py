"""values.schema.json refuses what would not work; values.yaml, schema and table are one."""

from __future__ import annotations

import json
from typing import Any

import pytest
import values_table
import yaml
from charting import CHART, HELM, helm3, run, values_of

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
GOOD = values_of("minimal")


def refused(values: dict[str, Any]) -> str:
    done = run(str(HELM), "template", "x", str(CHART), "-f", "-", given=json.dumps(values))
    assert done.returncode != 0, "these values were taken"
    return done.stderr


def blocks(schema: dict[str, Any], path: str = "") -> Any:
    """Every object of our own in the schema, with its path."""
    if "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
    if "properties" in schema:
        yield path, schema
        for name, value in schema["properties"].items():
            yield from blocks(value, f"{path}.{name}".lstrip("."))


def test_every_block_is_closed() -> None:
    found = dict(blocks(SCHEMA))
    assert len(found) > 40
    for path, block in found.items():
        assert block.get("additionalProperties") is False, path or "the root"
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"


def test_schema_and_values_have_the_same_names() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for path, block in blocks(SCHEMA):
        here: Any = values
        for part in filter(None, path.split(".")):
            here = here[part]
        optional = {"global"} if not path else {"claims", "requests", "limits"} if path.endswith("resources") else set()
        assert set(block["properties"]) - optional <= set(here), f"{path or 'root'}: not in values.yaml"
        assert set(here) <= set(block["properties"]), f"{path or 'root'}: not in the schema"


def test_table_is_current() -> None:
    assert values_table.README.read_text() == values_table.updated(), "python charts/tests/values_table.py"


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("operatr", {}, "operatr"),
        ("operator.replica", 3, "replica"),
        ("ingest.autoscaling.enable", True, "enable"),
        ("image.tags", "x", "tags"),
        ("dev.kafka.imge", "x", "imge"),
        ("redis.url", "redis://:secret@redis:6379/0", "redis.url"),
        ("redis.url", "redis://user:secret@redis:6379/0", "redis.url"),
        ("redis.url", "rediss://redis:6379/0?password=secret", "redis.url"),
        ("redis.url", "http://redis:6379", "redis.url"),
        ("redis.password", "secret", "password"),
        ("kafka.bootstrap", "user:secret@kafka:9092", "kafka.bootstrap"),
        ("kafka.bootstrap", "kafka", "kafka.bootstrap"),
        ("image.digest", "sha256:123", "digest"),
        ("image.pullPolicy", "Sometimes", "pullPolicy"),
        ("logs.level", "loud", "level"),
        ("ingest.replicas", "two", "replicas"),
        ("ingest.extraEnv", [{"name": "A", "vlue": "1"}], "vlue"),
        ("ingest.extraEnv", [{"name": "A", "value": "1", "valueFrom": {}}], "extraEnv"),
        ("ingest.extraEnv", {"A": "1"}, "extraEnv"),
        ("networkPolicy.egressCidrs", ["10.0.0.0"], "egressCidrs"),
        ("ingress.alb.scheme", "public", "scheme"),
        ("dev.kafka.enabled", True, "kafka.bootstrap"),
        ("dev.valkey.enabled", True, "redis.url"),
        ("redis.existingSecret", "redis", "redis.url"),
        ("httpRoute.enabled", True, "parentRefs"),
        ("dev.kafka.user", 0, "user"),
        ("processor.secretHasKafkaConfig", True, "processor.existingSecret"),
        ("kafka.existingSecret", "kafka", "processor.secretHasKafkaConfig"),
    ],
)
def test_what_would_not_work_is_refused(path: str, value: object, told: str) -> None:
    values = json.loads(json.dumps(GOOD))
    *groups, last = path.split(".")
    here = values
    for group in groups:
        here = here.setdefault(group, {})
    here[last] = value
    message = refused(values)
    assert told in message, message
    assert "secret@" not in message, "the password is in the message"


def test_a_store_and_a_broker_are_needed() -> None:
    assert "kafka.bootstrap is empty" in refused({"redis": GOOD["redis"]})
    assert "redis.url and redis.existingSecret are empty" in refused({"kafka": GOOD["kafka"]})
    assert "recorder.enabled is true, but there is no database" in refused(GOOD | {"recorder": {"enabled": True}})
    assert "processor.secretHasPostgres is true" in refused(GOOD | {"processor": {"secretHasPostgres": True}})
    secret = {"url": "postgresql://user:secret@db:5432/freshet"}
    assert "postgres" in refused(GOOD | {"postgres": secret})
    assert "processor.existingSecret is empty" in refused({"kafka": GOOD["kafka"], "redis": {"existingSecret": "r"}})


def test_a_parent_chart_may_give_global_values() -> None:
    assert helm3(GOOD | {"global": {"anything": 1}})
