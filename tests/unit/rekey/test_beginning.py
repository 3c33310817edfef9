"""Where copying goes on: never in a place where a record would be lost or doubled without a word."""

from __future__ import annotations

import pytest

from freshet.rekey.beginning import (
    Committed,
    Mark,
    OffsetsLost,
    OriginChanged,
    OriginShorter,
    OriginTruncated,
    Start,
    Stopped,
    TopicChanged,
    Topics,
    start_of,
)

TOPICS = Topics("raw", "id-raw", "raw.by.card", "id-card", "freshet.rekey.raw.by.card")
MINE = Mark("id-raw", "id-card", "writer")
OTHER_ORIGIN, OTHER_TOPIC = Mark("id-old", "id-card", None), Mark("id-raw", "id-old", None)


def begin(
    found: Committed | None,
    bounds: tuple[int, int],
    *,
    unknown: bool = False,
    changed: bool = False,
    skip: bool = False,
) -> Start:
    return start_of(3, found, bounds, TOPICS, unknown=unknown, changed=changed, skip=skip)


@pytest.mark.parametrize(
    ("found", "bounds", "start"),
    [
        (None, (0, 0), 0),
        (None, (7, 20), 7),  # nothing was copied of it: all that there is
        (Committed(9, MINE), (0, 20), 9),
        (Committed(9, MINE), (9, 9), 9),
        (Committed(9, None), (0, 20), 9),  # a tool has set it
    ],
)
def test_it_goes_on_where_it_was(found: Committed | None, bounds: tuple[int, int], start: int) -> None:
    assert begin(found, bounds) == begin(found, bounds, skip=True) == Start(start)


@pytest.mark.parametrize(
    ("found", "bounds", "why", "told", "skipped"),
    [
        (Committed(9, MINE), (12, 20), OriginTruncated, "begins at offset 12, and what comes next is 9", Start(12, 3)),
        (Committed(9, MINE), (0, 5), OriginShorter, "ends at offset 5, and was copied up to 9", Start(5)),
        (Committed(9, OTHER_ORIGIN), (0, 20), OriginChanged, "raw was deleted and made anew", Start(0)),
        (Committed(9, OTHER_TOPIC), (0, 20), TopicChanged, "raw.by.card was deleted and made anew", Start(9)),
        (Committed(9, OTHER_TOPIC), (12, 20), TopicChanged, "before offset 9 is not in it", Start(12, 3)),
    ],
)
def test_what_somebody_has_to_decide(
    found: Committed, bounds: tuple[int, int], why: type[Stopped], told: str, skipped: Start
) -> None:
    with pytest.raises(why, match=told) as stopped:
        begin(found, bounds)
    assert "FRESHET_ON_GAP=skip" in str(stopped.value)
    assert begin(found, bounds, skip=True) == skipped


def test_offsets_that_are_lost_are_never_guessed() -> None:
    for skip in (False, True):
        with pytest.raises(OffsetsLost, match="--reset-offsets"):
            begin(None, (0, 20), unknown=True, skip=skip)


def test_an_offset_that_went_with_the_old_origin() -> None:
    with pytest.raises(OriginChanged):
        begin(None, (0, 20), changed=True)
    assert begin(None, (0, 20), changed=True, skip=True) == Start(0)
    assert begin(Committed(9, None), (0, 20), changed=True) == Start(9), "somebody has decided"


@pytest.mark.parametrize("mark", [MINE, Mark("a", "b", None)])
def test_a_mark_comes_back(mark: Mark) -> None:
    assert Mark.parse(mark.text()) == mark


@pytest.mark.parametrize("text", [None, "", "2 a b c", "anything", "1 a b"])
def test_what_is_no_mark(text: str | None) -> None:
    assert Mark.parse(text) is None
