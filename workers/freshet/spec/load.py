"""Manifests from files: all problems of all files at once, each with its line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path as FilePath

from freshet.spec.definition import FeatureSet
from freshet.spec.document import MOST_BYTES, Document, DocumentError, describe, read_documents
from freshet.spec.experiment import Experiment, check_experiment
from freshet.spec.problems import ManifestError, Problem, quoted
from freshet.spec.resource import compile_data

SUFFIXES = (".yaml", ".yml", ".json")
"""Files that are read when a folder is given."""


def load_featuresets(paths: Sequence[FilePath]) -> list[FeatureSet]:
    """The feature sets of the files and folders, in order; an experiment among them is a problem.

    Raises ManifestError with one `file:line: path: message` a line for every problem of every file.
    """
    lines: list[str] = []
    found, _ = _load(paths, lines, experiments=False)
    if not lines and not found:
        lines.append(f"no FeatureSet in {', '.join(map(str, paths)) or 'no file'}")
    if lines:
        raise ManifestError(lines)
    return found


def load_manifests(paths: Sequence[FilePath]) -> tuple[list[FeatureSet], list[Experiment]]:
    """The feature sets and the experiments of the files and folders, to check them; raises as `load_featuresets`."""
    lines: list[str] = []
    featuresets, experiments = _load(paths, lines, experiments=True)
    if not lines and not featuresets and not experiments:
        lines.append(f"no FeatureSet or Experiment in {', '.join(map(str, paths)) or 'no file'}")
    if lines:
        raise ManifestError(lines)
    return featuresets, experiments


def parse_featureset(text: str, file: str = "<text>") -> FeatureSet:
    """The one feature set of a text. Raises ManifestError; `file` names the text in messages."""
    found, lines = _compile_text(text, file, experiments=False)
    sets = [manifest for manifest, _ in found if isinstance(manifest, FeatureSet)]
    if not lines and len(sets) != 1:
        lines.append(f"{file}:1: must hold one FeatureSet, not {len(sets)}")
    if lines:
        raise ManifestError(lines)
    return sets[0]


def _load(paths: Sequence[FilePath], lines: list[str], experiments: bool) -> tuple[list[FeatureSet], list[Experiment]]:
    """What the files hold; their problems go to `lines`."""
    featuresets: list[FeatureSet] = []
    tests: list[Experiment] = []
    places: dict[tuple[str, str], str] = {}
    for file in _files(paths, lines):
        text = _read(file, lines)
        if text is None:
            continue
        found, wrong = _compile_text(text, str(file), experiments)
        lines += wrong
        for manifest, line in found:
            name = manifest.name if isinstance(manifest, FeatureSet) else manifest.metadata.name
            place = f"{file}:{line}"
            other = places.setdefault((type(manifest).__name__, name), place)
            if other != place:
                lines.append(f"{place}: metadata.name: {quoted(name)} is also the name of {other}")
            if isinstance(manifest, FeatureSet):
                featuresets.append(manifest)
            else:
                tests.append(manifest)
    return featuresets, tests


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


def _compile_text(
    text: str, file: str, experiments: bool
) -> tuple[list[tuple[FeatureSet | Experiment, int]], list[str]]:
    """The manifests with their lines, and the problems."""
    try:
        documents = read_documents(text)
    except DocumentError as error:
        return [], [f"{file}:{error.line}: {error}"]
    found: list[tuple[FeatureSet | Experiment, int]] = []
    lines: list[str] = []
    for document in documents:
        manifest, problems = _compile_document(document, experiments)
        placed = {(document.line_of(problem.path), describe(problem.path, problem.message)) for problem in problems}
        lines += [f"{file}:{line}: {message}" for line, message in sorted(placed)]
        if manifest:
            found.append((manifest, document.line_of(("metadata", "name"))))
    if not documents:
        lines.append(f"{file}:1: is empty; it must hold a FeatureSet")
    return found, lines


def _compile_document(document: Document, experiments: bool) -> tuple[FeatureSet | Experiment | None, list[Problem]]:
    if experiments and isinstance(document.data, dict) and document.data.get("kind") == "Experiment":
        return check_experiment(document.data)
    return compile_data(document.data)
