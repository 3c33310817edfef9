"""Problems of a manifest: found all at once, each with the place it stands at, so that one run shows them all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

Path = tuple[str | int, ...]
"""Where in the document a value stands: names of fields and indices into lists."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing to mend.

    `in_key` says that the field's name is at fault and not its value.
    """

    path: Path
    message: str
    in_key: bool = False


class ManifestError(ValueError):
    """A manifest cannot be used. Its text has one `file:line: path: message` a line.

    Whatever a manifest says, nothing is in it that breaks a line, turns the text around it or speaks to a terminal.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(map(visible, lines))
        super().__init__("\n".join(self.lines))


def path_text(path: Path) -> str:
    """`("spec", "features", 3)` as `spec.features[3]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{shown(part)}" if text else shown(part)
    return text


def visible(text: str) -> str:
    """The text with a sign in the place of each character that is none."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "�" for c in text)


def shown(text: str, most: int = 80) -> str:
    """A manifest's text as messages have it: short, and visible."""
    return visible(text if len(text) <= most else text[: most - 3] + "…")


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?` for the nearest of `known`, or nothing."""
    near = get_close_matches(given[:100], [name for name in known if name != given], n=1, cutoff=0.7)
    return f'; did you mean "{near[0]}"?' if near else ""


def quoted(value: object) -> str:
    """A value of the manifest as a message shows it: short, on one line."""
    if isinstance(value, str):
        return f'"{shown(value)}"'
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    return repr(value)[:80]


def any_of(words: Iterable[str], last: str = "or") -> str:
    """`"a", "b" or "c"`."""
    names = [f'"{word}"' for word in words]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + f" {last} " + names[-1]


def or_else(given: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?` for the nearest of `known`, or all of them."""
    names = list(known)
    return did_you_mean(given, names) or f"; there are {any_of(names, 'and')}"
