"""Help for tests of `freshet dev`: running commands, and waiting for what they do."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "user-activity" / "featureset.yaml"


def freshet(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    command = [sys.executable, "-m", "freshet", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


class Command:
    """A command that goes on until it is told to end."""

    def __init__(self, output: Path, *arguments: str) -> None:
        self.output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "freshet", *arguments], stdout=file, stderr=subprocess.STDOUT
            )

    def text(self) -> str:
        """What it has printed so far."""
        return self.output.read_text()

    def shows(self, words: str) -> bool:
        """Whether it has printed this; fails the test when it ended without."""
        assert words in self.text() or self.process.poll() is None, self.text()
        return words in self.text()

    def interrupt(self) -> int:
        """Ctrl-C; its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(40)


@contextmanager
def running(output: Path, *arguments: str) -> Iterator[Command]:
    """A command that is killed at the end of the block if it still runs."""
    command = Command(output, *arguments)
    try:
        yield command
    finally:
        command.process.kill()
        command.process.wait()


def eventually(holds: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Waits until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


def processes_of(folder: Path) -> list[int]:
    """Living processes whose command line names a folder."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in line.read_bytes():
                found.append(int(line.parent.name))
        except OSError:  # it ended meanwhile
            continue
    return found
