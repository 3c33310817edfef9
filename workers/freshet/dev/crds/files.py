"""The CRDs as files."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import BaseModel

from freshet.dev.crds.rules import ROOT_RULES
from freshet.dev.crds.schema import spec_schema
from freshet.dev.crds.status import (
    EXPERIMENT_COLUMNS,
    FEATURESET_COLUMNS,
    experiment_status,
    featureset_status,
)
from freshet.spec.experiment import Experiment
from freshet.spec.manifest import Manifest

FOLDERS = ("crds", "charts/freshet/files/crds")
"""In the working tree; the chart has its own copies because Helm packs only what is inside it."""

HEADER = "# Made by `make crds` from the models in freshet.spec: do not edit.\n"


def crd_files() -> dict[str, str]:
    """Text of every generated file, by its path in the working tree."""
    made = {f"{crd['metadata']['name']}.yaml": _yaml(crd) for crd in crds()}
    return {f"{folder}/{name}": text for folder in FOLDERS for name, text in made.items()}


def crds() -> list[dict[str, Any]]:
    """The CustomResourceDefinitions of this version."""
    return [
        _crd(Manifest, "FeatureSet", "fs", featureset_status(), FEATURESET_COLUMNS),
        _crd(Experiment, "Experiment", "exp", experiment_status(), EXPERIMENT_COLUMNS),
    ]


def _crd(
    model: type[BaseModel], kind: str, short: str, status: dict[str, Any], columns: list[dict[str, Any]]
) -> dict[str, Any]:
    plural = f"{kind.lower()}s"
    schema = {
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec_schema(model),
            "status": status,
        },
        "x-kubernetes-validations": [rule.schema() for rule in ROOT_RULES],
    }
    version = {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.freshet.dev"},
        "spec": {
            "group": "freshet.dev",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": ["freshet"],
            },
            "scope": "Namespaced",
            "versions": [version],
        },
    }


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """Shared parts are written out: an alias would surprise readers and tools."""
        return True


def _yaml(crd: dict[str, Any]) -> str:
    body: str = yaml.dump(crd, Dumper=_Dumper, sort_keys=False, width=116, allow_unicode=True)
    return HEADER + body
