"""YAML text to plain values that remember their lines.

Only what JSON could also say is taken: mappings with text keys, lists, text, numbers, true, false, null. Spellings
that YAML versions read differently (`yes`, `on`, `010`, `12:30`) stay text, and become type errors, not surprises.
Size, depth and the expansion of aliases are bounded: the text is read as a stream of parser events, so that a bound
is met before memory or the stack is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from freshet.spec.problems import Path, path_text, quoted

MOST_BYTES = 256 * 1024
MOST_DEPTH = 24
MOST_VALUES = 20_000
"""Of one file, each use of an alias counted with all it stands for."""

_NULL = re.compile(r"~|null|Null|NULL|", re.ASCII)
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_TAGS = {"tag:yaml.org,2002:str", "!"}
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


NOT_ALLOWED = "has a character that is not allowed: a control character or half of a pair"
"""What is wrong with text that is not `is_readable`."""


def is_readable(text: str) -> bool:
    """Whether a manifest may hold this text: no control characters but tabs and line breaks, no half pairs."""
    return not _UNPRINTABLE.search(text)


class DocumentError(ValueError):
    """Text that is not a document: the sentence, and the line it is about (from 1)."""

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(sentence)
        self.line = line


@dataclass(slots=True)
class Document:
    """One YAML document."""

    data: Any
    line: int
    lines: dict[Path, int] = field(default_factory=dict)
    """Line of each value; of a value in a mapping, the line of its name."""

    def line_of(self, path: Path) -> int:
        """The line of `path`, or of the nearest value around it that exists."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, self.line)


@dataclass(frozen=True, slots=True)
class _Value:
    """A value with the lines of what is inside it, so that aliases can be placed anywhere."""

    data: Any
    line: int
    inner: tuple[tuple[str | int, int, _Value], ...] = ()
    count: int = 1


def read_documents(text: str) -> list[Document]:
    """The documents of a YAML text that are not empty. Raises DocumentError for the first thing that cannot be read."""
    if len(text.encode("utf-8", "replace")) > MOST_BYTES:
        raise DocumentError(1, f"the file is larger than {MOST_BYTES // 1024} KiB")
    try:
        return list(_Reader(text).documents())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        sentence = " ".join(part for part in (error.context, error.problem) if part)
        raise DocumentError(mark.line + 1 if mark else 1, f"is not YAML: {sentence}") from None
    except yaml.YAMLError as error:
        raise DocumentError(1, f"is not YAML: {str(error).splitlines()[0]}") from None


class _Reader:
    def __init__(self, text: str) -> None:
        unreadable = _UNPRINTABLE.search(text)
        if unreadable:
            line = text.count("\n", 0, unreadable.start()) + 1
            raise DocumentError(line, f"the character U+{ord(unreadable[0]):04X} is not allowed in YAML")
        self.events: Iterator[Any] = yaml.parse(text, Loader=yaml.SafeLoader)
        self.values = 0
        self.anchors: dict[str, _Value] = {}

    def documents(self) -> Iterator[Document]:
        for event in self.events:
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            self.anchors = {}
            value = self.value(next(self.events), 0)
            if value.data is None:
                continue
            document = Document(value.data, value.line)
            _place(value, (), document.lines)
            yield document

    def value(self, event: Any, depth: int) -> _Value:
        line = event.start_mark.line + 1
        if depth > MOST_DEPTH:
            raise DocumentError(line, f"is nested more than {MOST_DEPTH} deep")
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, line)
        self.spend(1, line)
        if isinstance(event, yaml.ScalarEvent):
            value = _Value(_scalar(event, line), line)
        elif event.tag not in (None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            raise DocumentError(line, f"the tag {quoted(event.tag)} is not supported")
        elif isinstance(event, yaml.MappingStartEvent):
            value = self.mapping(line, depth)
        else:
            value = self.sequence(line, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = value
        return value

    def alias(self, event: Any, line: int) -> _Value:
        if event.anchor not in self.anchors:
            raise DocumentError(line, f"the alias *{event.anchor} has no anchor before it")
        value = self.anchors[event.anchor]
        self.spend(value.count, line)
        return value

    def spend(self, count: int, line: int) -> None:
        self.values += count
        if self.values > MOST_VALUES:
            raise DocumentError(line, f"has more than {MOST_VALUES} values, aliases counted with all they stand for")

    def mapping(self, line: int, depth: int) -> _Value:
        data: dict[str, Any] = {}
        inner: list[tuple[str | int, int, _Value]] = []
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key_line = event.start_mark.line + 1
            key = self.value(event, depth + 1).data
            if not isinstance(key, str):
                raise DocumentError(key_line, f"a field's name must be text, got {quoted(key)}")
            if key == "<<":
                raise DocumentError(key_line, "merging with << is not supported; write the fields out")
            if key in data:
                first = next(at for name, at, _ in inner if name == key)
                raise DocumentError(key_line, f"{quoted(key)} is written twice, first in line {first}")
            value = self.value(next(self.events), depth + 1)
            data[key] = value.data
            inner.append((key, key_line, value))
        return _Value(data, line, tuple(inner), 1 + sum(value.count + 1 for _, _, value in inner))

    def sequence(self, line: int, depth: int) -> _Value:
        inner: list[tuple[str | int, int, _Value]] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            value = self.value(event, depth + 1)
            inner.append((len(inner), event.start_mark.line + 1, value))
        return _Value([value.data for _, _, value in inner], line, tuple(inner), 1 + sum(v.count for _, _, v in inner))


def _place(value: _Value, path: Path, lines: dict[Path, int]) -> None:
    for name, line, inner in value.inner:
        lines[(*path, name)] = line
        _place(inner, (*path, name), lines)


def _scalar(event: Any, line: int) -> Any:
    text = str(event.value)
    if event.tag is not None and event.tag not in _TAGS:
        raise DocumentError(line, f"the tag {quoted(event.tag)} is not supported")
    if not is_readable(text):
        # JSON writes a character beyond U+FFFF as two escapes, which YAML's reader leaves apart.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    if not is_readable(text):
        raise DocumentError(line, NOT_ALLOWED)
    if event.tag is not None or event.style is not None:
        return text
    if text in _BOOL:
        return _BOOL[text]
    if _NULL.fullmatch(text):
        return None
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) and len(text) < 100 else text


def describe(path: Path, sentence: str) -> str:
    """`spec.features[3].expression: …`, or the sentence alone for the whole document."""
    return f"{path_text(path)}: {sentence}" if path else sentence
