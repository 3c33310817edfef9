"""Settings: defaults, every problem at once, and no secret in what is printed."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import fields
from io import StringIO
from pathlib import Path

import pytest

from freshet.runtime import logs
from freshet.runtime.settings import (
    AdminSettings,
    ConfigurationError,
    IngestSettings,
    KafkaSettings,
    LiveSettings,
    ProcessorSettings,
    RecorderSettings,
    ServiceSettings,
    ServingSettings,
)

BASE = {"FRESHET_KAFKA": "a:9092, b:9093", "FRESHET_MANIFESTS": ".", "FRESHET_REDIS": "redis://user:p@ss@h:6379/0"}


def test_defaults() -> None:
    ingest = IngestSettings.from_environment({**BASE, "FRESHET_PORT": ""})
    assert (ingest.port, ingest.metrics_port, ingest.namespace, ingest.manifests) == (
        8080,
        8082,
        "default",
        (Path("."),),
    )
    assert ingest.kafka.bootstrap == "a:9092,b:9093"
    assert ServingSettings.from_environment(BASE).port == 8083
    assert ProcessorSettings.from_environment(BASE).featureset is None


@pytest.mark.parametrize("service", [IngestSettings, ProcessorSettings, ServingSettings])
def test_every_setting_can_be_given(service: type[ServiceSettings]) -> None:
    variables = [one.metadata["variable"].name for one in fields(service) if "variable" in one.metadata]
    assert len(variables) == len(set(variables))
    given = {**BASE, "FRESHET_GRACE_SECONDS": "1.5", "FRESHET_LOG_LEVEL": "DEBUG"}
    assert (service.from_environment(given).grace_seconds, service.from_environment(given).log_level) == (1.5, "debug")


def test_all_problems_come_at_once() -> None:
    bad = {
        "FRESHET_PORT": "99999",
        "FRESHET_LOG_FORMAT": "xml",
        "FRESHET_REDIS": "http://user:secret@h",
        "FRESHET_KAFKA": "localhost",
        "FRESHET_MANIFESTS": "nowhere",
    }
    with pytest.raises(ConfigurationError) as ingest:
        IngestSettings.from_environment(bad)
    text = str(ingest.value)
    assert text.count("\n") == 3
    for part in ("FRESHET_PORT", "from 0 to 65535", "FRESHET_LOG_FORMAT", "auto, json, text", "host:port", "nowhere"):
        assert part in text
    with pytest.raises(ConfigurationError, match="FRESHET_REDIS") as serving:
        ServingSettings.from_environment(bad)
    assert "secret" not in str(serving.value)
    with pytest.raises(ConfigurationError, match="FRESHET_KAFKA is not set"):
        IngestSettings.from_environment({})


@pytest.mark.parametrize("service", [IngestSettings, ServingSettings])
def test_feature_sets_come_from_files_or_from_a_config_map(service: type[LiveSettings]) -> None:
    base = {name: value for name, value in BASE.items() if name != "FRESHET_MANIFESTS"}
    live = {**base, "FRESHET_CONFIG_MAP": "freshet-system/freshet-featuresets", "FRESHET_CONFIG_DIR": "/not/there"}
    found = service.from_environment({**live, "FRESHET_ADMIN_PORT": "8084", "FRESHET_MANIFESTS": " "})
    assert (found.live, found.config_map, found.admin_port) == (True, ("freshet-system", "freshet-featuresets"), 8084)
    files = service.from_environment(BASE)
    assert (files.live, files.admin_port) == (False, None)
    with pytest.raises(ConfigurationError, match="come from one of them: unset one"):
        service.from_environment({**live, "FRESHET_MANIFESTS": "."})
    with pytest.raises(ConfigurationError, match="on a cluster FRESHET_CONFIG_MAP and FRESHET_CONFIG_DIR"):
        service.from_environment(base)
    for bad in ("name", "a/b/c", "A/b", "a/", "a/../b"):
        with pytest.raises(ConfigurationError, match="form namespace/name"):
            service.from_environment({**live, "FRESHET_CONFIG_MAP": bad})


def test_a_processor_reads_files_only() -> None:
    with pytest.raises(ConfigurationError, match="FRESHET_MANIFESTS is not set"):
        ProcessorSettings.from_environment({**BASE, "FRESHET_MANIFESTS": "", "FRESHET_CONFIG_MAP": "a/b"})


@pytest.mark.parametrize(("given", "manages"), [("false", False), ("TRUE", True), ("", True)])
def test_who_makes_topics(given: str, manages: bool) -> None:
    assert IngestSettings.from_environment({**BASE, "FRESHET_MANAGE_TOPICS": given}).manage_topics is manages
    with pytest.raises(ConfigurationError, match="not one of true, false"):
        IngestSettings.from_environment({**BASE, "FRESHET_MANAGE_TOPICS": "no"})


def test_secrets_are_masked() -> None:
    shown = json.dumps(ProcessorSettings.from_environment(BASE).describe())
    assert "p@ss" not in shown
    assert "redis://***@h:6379/0" in shown


def test_a_cluster_may_be_named_by_several_of_its_nodes() -> None:
    url = "redis+cluster://user:p@ss@a:7000,b:7001"
    assert ProcessorSettings.from_environment({**BASE, "FRESHET_REDIS": url}).redis == url
    for bad in ("redis+cluster://a:7000,b:x", "redis+cluster://a:7000,:7001", "redis://a:7000,b:7001"):
        with pytest.raises(ConfigurationError, match="FRESHET_REDIS"):
            ProcessorSettings.from_environment({**BASE, "FRESHET_REDIS": bad})


def test_kafka_properties_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "kafka.properties"
    file.write_text("# comment\nsecurity.protocol = SASL_SSL\nsasl.password=a=b\n\n")
    settings = KafkaSettings.from_environment({"FRESHET_KAFKA": "a:1", "FRESHET_KAFKA_CONFIG": str(file)})
    assert settings.properties() == {"security.protocol": "SASL_SSL", "sasl.password": "a=b"}


@pytest.mark.parametrize("line", ["enable.auto.commit=true", "acks=1", "no separator", "=x"])
def test_what_correctness_rests_on_cannot_be_changed(tmp_path: Path, line: str) -> None:
    file = tmp_path / "kafka.properties"
    file.write_text("client.rack=a\n" + line)
    with pytest.raises(ConfigurationError, match=r"kafka\.properties:2"):
        KafkaSettings(bootstrap="a:1", config_file=file).properties()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        KafkaSettings(bootstrap="a:1", config_file=tmp_path / "missing").properties()


@pytest.fixture
def plain_logging() -> Iterator[None]:
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    yield
    logging.captureWarnings(False)
    root.handlers[:], level = before
    root.setLevel(level)


@pytest.mark.usefixtures("plain_logging")
def test_log_lines_are_json_with_extra_fields_and_without_logins() -> None:
    out = StringIO()
    logs.configure("ingest", "json", "info", out)
    logs.configure("ingest", "json", "info", out)
    log = logging.getLogger("freshet.test")
    log.info("connected to %s", "redis://u:secret@h", extra={"featureset": "a", "api_token": "secret", "count": 3})
    log.debug("unseen")
    (line,) = out.getvalue().splitlines()
    found = json.loads(line)
    assert "secret" not in line
    assert (found["service"], found["level"], found["featureset"], found["count"]) == ("ingest", "info", "a", 3)
    assert found["message"] == "connected to redis://***@h"
    assert found["time"].endswith("Z")


@pytest.mark.usefixtures("plain_logging")
def test_text_lines_carry_their_traceback() -> None:
    out = StringIO()
    logs.configure("ingest", "text", "info", out)
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("freshet.test").exception("failed", extra={"n": 1})
    assert "failed  n=1" in out.getvalue()
    assert "ValueError: broken" in out.getvalue()


RECORDER = {**BASE, "FRESHET_POSTGRES": "postgresql://h/d"}


@pytest.mark.parametrize("token", ["short", "fifteen letters", "sixteen-lettérs!", "sixteen\tletters!"])
def test_a_token_that_can_be_guessed_is_refused_and_not_repeated(token: str) -> None:
    given = {**RECORDER, "FRESHET_ADMIN_TOKEN": token, "FRESHET_ADMIN_PORT": "8084"}
    with pytest.raises(ConfigurationError, match="FRESHET_ADMIN_TOKEN: it must be at least 16") as caught:
        RecorderSettings.from_environment(given)
    assert token not in str(caught.value)


def test_a_token_needs_a_port_and_is_never_shown() -> None:
    token = "a-token-of-24-characters"
    with pytest.raises(ConfigurationError, match="FRESHET_ADMIN_PORT is not"):
        RecorderSettings.from_environment({**RECORDER, "FRESHET_ADMIN_TOKEN": token})
    settings = RecorderSettings.from_environment(
        {**RECORDER, "FRESHET_ADMIN_TOKEN": token, "FRESHET_ADMIN_PORT": "8084"}
    )
    assert settings.admin_token == token
    assert token not in str(settings.describe())


def test_commands_read_files_or_the_mounted_configuration() -> None:
    kafka = {"FRESHET_KAFKA": "a:9092"}
    assert AdminSettings.from_environment({**kafka, "FRESHET_MANIFESTS": "."}).postgres is None
    assert AdminSettings.from_environment({**kafka, "FRESHET_CONFIG_DIR": "/x"}).config_dir == Path("/x")
    for given in ({}, {"FRESHET_MANIFESTS": ".", "FRESHET_CONFIG_DIR": "/x"}):
        with pytest.raises(ConfigurationError, match="FRESHET_MANIFESTS or FRESHET_CONFIG_DIR must be set, not both"):
            AdminSettings.from_environment({**kafka, **given})
