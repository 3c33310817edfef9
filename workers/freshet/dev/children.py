"""Child processes that cannot outlive the process that started them.

Each runs in a session of its own, so that Ctrl-C on a terminal reaches only the parent, which then decides the order in
which its children end. On Linux the kernel kills a child whose parent has died, however it died; elsewhere an exit
handler does what can be done.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
# Loaded here, before any fork: between fork and exec a child must not touch the loader's locks.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_running: weakref.WeakSet[subprocess.Popen[bytes]] = weakref.WeakSet()


def spawn(
    argv: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    user: int | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a child whose output is appended to the file `log`; `user` is a uid to run as, which only root can give.

    On Linux the child also ends when the *thread* that called this ends, so call it from a thread that lives as long as
    the child is meant to. Raises OSError where the program cannot be started.
    """
    parent = os.getpid()

    def bind_to_parent() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:  # it died between fork and prctl
                os._exit(1)

    with log.open("ab") as output:
        child = subprocess.Popen(  # noqa: S603 - our own program and arguments
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment) if environment is not None else None,
            cwd=folder,
            start_new_session=True,
            preexec_fn=bind_to_parent,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
    _running.add(child)
    return child


def stop(child: subprocess.Popen[bytes], grace_seconds: float) -> int:
    """Asks a child to end (SIGTERM) and kills it after the grace period. Returns its exit code (negative: a signal)."""
    if child.poll() is None:
        child.terminate()
        try:
            return child.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            child.kill()
    return child.wait()


def kill(child: subprocess.Popen[bytes]) -> None:
    """Ends a child at once (SIGKILL), as a crash would."""
    child.kill()
    child.wait()


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log file; empty where there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 65536))
        text = file.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])


@atexit.register
def _kill_all() -> None:
    for child in list(_running):
        if child.poll() is None:
            kill(child)
