"""The processor through crashes, pauses, hand-overs and a store that forgets: exact values after each (design §6)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from freshet.dev.servers import EmbeddedKafka, EmbeddedValkey
from tests.integration.system import Load, System

pytestmark = pytest.mark.server


@pytest.fixture
def system(
    tmp_path: Path, kafka: EmbeddedKafka, valkey: EmbeddedValkey, namespace: str, unique: Callable[[str], str]
) -> Iterator[System]:
    """A FeatureSet on the shared servers."""
    running = System(tmp_path, (kafka, valkey), namespace, unique)
    yield running
    running.close()


@pytest.fixture
def forgetful(
    tmp_path: Path, kafka: EmbeddedKafka, namespace: str, unique: Callable[[str], str]
) -> Iterator[tuple[System, EmbeddedValkey]]:
    """A FeatureSet on a Valkey of its own that keeps only what SAVE has written."""
    valkey = EmbeddedValkey(tmp_path / "own").start()
    running = System(tmp_path, (kafka, valkey), namespace, unique)
    yield running, valkey
    running.close()
    valkey.kill()


def finish(system: System, load: Load) -> None:
    """Stops the load, waits, and compares everything."""
    load.stop()
    system.wait_processed()
    system.assert_exact(system.logs())


def start(system: System, rate: float = 2000, seed: int = 1) -> Load:
    load = Load(system, rate, seed)
    load.start()
    return load


def test_killed_between_the_scripts_of_a_flush(system: System) -> None:
    load, rng = start(system), random.Random(7)
    for _ in range(6):
        dying = system.processor(dies_before_script=rng.randrange(1, 40))
        assert dying.wait(timeout=60) == -signal.SIGKILL
    system.processor()
    finish(system, load)


def test_what_an_error_of_ours_left_half_done_is_not_stored(system: System) -> None:
    load = start(system)
    for n in (60, 90, 120):
        failing = system.start("tests.integration.failing_processor", str(n), FRESHET_COALESCE_MS="500")
        assert failing.wait(timeout=60) == 1
        assert "half of a batch is applied" in system.log().read_text()
    system.processor()
    finish(system, load)


def test_stopped_past_the_session_timeout_and_continued(system: System) -> None:
    load = start(system)
    zombie = system.processor()
    _until(lambda: all(p is not None and p.offset for p in system.progress()))
    os.kill(zombie.pid, signal.SIGSTOP)
    tokens = [p and p.token for p in system.progress()]
    system.processor()
    _until(lambda: all(p and p.token not in tokens for p in system.progress()), seconds=40)
    os.kill(zombie.pid, signal.SIGCONT)
    time.sleep(2)
    finish(system, load)


def test_a_second_processor_joins_and_leaves_under_load(system: System) -> None:
    load = start(system)
    system.processor()
    _until(lambda: all(p is not None and p.offset for p in system.progress()))
    for _ in range(2):
        second = _join(system)
        _stop(second)
    finish(system, load)


def test_a_store_that_forgot_its_last_second(forgetful: tuple[System, EmbeddedValkey]) -> None:
    system, valkey = forgetful
    load = start(system)
    system.processor()
    for _ in range(2):
        _until(lambda: all(p is not None and p.offset for p in system.progress()))
        with redis.Redis.from_url(valkey.url) as store:
            store.save()
        time.sleep(1)
        valkey.kill()
        valkey.start()
    finish(system, load)


def test_a_store_that_forgot_everything(forgetful: tuple[System, EmbeddedValkey]) -> None:
    system, valkey = forgetful
    load = start(system)
    system.processor()
    _until(lambda: all(p is not None and p.offset for p in system.progress()))
    time.sleep(1)
    with redis.Redis.from_url(valkey.url) as store:
        store.flushall()
    finish(system, load)


def test_a_store_that_is_away_at_the_start_and_again_later(forgetful: tuple[System, EmbeddedValkey]) -> None:
    system, valkey = forgetful
    valkey.stop()
    load = start(system)
    system.processor()
    time.sleep(4)
    valkey.start()
    _until(lambda: all(p is not None and p.offset for p in system.progress()))
    valkey.kill()
    time.sleep(3)
    valkey.start()
    finish(system, load)


def test_a_full_store_stops_the_processor_and_loses_nothing(forgetful: tuple[System, EmbeddedValkey]) -> None:
    system, valkey = forgetful
    with redis.Redis.from_url(valkey.url) as store:
        store.config_set("maxmemory", store.info("memory")["used_memory"] + 100_000)
        load = start(system)
        system.processor()
        _until(lambda: "StoreFull" in system.log().read_text())
        time.sleep(1)
        store.config_set("maxmemory", 0)
    finish(system, load)


def test_a_broker_that_is_killed_and_returns(
    tmp_path: Path, own_kafka: EmbeddedKafka, valkey: EmbeddedValkey, namespace: str, unique: Callable[[str], str]
) -> None:
    system = System(tmp_path, (own_kafka, valkey), namespace, unique)
    load = start(system)
    try:
        system.processor()
        _until(lambda: all(p is not None and p.offset for p in system.progress()))
        own_kafka.kill()
        time.sleep(3)
        own_kafka.start()
        finish(system, load)
    finally:
        system.close()


def test_sigterm_stores_everything_and_loses_nothing(system: System) -> None:
    load = start(system)
    first = system.processor()
    _until(lambda: all(p is not None and p.offset for p in system.progress()))
    began = time.monotonic()
    assert _stop(first) == 0
    assert time.monotonic() - began < 10
    system.processor()
    finish(system, load)


def test_vectors_equal_sql_at_their_offset_and_time(system: System) -> None:
    """Also after crashes, and the newest vector of every entity holds all of its events."""
    load = start(system, rate=500)
    for n in (5, 25):
        assert system.processor(dies_before_script=n).wait(timeout=60) == -signal.SIGKILL
    system.processor()
    time.sleep(2)
    finish(system, load)
    system.assert_vectors_exact(system.logs())


def _join(system: System) -> subprocess.Popen[bytes]:
    """Starts one more processor and waits until it has taken partitions over."""
    tokens = [p and p.token for p in system.progress()]
    process = system.processor()
    _until(lambda: sum(p is not None and p.token not in tokens for p in system.progress()) >= 2)
    return process


def _stop(process: subprocess.Popen[bytes]) -> int:
    process.terminate()
    return process.wait(timeout=40)


def _until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.1)
