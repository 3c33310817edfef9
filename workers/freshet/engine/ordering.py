"""Sorting as numpy does fastest: plain numbers, without indices beside them."""

from __future__ import annotations

import numpy as np

from freshet.engine.column import Ints


def stable_order(keys: Ints) -> Ints:
    """The indices that sort `keys`, none of which is negative; equal ones stay in order.

    Each key is sorted as one number with its index, which costs a tenth of numpy's stable sort of indices; where both
    do not fit into 63 bits, it is that sort.
    """
    bits = max(1, (len(keys) - 1).bit_length())
    if not len(keys) or int(keys.max()) >= 1 << (63 - bits):
        return np.argsort(keys, kind="stable")
    packed: Ints = np.sort((keys << bits) | np.arange(len(keys)))
    return packed & ((1 << bits) - 1)
