"""`python -m freshet.dev.kafka_aot`: keeps what Java does at a start of Kafka, so that later ones are spared it.

Once for a machine: a Kafka is started and ended, half a minute, and 100 MB are kept beside the jars. A start then takes
two fifths of the time and half of the processor time (OpenJDK's ahead-of-time cache, JEP 483 and 514).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from freshet.dev.errors import CommandFailed
from freshet.dev.kafka_files import CACHE, ahead_of_time
from freshet.dev.kafka_server import EmbeddedKafka

_PARTS = ("tool", "server")
_END_SECONDS = 120
"""The server writes its cache when it ends."""


class _Recorded(EmbeddedKafka):
    """A Kafka whose start is kept, in its own folder."""

    def _ahead_of_time(self, part: str) -> list[str]:
        return [f"-XX:AOTCacheOutput={self.kept(part)}"]

    def kept(self, part: str) -> Path:
        return self.folder / f"{part}.aot"


def keep(cache: Path = CACHE) -> bool:
    """Makes what is not there yet; whether anything had to be made. Raises NotInstalled, ServerFailed."""
    if all(ahead_of_time(part, cache).exists() for part in _PARTS):
        return False
    with TemporaryDirectory() as folder:
        server = _Recorded(Path(folder), cache=cache).start()
        server.stop(_END_SECONDS)
        for part in _PARTS:
            # Renamed in one step: another process may be about to start Kafka.
            whole = ahead_of_time(part, cache).with_suffix(".part")
            shutil.copyfile(server.kept(part), whole)
            whole.replace(ahead_of_time(part, cache))
    return True


if __name__ == "__main__":
    try:
        keep()
    except (CommandFailed, OSError) as error:
        sys.exit(f"Kafka's starts stay slow: {error}")
