"""What headers make of a record; whatever they hold, reading them never fails."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.engine.control import Erase, Mark, Replay, is_marked, mark_of

REQUEST = "8f14e45f-ceea-467f-a9d4-1a2b3c4d5e6f"
ERASE = ("freshet-control", b"erase")
FOR = ("freshet-for", b"shop/users/0123456789")
SOURCE = [("freshet-source-topic-id", REQUEST.encode()), ("freshet-source-partition", b"3")]
OFFSET = ("freshet-source-offset", b"17")


@pytest.mark.parametrize(
    ("key", "value", "headers", "mark"),
    [
        (b"user_1", None, [ERASE], Erase("user_1", None)),
        (b"user_1", b"", [ERASE, ("freshet-request", REQUEST.encode())], Erase("user_1", UUID(REQUEST))),
        (b"user_1", None, [ERASE, ("freshet-request", b"no uuid")], Erase("user_1", None)),
        (b"user_1", b"{}", [ERASE], None),
        (b"", None, [ERASE], None),
        (None, None, [ERASE], None),
        (b"\xff", None, [ERASE], None),
        (b"a\0b", None, [ERASE], None),
        (b"x" * 513, None, [ERASE], None),
        (b"user_1", None, [("freshet-control", b"dance")], None),
        (b"user_1", None, [("freshet-control", None)], None),
        (b"user_1", None, [("trace", b"1")], None),
        (b"k", b"{}", [FOR, *SOURCE, OFFSET], Replay("shop/users/0123456789", (UUID(REQUEST), 3, 17))),
        (b"k", b"{}", [FOR], Replay("shop/users/0123456789", None)),
        (b"k", b"{}", [FOR, *SOURCE, ("freshet-source-offset", b"-1")], Replay("shop/users/0123456789", None)),
        (b"k", b"{}", [FOR, *SOURCE, ("freshet-source-offset", b"9" * 19)], Replay("shop/users/0123456789", None)),
        (b"k", b"{}", [("freshet-for", b"nobody")], None),
        (b"k", b"{}", [("freshet-for", b"\xff/\xff/\xff")], None),
    ],
)
def test_marks(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]], mark: Mark | None
) -> None:
    assert mark_of(key, value, headers) == mark


NAMES = st.sampled_from(["freshet-control", "freshet-for", "freshet-request", OFFSET[0], *[n for n, _ in SOURCE], "x"])
DATA = st.one_of(st.none(), st.binary(max_size=20), st.sampled_from([b"erase", FOR[1], REQUEST.encode(), b"1"]))


@given(st.none() | st.binary(max_size=9), st.none() | st.binary(max_size=3), st.lists(st.tuples(NAMES, DATA)))
def test_any_headers_can_be_read(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    assert is_marked(headers) or mark_of(key, value, headers) is None
