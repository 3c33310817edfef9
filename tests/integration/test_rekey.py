"""Re-keying on a real Kafka: every event once, in order, whatever happens to the stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from freshet.dev.servers import EmbeddedKafka
from tests.integration.rekeying import Load, Rig
from tests.integration.test_serving_failures import eventually

pytestmark = pytest.mark.server


@pytest.fixture
def rig(tmp_path: Path, kafka: EmbeddedKafka, unique: Callable[[str], str]) -> Iterator[Rig]:
    """A re-keyed FeatureSet on the shared Kafka."""
    with closing(Rig(tmp_path, kafka, unique)) as running:
        yield running


def test_the_copies_are_the_mapping_of_the_origin(rig: Rig) -> None:
    load = Load(rig, 1_000, seed=1)
    load.start()
    eventually(lambda: load.sent > 500, 30)
    stage = rig.stage()
    eventually(lambda: load.sent > 4_000, 60)
    load.stop()
    rig.wait_copied()
    stage.terminate()
    assert stage.wait(20) == 0
    rig.assert_exact()
