"""Manifests from files: all problems of all files at once, each with its line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from freshet.spec.compile import Missing, compile_manifest
from freshet.spec.complaints import problems_of, without
from freshet.spec.definition import FeatureSet
from freshet.spec.document import MOST_BYTES, Document, DocumentError, describe, read_documents
from freshet.spec.manifest import API_VERSION, Manifest
from freshet.spec.problems import ManifestError, Path, Problem, quoted

SUFFIXES = (".yaml", ".yml", ".json")
"""Files that are read when a folder is given."""


def load_featuresets(paths: Sequence[FilePath]) -> list[FeatureSet]:
    """The feature sets of the files and folders, in order.

    Raises ManifestError with one `file:line: path: message` a line for every problem of every file.
    """
    lines: list[str] = []
    found: list[FeatureSet] = []
    places: dict[str, str] = {}
    for file in _files(paths, lines):
        text = _read(file, lines)
        if text is None:
            continue
        sets, wrong = _compile_text(text, str(file))
        lines += wrong
        for featureset, line in sets:
            place = f"{file}:{line}"
            other = places.setdefault(featureset.name, place)
            if other != place:
                lines.append(f"{place}: metadata.name: {quoted(featureset.name)} is also the name of {other}")
            found.append(featureset)
    if not lines and not found:
        lines.append(f"no FeatureSet in {', '.join(map(str, paths)) or 'no file'}")
    if lines:
        raise ManifestError(lines)
    return found


def parse_featureset(text: str, file: str = "<text>") -> FeatureSet:
    """The one feature set of a text. Raises ManifestError; `file` names the text in messages."""
    sets, lines = _compile_text(text, file)
    if not lines and len(sets) != 1:
        lines.append(f"{file}:1: must hold one FeatureSet, not {len(sets)}")
    if lines:
        raise ManifestError(lines)
    return sets[0][0]


def _files(paths: Sequence[FilePath], lines: list[str]) -> Iterator[FilePath]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
        if not inside:
            lines.append(f"{path}: the folder has no file that ends in {', '.join(SUFFIXES)}")
        yield from inside


def _read(file: FilePath, lines: list[str]) -> str | None:
    try:
        with file.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        lines.append(f"{file}: cannot be read: {reason}")
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(content) > MOST_BYTES:
            lines.append(f"{file}:1: the file is larger than {MOST_BYTES // 1024} KiB")
        else:
            lines.append(f"{file}:{content.count(10, 0, error.start) + 1}: is not UTF-8")
        return None


def _compile_text(text: str, file: str) -> tuple[list[tuple[FeatureSet, int]], list[str]]:
    """The feature sets with their lines, and the problems."""
    try:
        documents = read_documents(text)
    except DocumentError as error:
        return [], [f"{file}:{error.line}: {error}"]
    sets: list[tuple[FeatureSet, int]] = []
    lines: list[str] = []
    for document in documents:
        featureset, problems = _compile_document(document)
        placed = {(document.line_of(problem.path), describe(problem.path, problem.message)) for problem in problems}
        lines += [f"{file}:{line}: {message}" for line, message in sorted(placed)]
        if featureset:
            sets.append((featureset, document.line_of(("metadata", "name"))))
    if not documents:
        lines.append(f"{file}:1: is empty; it must hold a FeatureSet")
    return sets, lines


def _compile_document(document: Document) -> tuple[FeatureSet | None, list[Problem]]:
    data = document.data
    unusable = _kind(data)
    if unusable:
        return None, [unusable]
    try:
        return compile_manifest(Manifest.model_validate(data))
    except ValidationError as error:
        problems = problems_of(error, Manifest)
    rest = without(data, [problem.path for problem in problems])
    try:
        manifest = Manifest.model_validate(rest)
    except ValidationError:
        return None, problems
    _, more = compile_manifest(manifest, _missing(data, [problem.path for problem in problems]))
    return None, problems + more


def _kind(data: Any) -> Problem | None:
    """What keeps a document from being read as a FeatureSet at all."""
    if not isinstance(data, dict):
        return Problem((), f"must be a mapping with apiVersion, kind, metadata and spec, got {quoted(data)}")
    if data.get("apiVersion") != API_VERSION:
        return Problem(("apiVersion",), f'must be "{API_VERSION}", got {quoted(data.get("apiVersion"))}')
    kind = data.get("kind")
    if kind == "Experiment":
        return Problem(("kind",), "Experiment is not implemented by this version of Freshet; it has FeatureSet")
    if kind != "FeatureSet":
        return Problem(("kind",), f'must be "FeatureSet", got {quoted(kind)}')
    return None


def _missing(data: Any, paths: list[Path]) -> Missing:
    """What `without` has left out. `data` has the shape that the paths say, because they were found in it."""
    features = data["spec"]["features"]
    places = {path[2] for path in paths if path[:2] == ("spec", "features") and len(path) > 2}
    fields = {path[3] for path in paths if path[:3] == ("spec", "source", "fields") and len(path) > 3}
    names = (features[i].get("name") for i in places if isinstance(i, int) and isinstance(features[i], dict))
    return Missing(
        features=frozenset(name for name in names if isinstance(name, str)),
        fields=frozenset(name for name in fields if isinstance(name, str)),
        indices=tuple(i for i in range(len(features)) if i not in places),
    )
