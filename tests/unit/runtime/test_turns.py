"""A loop that stands is told, and ends its process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from freshet.runtime import turns
from freshet.runtime.turns import Turns

LOOP = """
import time
from freshet.runtime import turns
turns.END_SECONDS, turns._PUT_OFF_MS = 1.0, 100
loop = turns.Turns()
for _ in range(30):
    loop.turn()
    time.sleep(0.1)
print("went round")
if {ends}:
    loop.end()
time.sleep(5)
print("was left alone")
"""


def test_it_is_told_while_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000
    monkeypatch.setattr(turns, "steady_ms", lambda: now)
    loop = Turns(5_000)
    now += 60_000
    assert loop.problem() is None, "it has not begun"
    loop.turn()
    try:
        now += 4_999
        assert loop.problem() is None
        now += 1
        assert loop.problem() == "the main loop has stood for 5 s"
        loop.turn()
        assert loop.problem() is None
    finally:
        loop.end()
    now += 60_000
    assert loop.problem() is None, "it is over"


@pytest.mark.parametrize("ends", [False, True])
def test_a_process_whose_loop_stands_says_where_and_ends(ends: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOOP.format(ends=ends)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.startswith("went round")
    if ends:
        assert (done.returncode, "was left alone" in done.stdout, done.stderr) == (0, True, "")
    else:
        assert (done.returncode, 'File "<string>", line' in done.stderr) == (1, True)
        assert "was left alone" not in done.stdout
