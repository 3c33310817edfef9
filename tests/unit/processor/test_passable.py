"""Where progress may stop: never between an entity's events and the erasure that has voided them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from freshet.processor.pending import passable

SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda two: (min(two), max(two))), max_size=8)


@given(SPANS, st.integers(0, 35))
def test_it_is_the_largest_offset_that_divides_no_span(spans: list[tuple[int, int]], move_to: int) -> None:
    first, at = (np.array([span[i] for span in spans], np.int64) for i in (0, 1))
    good = [m for m in range(move_to + 1) if not any(begin < m <= end for begin, end in spans)]
    assert passable(first, at, move_to) == max(good)
