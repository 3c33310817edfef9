"""Processors come and go on purpose, under load: no wrong value, nothing lost. `benchmarks.handover` has the times."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from freshet.dev.servers import EmbeddedKafka, EmbeddedValkey
from tests.integration.system import PARTITIONS, System
from tests.integration.test_degraded import loaded, moves_on, working
from tests.integration.test_serving_failures import eventually

pytestmark = pytest.mark.server


@pytest.fixture
def system(
    tmp_path: Path, kafka: EmbeddedKafka, valkey: EmbeddedValkey, namespace: str, unique: Callable[[str], str]
) -> Iterator[System]:
    """A FeatureSet on the shared servers."""
    with closing(System(tmp_path, (kafka, valkey), namespace, unique)) as running:
        yield running


def joined(system: System, count: int) -> list[subprocess.Popen[bytes]]:
    """More processors, once each of them has taken partitions over."""
    found = []
    for _ in range(count):
        tokens = {p.token for p in system.progress() if p is not None}
        found.append(system.processor())
        eventually(lambda tokens=tokens: any(p and p.token not in tokens for p in system.progress()), 60)  # type: ignore[misc]
    return found


def left(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(40) == 0


def test_a_rolling_restart(system: System) -> None:
    """As a Deployment does it: one more, then one less, until all are new."""
    with loaded(system, 1000):
        old = joined(system, 2)
        eventually(lambda: working(system), 60)
        for process in old:
            joined(system, 1)
            left(process)
            moves_on(system)
    system.assert_vectors_exact(system.logs())


def test_one_four_two(system: System) -> None:
    with loaded(system, 1000):
        running = joined(system, 1)
        eventually(lambda: working(system), 60)
        running += joined(system, 3)
        moves_on(system)
        for process in running[:2]:
            left(process)
        moves_on(system)
    system.assert_vectors_exact(system.logs())


def test_too_slow_for_its_poll_interval(system: System, tmp_path: Path) -> None:
    """Kafka takes its partitions away; it notices, joins again, and nothing is lost or counted twice."""
    hasty = tmp_path / "hasty.properties"
    hasty.write_text("session.timeout.ms=6000\nmax.poll.interval.ms=6000\n")
    with loaded(system, 500):
        slow = system.start("tests.integration.slow_processor", "100", "14", FRESHET_KAFKA_CONFIG=str(hasty))
        eventually(lambda: "MAXPOLL" in system.log().read_text(), 90)
        eventually(lambda: system.log().read_text().count("partition taken over") >= 2 * PARTITIONS, 60)
        moves_on(system)
        assert slow.poll() is None
    system.assert_vectors_exact(system.logs())
