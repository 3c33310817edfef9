"""What one entity's state holds, and the blob it is stored as.

The blob is a memory image that `np.frombuffer` reads: 16 bytes of head (format, layout, length, number of tiles), then
float64 words: the front (applied offset, newest and first event time, lifetime accumulators, sessions, newest tile),
then the older tiles in time order, then the annex (`freshet.engine.annex.layout`), if the entity needs one. Whole
numbers of this size are exact in float64. A hot entity's next image differs only in the front, at a fixed place, which
is all that has to be written (design §6).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from freshet.engine.accumulators import Accumulator
from freshet.engine.aggregates import AGGREGATES, ANNEX
from freshet.engine.annex.layout import AnnexLayout
from freshet.engine.column import Floats, Ints
from freshet.engine.pyramid import Pyramid
from freshet.engine.rows import Rows
from freshet.engine.sessions import IDENTITY, SESSION_AGGREGATES, Sessions
from freshet.engine.sessions import WIDTH as SESSION_WIDTH
from freshet.spec.definition import AggregateFeature, Definition, Input, Window

FORMAT = 2
FORMAT_WITHOUT_ANNEX = 1
"""Else the same; read still."""
HEAD = np.dtype([("format", "<u2"), ("flags", "<u2"), ("layout", "<u4"), ("length", "<u4"), ("tiles", "<u4")])
HEAD_WORDS = HEAD.itemsize // 8

OFFSET, NEWEST, FIRST_SEEN = range(3)
_FIXED = 3
EMPTY_FIXED = (0.0, -np.inf, np.inf)


class LayoutError(ValueError):
    """A blob that this layout cannot read."""


class Layout:
    """The columns of one definition's states."""

    def __init__(self, definition: Definition) -> None:
        windowed: list[Accumulator] = []
        lifetime: list[Accumulator] = []
        sessions: dict[Sessions, None] = {}
        windows: set[Window] = set()
        self.annex = AnnexLayout(definition)
        self.inputs: dict[Input, None] = {}
        for feature in definition.features:
            if not isinstance(feature, AggregateFeature):
                continue
            self.inputs[feature.input] = None
            if feature.aggregate in SESSION_AGGREGATES:
                sessions[Sessions(feature.input, feature.gap_ms)] = None
            elif feature.aggregate not in ANNEX:
                parts = AGGREGATES[feature.aggregate].accumulators(feature)
                (lifetime if feature.window is None else windowed).extend(parts)
                if feature.window is not None:
                    windows.add(feature.window)
        self.life = Rows(lifetime)
        self.tile = Rows(windowed)
        self.pyramid = Pyramid(sorted(windows)) if windows else None
        at = _FIXED + self.life.width
        self.life_columns = slice(_FIXED, at)
        self.sessions: dict[Sessions, slice] = {}
        for session in sessions:
            self.sessions[session] = slice(at, at + SESSION_WIDTH)
            at += SESSION_WIDTH
        self.fixed_width = at
        """float64 words before the newest tile."""
        self.tile_width = 1 + self.tile.width if self.pyramid else 0
        """float64 words of a tile: its start, then its accumulators; 0 without windows."""
        self.front_bytes = 8 * (HEAD_WORDS + self.fixed_width + self.tile_width)
        self.empty = np.concatenate((EMPTY_FIXED, self.life.identity, *[IDENTITY] * len(self.sessions)))
        self.checksum = zlib.crc32(self._description().encode())

    def _description(self) -> str:
        """Everything that decides what a word of a blob means. The 1 is what definitions without annex began with."""
        windows = self.pyramid.windows if self.pyramid else ()
        fixed = (1, windows, self.life.accumulators, tuple(self.sessions), self.tile.accumulators)
        return repr((*fixed, *self.annex.description()))

    def length(self, tiles: Ints) -> Ints:
        """Bytes of blobs with so many tiles, the newest included, and no annex."""
        out: Ints = 8 * (HEAD_WORDS + self.fixed_width + tiles * self.tile_width)
        return out

    def heads(self, tiles: Ints, annexes: Ints) -> Floats:
        """The 16 head bytes of blobs with so many tiles and bytes of annex, as words: shape (blobs, 2)."""
        head = np.zeros(len(tiles), HEAD)
        head["format"], head["layout"] = FORMAT, self.checksum
        head["length"], head["tiles"] = self.length(tiles) + annexes, tiles
        return head.view(np.float64).reshape(len(tiles), HEAD_WORDS)

    def peek(self, blobs: Sequence[bytes]) -> tuple[Ints, Floats]:
        """Own offset and newest event time (ms; -inf without events) of each blob. Raises LayoutError."""
        size = 8 * (HEAD_WORDS + _FIXED)
        lengths = np.fromiter(map(len, blobs), np.int64, len(blobs))
        self._check_lengths(lengths)
        words = np.frombuffer(b"".join([blob[:size] for blob in blobs]), np.float64).reshape(len(blobs), -1)
        self._check_heads(np.ascontiguousarray(words[:, :HEAD_WORDS]).view(HEAD).reshape(-1), lengths)
        return words[:, HEAD_WORDS + OFFSET].astype(np.int64), words[:, HEAD_WORDS + NEWEST]

    def split(self, blobs: Sequence[bytes]) -> tuple[Floats, Floats, Ints, list[bytes]]:
        """Blobs → fixed words (blobs, fixed_width), tile rows (all tiles, tile_width), tiles of each blob, annexes.

        The rows of one blob stand together, oldest tile first. Raises LayoutError if a blob is of another format,
        layout or length.
        """
        lengths = np.fromiter(map(len, blobs), np.int64, len(blobs))
        self._check_lengths(lengths)
        words = np.frombuffer(b"".join(blobs), np.float64)
        begin = np.cumsum(lengths) // 8 - lengths // 8
        head = words[begin[:, None] + np.arange(HEAD_WORDS)].view(HEAD).reshape(-1)
        self._check_heads(head, lengths)
        at = begin + HEAD_WORDS
        fixed = words[at[:, None] + np.arange(self.fixed_width)]
        tiles = head["tiles"].astype(np.int64)
        annexes: list[bytes] = []
        if self.annex:
            ends = self.length(tiles).tolist()
            annexes = [blob[end:] for blob, end in zip(blobs, ends, strict=True)]
        return fixed, self._tile_rows(words, at + self.fixed_width, tiles), tiles, annexes

    def _check_lengths(self, lengths: Ints) -> None:
        if len(lengths) and (lengths.min() < self.front_bytes or (lengths % 8).any()):
            raise LayoutError(f"a state of {lengths.min()} bytes, at least {self.front_bytes} expected")

    def _check_heads(self, head: npt.NDArray[np.void], lengths: Ints) -> None:
        plain = self.length(head["tiles"].astype(np.int64))
        wrong = (head["layout"] != self.checksum) | (head["length"] != lengths)
        wrong |= ~((head["format"] == FORMAT) | (head["format"] == FORMAT_WITHOUT_ANNEX))
        wrong |= (plain > lengths) if self.annex else (plain != lengths)
        if wrong.any():
            found = head[wrong][0]
            raise LayoutError(
                f"a state of format {found['format']}, layout {found['layout']:08x}, length {found['length']}; "
                f"expected format {FORMAT}, layout {self.checksum:08x}, length {lengths[wrong][0]}"
            )

    def _tile_rows(self, words: Floats, at: Ints, tiles: Ints) -> Floats:
        if not self.tile_width:
            return np.empty((0, 0))
        first = np.cumsum(tiles) - tiles
        # Stored newest first, then oldest to second newest: one step along puts the newest last.
        rank = np.arange(int(tiles.sum())) - np.repeat(first, tiles) + 1
        rank[first + tiles - 1] = 0
        rows = np.repeat(at, tiles) + rank * self.tile_width
        out: Floats = words[rows[:, None] + np.arange(self.tile_width)]
        return out
