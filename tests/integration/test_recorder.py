"""The recorder on real servers: each record of the log once, whatever happens to recorders and PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from freshet.dev import children
from freshet.dev.servers import EmbeddedKafka
from tests.integration.recording import Recording

pytestmark = pytest.mark.server


@pytest.fixture
def recording(
    tmp_path: Path, kafka: EmbeddedKafka, database: str, namespace: str, unique: Callable[[str], str]
) -> Iterator[Recording]:
    one = Recording(tmp_path, (kafka, database), namespace, unique)
    yield one
    one.close()


def test_history_is_what_the_log_holds(recording: Recording) -> None:
    recording.send(2_000)
    process = recording.recorder()
    recording.wait_recorded()
    recording.send(500)
    recording.wait_recorded()
    recording.assert_recorded()
    children.stop(process, 10)
    assert process.returncode == 0


def test_a_recorder_that_dies_before_its_commit_leaves_nothing_and_the_next_goes_on(recording: Recording) -> None:
    recording.send(500)
    for dies in (1, 2, 3):
        process = recording.recorder(dies_before_commit=dies)
        end = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end:
            recording.send(20)
            time.sleep(0.05)
        assert process.returncode == -9
    recording.recorder()
    recording.wait_recorded()
    recording.assert_recorded()
