"""Indices of many spans of an array at once."""

from __future__ import annotations

import numpy as np

from freshet.engine.column import Ints


def ranges(begin: Ints, length: Ints) -> Ints:
    """begin[0] … begin[0]+length[0]-1, begin[1] …: one flat array."""
    first = np.cumsum(length) - length
    out: Ints = np.arange(int(length.sum())) - np.repeat(first - begin, length)
    return out
