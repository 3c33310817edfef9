"""YAML is read as plain data with lines, within bounds, and without the surprises of its dialects."""

from __future__ import annotations

import time

import pytest

from freshet.spec.document import DocumentError, read_documents


def test_values_and_their_lines() -> None:
    [document] = read_documents("a: 1\nb:\n  - x\n  - {c: 2.5,\n     d: ~}\ne: |\n  two\n  lines\n")
    assert document.data == {"a": 1, "b": ["x", {"c": 2.5, "d": None}], "e": "two\nlines\n"}
    assert {path: document.line_of(path) for path in [("b", 1), ("b", 1, "d"), ("e",), ("b", 9, "z")]} == {
        ("b", 1): 4,
        ("b", 1, "d"): 5,
        ("e",): 6,
        ("b", 9, "z"): 2,
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("FALSE", False),
        ("yes", "yes"),
        ("on", "on"),
        ("null", None),
        ("-12", -12),
        ("010", "010"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2026-01-05", "2026-01-05"),
        ("1e3", 1000.0),
        (".5", 0.5),
        (".inf", ".inf"),
        ("'1'", "1"),
        ("!!str 1", "1"),
    ],
)
def test_spellings_that_dialects_read_differently_stay_text(text: str, value: object) -> None:
    [document] = read_documents(f"x: {text}")
    assert document.data == {"x": value}
    assert type(document.data["x"]) is type(value)


def test_aliases_stand_for_their_anchor_and_know_its_lines() -> None:
    [document] = read_documents("a: &a\n  b: 1\nc: *a\n")
    assert document.data == {"a": {"b": 1}, "c": {"b": 1}}
    assert (document.line_of(("c",)), document.line_of(("c", "b"))) == (3, 2)


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"b{i}: &b{i} [{','.join([f'*b{i - 1}' if i else '*a'] * 9)}]\n" for i in range(12)
)


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("a: 1\nb: 2\na: 3", 3, '"a" is written twice, first in line 1'),
        ("a: {b: 1}\nc:\n  <<: {}", 3, "merging with <<"),
        ("a: *b", 1, "the alias *b has no anchor before it"),
        ("a: &a [*a]", 1, "the alias *a has no anchor before it"),
        ("a: !!python/object:os.system x", 1, "the tag"),
        ("a: !thing {}", 1, "the tag"),
        ("? [1]\n: 2", 1, "a field's name must be text"),
        ("1: 2", 1, "a field's name must be text, got 1"),
        ('a: "\\ud800"', 1, "a control character or half of a pair"),
        ('a: "\\0"', 1, "a control character or half of a pair"),
        ("a: 1\nb: \x00", 2, "the character U+0000"),
        ("a:\n\tb: 1", 2, "is not YAML"),
        ("a: [1, 2", 1, "is not YAML"),
        ("%YAML 9.9\n---\na", 1, "is not YAML"),
        ("[" * 200_000, 1, "nested more than 24 deep"),
        ("{" * 200_000, 1, "nested more than 24 deep"),
        ("- " * 100_000, 1, "nested more than 24 deep"),
        ("- 1\n" * 60_000, 20_000, "more than 20000 values"),
        (LAUGHS, 5, "more than 20000 values"),
        ("#" * 262_145, 1, "larger than 256 KiB"),
    ],
)
def test_what_is_refused(text: str, line: int, sentence: str) -> None:
    began = time.process_time()  # a busy machine is not the reader's fault
    with pytest.raises(DocumentError) as caught:
        read_documents(text)
    assert sentence in str(caught.value)
    assert caught.value.line == line
    assert time.process_time() - began < 5
