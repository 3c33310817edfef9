"""Writes the table of values in charts/README.md from the comments of values.yaml. Run it after a change of either."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHARTS = Path(__file__).resolve().parents[1]
README = CHARTS / "README.md"
BEGIN, END = "<!-- values -->", "<!-- end of values -->"


def _comments(lines: list[str]) -> dict[str, str]:
    """Path of a value → the `# --` line above it."""
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    said = ""
    for line in lines:
        if match := re.match(r"\s*# -- (.*)", line):
            said = match[1]
        elif match := re.match(r"(\s*)([A-Za-z]\w*):", line):
            path = [one for one in path if one[0] < len(match[1])] + [(len(match[1]), match[2])]
            if said:
                found[".".join(name for _, name in path)] = said
            said = ""
    return found


def _leaves(value: Any, path: str, comments: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """Values as a table shows them: a block of small things with a comment of its own is one."""
    if isinstance(value, dict) and value and path not in comments:
        for name, one in value.items():
            yield from _leaves(one, f"{path}.{name}".lstrip("."), comments)
    else:
        yield path, value


def table() -> str:
    """The table, in the order of values.yaml."""
    text = (CHARTS / "freshet" / "values.yaml").read_text()
    comments = _comments(text.splitlines())
    rows = ["| value | default | |", "| --- | --- | --- |"]
    for path, value in _leaves(yaml.safe_load(text), "", comments):
        shown = json.dumps(value, ensure_ascii=False).replace("|", "\\|")
        rows.append(f"| `{path}` | `{shown}` | {comments.get(path, '')} |")
    return "\n".join(rows)


def updated() -> str:
    """README.md with the current table."""
    text = README.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table()}\n{END}{tail}"


if __name__ == "__main__":
    README.write_text(updated())
