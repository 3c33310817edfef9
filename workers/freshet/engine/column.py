"""A column of values with SQL nulls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(slots=True)  # not frozen: that would more than double the time of making one
class Column:
    """`values` where `valid`, else null. Never changes.

    Numbers are float64, booleans bool, texts objects (str), timestamps float64 milliseconds since 1970, lists objects
    (list of plain values).
    `valid` None means that no value is null. What stands in `values` at a null is arbitrary but finite.
    """

    values: NDArray[Any]
    valid: Bools | None = None

    def mask(self) -> Bools:
        """`valid` as an array."""
        return np.ones(len(self.values), np.bool_) if self.valid is None else self.valid

    def take(self, at: NDArray[np.intp]) -> Column:
        """The rows at these indices."""
        return Column(self.values[at], None if self.valid is None else self.valid[at])
