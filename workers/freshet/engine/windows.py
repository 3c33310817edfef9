"""From tiles to windows: the merge of every entity's tiles over every window, in one pass."""

from __future__ import annotations

import numpy as np

from freshet.engine.column import Floats, Ints
from freshet.engine.pyramid import Pyramid
from freshet.engine.rows import Rows


def merge_windows(rows: Rows, pyramid: Pyramid, tiles: Floats, counts: Ints, q: Ints) -> Floats:
    """Accumulators of every window at read times q: shape (entities, windows, rows.width).

    `tiles` holds the tile rows (start, then accumulators) of all entities one after another, each entity's oldest
    first; `counts` how many each has. A tile is in a window or out of it as a whole, so its start decides. Sorted by
    their oldest edges, latest first, windows are nested: each tile falls into the band between two edges, one
    reduction merges each band, and running merges over bands give the windows.
    """
    k, n = len(counts), len(pyramid.windows)
    edges = pyramid.edges(q)
    order = np.argsort(-edges, axis=1, kind="stable")
    bands = np.empty((k, n + 1, rows.width))
    bands[:] = rows.identity
    if len(tiles):
        entity = np.repeat(np.arange(k), counts)
        band = (tiles[:, 0, None] < edges[entity]).sum(axis=1)
        key = entity * (n + 1) + band
        starts = np.flatnonzero(np.diff(key, prepend=-1))
        bands.reshape(k * (n + 1), rows.width)[key[starts]] = rows.merge(tiles[:, 1:], starts)
    nested = rows.accumulate(bands[:, :n])
    out = np.empty_like(nested)
    np.put_along_axis(out, order[:, :, None], nested, axis=1)
    return out
