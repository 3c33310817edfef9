"""The order of numpy's stable sort."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from freshet.engine.ordering import stable_order

SMALL = st.lists(st.integers(0, 5), max_size=70)
LARGE = st.lists(st.integers(0, (1 << 63) - 1), max_size=20)


@given(SMALL | LARGE)
def test_it_is_the_order_of_a_stable_sort(keys: list[int]) -> None:
    array = np.array(keys, np.int64)
    assert stable_order(array).tolist() == np.argsort(array, kind="stable").tolist()
