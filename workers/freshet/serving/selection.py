"""What a request asks for: which features of which FeatureSets, under which names.

A selection is made once for a query string and remembered: a model asks the same question all day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl

from freshet.serving.catalogue import Catalogue, Served
from freshet.serving.problems import Problem, invalid, near, shown, unknown

PARAMETERS = ("entity", "featureset", "version", "features", "bounds")
MAX_QUERY_BYTES = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The features of one FeatureSet in a selection."""

    served: Served
    names: tuple[str, ...]
    labels: tuple[str, ...]
    """How each is named in the answer: its own name, or `featureset.name` if another FeatureSet has it too."""


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """A checked question, for any entity. Compared by identity: equal questions share one object."""

    key: str
    """Name of the entity's key in the answer, for example `user_id`."""
    parts: tuple[Part, ...]
    bounds: bool
    """Whether the answer says which window bounds were used."""


class Selector:
    """Makes selections from query strings and from fields of a body."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.from_query = lru_cache(1024)(self._from_query)
        """(query string, feature in the path or None) → Selection. Raises Problem."""
        self._known = lru_cache(1024)(self._select)

    def _from_query(self, query: bytes, feature: str | None) -> Selection:
        fields = parse_query(query)
        names = fields.get("features")
        if feature is not None and names is not None:
            raise invalid("bad_parameter", "features: the path names one feature already; leave the parameter out")
        wanted = [feature] if feature is not None else None if names is None else names.split(",")
        bounds = _flag("bounds", fields.get("bounds", "false"))
        return self.select(fields, wanted, bounds)

    def select(self, fields: Mapping[str, str], features: Sequence[str] | None, bounds: bool) -> Selection:
        """The question of `entity`, `featureset`, `version` (in `fields`) and a list of features (None: all).

        Raises Problem: 404 for unknown names, 400 for a feature name that several FeatureSets have.
        """
        kind, name, version = (fields.get(field) for field in ("entity", "featureset", "version"))
        given = None if features is None else tuple(features)
        # A list that is long may have been made up: it is not worth its place.
        select = self._known if given is None or sum(map(len, given)) <= MAX_QUERY_BYTES else self._select
        return select(kind, name, version, given, bounds)

    def _select(
        self, kind: str | None, name: str | None, version: str | None, features: Sequence[str] | None, bounds: bool
    ) -> Selection:
        group = self._group(kind, name, version)
        names = _labels(group)
        if features is None:
            chosen: Iterable[str] = names
        else:
            chosen = dict.fromkeys(_resolve(given.strip(), names, group) for given in features)
        picked: dict[Served, list[str]] = {}
        for label in chosen:
            picked.setdefault(names[label][0], []).append(label)
        parts = tuple(
            Part(served, tuple(names[label][1] for label in labels), tuple(labels)) for served, labels in picked.items()
        )
        if not parts:
            raise invalid("bad_parameter", "features: the list is empty; name at least one or leave it out")
        return Selection(group[0].definition.key, parts, bounds)

    def _group(self, kind: str | None, name: str | None, version: str | None) -> tuple[Served, ...]:
        if name is not None:
            served = self._catalogue.find(name, version)
            if kind is not None and kind != served.definition.entity:
                where = f" in the FeatureSet {served.name!r}"
                raise unknown("entity kind", kind, [served.definition.entity], where)
            return (served,)
        group = self._catalogue.kind(kind)
        return group if version is None else self._catalogue.with_version(group, version)


def parse_query(query: bytes) -> dict[str, str]:
    """The parameters of a query string. Raises Problem (400, 414) for others than `PARAMETERS`, repeats, bad UTF-8."""
    if len(query) > MAX_QUERY_BYTES:
        raise Problem(
            414, "query_too_long", f"the query string has {len(query)} bytes, at most {MAX_QUERY_BYTES} are allowed"
        )
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise invalid("bad_query", "the query string is not percent-encoded UTF-8 of at most 100 fields") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in PARAMETERS:
            message = f"no query parameter {shown(name)}; there is {', '.join(PARAMETERS)}"
            raise Problem(400, "unknown_parameter", message, near(name, PARAMETERS))
        if name in found:
            raise invalid("bad_parameter", f"{name}: given twice; give it once")
        found[name] = value
    return found


def _flag(name: str, value: str) -> bool:
    if value.lower() in ("true", "1", ""):
        return True
    if value.lower() in ("false", "0"):
        return False
    raise invalid("bad_parameter", f"{name}: {shown(value)} is neither true nor false")


def _labels(group: Sequence[Served]) -> dict[str, tuple[Served, str]]:
    """Every feature of the group by the name that the answer gives it."""
    owners: dict[str, int] = {}
    for served in group:
        for name in served.features:
            owners[name] = owners.get(name, 0) + 1
    return {
        name if owners[name] == 1 else f"{served.name}.{name}": (served, name)
        for served in group
        for name in served.features
    }


def _resolve(given: str, names: Mapping[str, tuple[Served, str]], group: Sequence[Served]) -> str:
    """The label that a request means. `featureset.name` is understood also where `name` would do."""
    if given in names:
        return given
    full = [f"{served.name}.{name}" for served in group for name in served.features if name == given]
    if full:
        message = f"several FeatureSets have a feature {shown(given)}: say {' or '.join(full)}"
        raise Problem(400, "ambiguous_feature", message, tuple(full))
    for label, (served, name) in names.items():
        if given == f"{served.name}.{name}":
            return label
    raise unknown("feature", given, names)
