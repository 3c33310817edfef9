"""How much is fuzzed: little in every run, all of it in the long form (HYPOTHESIS_PROFILE=long, `make test-long`)."""

from __future__ import annotations

import os

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"


def examples(few: int, many: int) -> int:
    """How many examples a test takes."""
    return many if LONG else few
