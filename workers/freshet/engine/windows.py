"""From tiles to windows: the merge of every entity's tiles over every window, in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from freshet.engine.accumulators import Accumulator
from freshet.engine.column import Floats, Ints
from freshet.engine.pyramid import Pyramid
from freshet.engine.rows import Rows


def merge_windows(
    rows: Rows,
    pyramid: Pyramid,
    tiles: Floats,
    counts: Ints,
    q: Ints,
    wanted: Mapping[Accumulator, Iterable[int]] | None = None,
) -> Floats:
    """Accumulators of every window at read times q: shape (entities, windows, rows.width).

    `tiles` holds the tile rows (start, then accumulators) of all entities one after another, each entity's oldest
    first; `counts` how many each has. `wanted`: see `Rows.accumulate`. A tile is in a window or out of it as a whole,
    so its start decides. Sorted by their oldest edges, latest first, windows are nested: each tile falls into the band
    between two edges, one reduction merges each band, and running merges over bands give the windows.
    """
    k, n = len(counts), len(pyramid.windows)
    edges = pyramid.edges(q)
    bands = np.empty((k, n + 1, rows.width))
    bands[:] = rows.identity
    if len(tiles):
        entity = np.repeat(np.arange(k), counts)
        band = (tiles[:, 0, None] < edges[entity]).sum(axis=1)
        key = entity * (n + 1) + band
        new = np.empty(len(key), np.bool_)
        new[0] = True
        np.not_equal(key[1:], key[:-1], out=new[1:])
        starts = np.flatnonzero(new)
        bands.reshape(k * (n + 1), rows.width)[key[starts]] = rows.merge(tiles[:, 1:], starts)
    if pyramid.nested:
        return rows.accumulate(bands[:, :n], wanted)
    nested = rows.accumulate(bands[:, :n])
    out = np.empty_like(nested)
    order = np.argsort(-edges, axis=1, kind="stable")
    np.put_along_axis(out, order[:, :, None], nested, axis=1)
    return out
