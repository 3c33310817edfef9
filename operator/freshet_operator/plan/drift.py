"""Whether a live object holds everything that was asked for. What others added beside it is left alone."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

_KEYS = ("mountPath", "name", "uid", "topologyKey", "containerPort")
"""What members of a list are told apart by, where the API server merges lists by key."""
_QUANTITIES = frozenset({"requests", "limits", "sizeLimit"})
_QUANTITY = re.compile(r"([+-]?[0-9.]+)([eE][+-]?[0-9]+|[KMGTPE]i|[numkMGTPE]?)")
_SUFFIXES = {
    **{"": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal(1000)},
    **{suffix: Decimal(1000) ** (i + 2) for i, suffix in enumerate("MGTPE")},
    **{f"{suffix}i": Decimal(1024) ** (i + 1) for i, suffix in enumerate("KMGTPE")},
}


def contains(live: Any, wanted: Any, quantity: bool = False) -> bool:
    """Whether every field of `wanted` stands in `live` with this value.

    An empty value and a missing one are the same, as they are to the API server.
    """
    if wanted in ("", {}, [], None) and live in ("", {}, [], None):
        return True
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            contains(live.get(name), value, quantity or name in _QUANTITIES) for name, value in wanted.items()
        )
    if isinstance(wanted, (list, tuple)):
        return isinstance(live, list) and _contains_list(live, list(wanted), quantity)
    if quantity and not isinstance(wanted, bool) and live is not None:
        return _quantity(live) == _quantity(wanted)
    return bool(live == wanted) and isinstance(live, bool) == isinstance(wanted, bool)


def _contains_list(live: list[Any], wanted: list[Any], quantity: bool) -> bool:
    key = _key(wanted)
    if key is None:
        return len(live) == len(wanted) and all(
            contains(there, asked, quantity) for there, asked in zip(live, wanted, strict=True)
        )
    by_key = {one[key]: one for one in live if isinstance(one, dict) and key in one}
    return all(asked[key] in by_key and contains(by_key[asked[key]], asked, quantity) for asked in wanted)


def _key(wanted: list[Any]) -> str | None:
    for key in _KEYS:
        if wanted and all(isinstance(one, dict) and key in one for one in wanted):
            return key
    return None


def _quantity(value: Any) -> Decimal | str:
    """A number where it is one: 0.5 and 500m are the same."""
    found = _QUANTITY.fullmatch(str(value))
    if not found:
        return str(value)
    number, suffix = found.groups()
    if suffix in _SUFFIXES:
        return Decimal(number) * _SUFFIXES[suffix]
    return Decimal(number + suffix)
