"""Bad manifests: each is a good one with a change, and the message that `kubectl apply` shows.

`bad/*.yaml` hold lists of cases. `change` is a JSON merge patch of the good manifest; `was`, where it stands, is one
too: the manifest is then created so and changed afterwards, for rules about changes.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

HERE = Path(__file__).parent

FEATURESET: Object = {
    "apiVersion": "freshet.dev/v1alpha1",
    "kind": "FeatureSet",
    "metadata": {"name": "demo"},
    "spec": {
        "version": "v1",
        "entity": {"name": "user", "key": "user_id"},
        "source": {
            "retention": "9d",
            "fields": {"amount": {"type": "double", "minimum": 0}, "event_type": {"type": "string"}},
        },
        "features": [
            {"name": "n", "aggregate": "count", "windows": ["1h", "24h"]},
            {"name": "total", "aggregate": "sum", "of": "amount", "where": "event_type = 'buy'"},
            {"name": "ratio", "expression": "total / nullif(n_1h, 0)", "default": 0},
        ],
        "output": {},
    },
}

EXPERIMENT: Object = {
    "apiVersion": "freshet.dev/v1alpha1",
    "kind": "Experiment",
    "metadata": {"name": "demo"},
    "spec": {
        "featureSet": "demo",
        "unit": "user",
        "variants": [{"name": "A", "version": "v1", "control": True}, {"name": "B", "version": "v2"}],
        "metrics": [{"name": "spend", "aggregate": "sum", "of": "amount"}],
    },
}


@dataclass(frozen=True)
class Case:
    """One bad manifest."""

    manifest: Object
    before: Object | None
    """What it was before; None: it is new."""
    says: str
    """The API server's message after the object's name."""

    def __str__(self) -> str:
        return self.says[:80]


def cases(file: str) -> list[Case]:
    """The cases of `bad/<file>.yaml`."""
    good = EXPERIMENT if file == "experiments" else FEATURESET
    found = []
    for given in yaml.safe_load((HERE / f"{file}.yaml").read_text(encoding="utf-8")):
        before = merged(good, given["was"]) if "was" in given else None
        found.append(Case(merged(before or good, given["change"]), before, given["says"]))
    return found


def merged(value: Any, change: Any) -> Any:
    """A JSON merge patch (RFC 7386): null removes."""
    if not isinstance(change, dict):
        return copy.deepcopy(change)
    result = copy.deepcopy(value) if isinstance(value, dict) else {}
    for name, inner in change.items():
        if inner is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), inner)
    return result
