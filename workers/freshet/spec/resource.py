"""A manifest as plain data: from a file's text, or from a cluster's API with all that the API adds to it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from freshet.spec.compile import Missing, compile_manifest
from freshet.spec.complaints import problems_of, without
from freshet.spec.definition import FeatureSet
from freshet.spec.document import MOST_BYTES, MOST_DEPTH, MOST_VALUES, NOT_ALLOWED, describe, is_readable
from freshet.spec.manifest import API_VERSION, Manifest
from freshet.spec.problems import ManifestError, Path, Problem, quoted

HISTORY = "history"
"""The field of a FeatureSet's spec that only the recorder reads."""

DEPLOYMENT = ("processor", "rollout", HISTORY, "drift", "deletionPolicy", "suspend")
"""Fields of a FeatureSet's spec that say how it is run: the operator's, and no processor reads them."""


def featureset_of(resource: Mapping[str, Any]) -> FeatureSet:
    """The feature set that an API object of kind FeatureSet means.

    Of `metadata` only name and namespace count; `status` and what the API server keeps for itself are not looked at.
    Raises ManifestError with one `path: message` a line for every problem, as a file would but without its lines.
    """
    data = plain_resource(resource)
    problems = list(_unusable(data, resource))
    featureset = None
    if not problems:
        featureset, problems = compile_data(data)
    if featureset is None:
        raise ManifestError(lines_of(problems))
    return featureset


def reduced(resource: Mapping[str, Any], keep: Collection[str] = ()) -> dict[str, Any]:
    """The part of a FeatureSet that processors read, with sorted names, and of the rest what is to be kept.

    Two resources whose reduced manifests are equal mean the same to every processor. Nothing is checked.
    """
    data = plain_resource(resource)
    spec = data.get("spec")
    if isinstance(spec, dict):
        data["spec"] = {name: value for name, value in spec.items() if name not in DEPLOYMENT or name in keep}
    return data


def plain_resource(resource: Mapping[str, Any]) -> dict[str, Any]:
    """apiVersion, kind, name, namespace and spec, copied; names sorted, as the API server has them."""
    found = {part: _plain(resource[part]) for part in ("apiVersion", "kind", "metadata", "spec") if part in resource}
    if isinstance(found.get("metadata"), dict):
        found["metadata"] = {
            name: found["metadata"][name] for name in ("name", "namespace") if name in found["metadata"]
        }
    return found


def lines_of(problems: list[Problem]) -> list[str]:
    """`spec.features[3].of: message` for each problem, each once."""
    return list(dict.fromkeys(describe(problem.path, problem.message) for problem in problems))


def unreadable(data: Any) -> Iterator[Problem]:
    """What a file could not have said either: workers read resources as files."""
    count = 0
    for path, value in _texts(data):
        count += 1
        if isinstance(value, str) and not is_readable(value):
            yield Problem(path, NOT_ALLOWED)
    if count > MOST_VALUES:
        yield Problem((), f"has more than {MOST_VALUES} values")


def _unusable(data: dict[str, Any], resource: Mapping[str, Any]) -> Iterator[Problem]:
    yield from unreadable(data)
    size = len(json.dumps(reduced(resource)))
    if size > MOST_BYTES:
        yield Problem(("spec",), f"is {size // 1024} KiB large; at most {MOST_BYTES // 1024} KiB are allowed")


def _texts(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every name and value, with its place."""
    yield path, value
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (*path, name), name
            yield from _texts(inner, (*path, name))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _texts(inner, (*path, i))


def _plain(value: Any, depth: int = 0) -> Any:
    if isinstance(value, (Mapping, list, tuple)) and depth > MOST_DEPTH:
        return None  # no field is so deep: what holds it is refused, and nobody has to walk further down
    if isinstance(value, Mapping):
        return {name: _plain(value[name], depth + 1) for name in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**19:
        # The API writes 1e20 with all its digits. A file's reader takes that for a float: so does this one.
        return float(value) if abs(value) < 10**308 else 1e308
    return value


def compile_data(data: Any) -> tuple[FeatureSet | None, list[Problem]]:
    """The feature set of a document's data, or every problem that was found."""
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
