"""What a message of the dead-letter topic says; whatever it holds, reading it never fails and never blocks others."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.recorder.dead_letters import letter_of

HEADERS = {
    "freshet-featureset": b"shop/users/0123456789",
    "freshet-topic": b"raw-events",
    "freshet-topic-id": b"AAAAAAAAAAAAAAAAAAAAAQ",
    "freshet-partition": b"3",
    "freshet-offset": b"17",
    "freshet-timestamp": b"1767225600000",
    "freshet-reason": b"not_json",
    "freshet-sentence": b"the value is not JSON",
    "freshet-first-seen": b"1767225600100",
}
FIELDS = {"shop/users": "user_id"}


def test_a_letter_is_where_it_came_from() -> None:
    letter = letter_of(b"key", b'{"user_id": "ann"}', HEADERS, FIELDS)
    assert letter is not None
    assert (letter.topic_id, letter.partition, letter.offset) == (UUID(int=1), 3, 17)
    assert (letter.owner, letter.topic, letter.reason) == ("shop/users/0123456789", "raw-events", "not_json")
    assert (letter.source_ms, letter.first_seen_ms) == (1_767_225_600_000, 1_767_225_600_100)
    assert (letter.key, letter.payload) == (b"key", b'{"user_id": "ann"}')


@pytest.mark.parametrize(
    ("key", "value", "entity"),
    [
        (b"bob", b'{"user_id": "ann"}', "ann"),
        (b"bob", b'{"user_id": 7}', "7"),
        (b"bob", b'{"user_id": "ann"', "bob"),
        (b"bob", b'{"user_id": null}', "bob"),
        (b"bob", b"[1]", "bob"),
        (b"bob", None, "bob"),
        (None, b"\xff", None),
        (b"\xff", b"{}", None),
        (b"", b"{}", None),
        (b"a\0b", b"{}", None),
        (b"x" * 600, b"{}", None),
        (b"bob", b'{"user_id": "\\ud800"}', "bob"),
    ],
)
def test_whom_a_letter_is_about(key: bytes | None, value: bytes | None, entity: str | None) -> None:
    letter = letter_of(key, value, HEADERS, FIELDS)
    assert letter is not None
    assert letter.entity == entity


@pytest.mark.parametrize("name", HEADERS)
def test_a_message_without_one_of_the_headers_is_no_letter(name: str) -> None:
    assert letter_of(b"k", b"v", {n: v for n, v in HEADERS.items() if n != name}, FIELDS) is None


ODD = st.one_of(st.binary(max_size=30), st.sampled_from([*HEADERS.values(), b"-1", b"9" * 30]))


@given(
    st.none() | st.binary(max_size=9),
    st.none() | st.binary(max_size=30),
    st.dictionaries(st.sampled_from(list(HEADERS)), ODD),
)
def test_any_message_can_be_read(key: bytes | None, value: bytes | None, changes: dict[str, bytes]) -> None:
    letter = letter_of(key, value, HEADERS | changes, FIELDS)
    if letter is not None:
        assert 0 <= letter.partition < 1 << 31
        assert 0 <= letter.offset < 1 << 63
        assert "\0" not in letter.owner + letter.topic + letter.reason + letter.sentence + (letter.entity or "")
