"""Renders the chart with the Helm 3 program and the Helm 4 engine, and finds one's way in the objects."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import yaml

CHART = Path(__file__).resolve().parents[1] / "freshet"
REPOSITORY = CHART.parents[1]
BIN = Path(sys.executable).parent
HELM = BIN / "helm"
RELEASE, NAMESPACE = "freshet", "fs"
KUBERNETES = "1.34.0"
MONITORING = "monitoring.coreos.com/v1"

Object = dict[str, Any]

VARIANTS: dict[str, tuple[Path, ...]] = {
    "dev": (CHART / "values-dev.yaml",),
    **{path.stem.removesuffix("-values"): (path,) for path in sorted((CHART / "ci").glob("*.yaml"))},
}
VARIANTS["rig"] = (CHART / "values-dev.yaml", CHART / "ci" / "rig-values.yaml")


def values_of(variant: str) -> Object:
    """The values of one variant, files merged as Helm does."""
    return functools.reduce(_merged, (yaml.safe_load(path.read_text()) for path in VARIANTS[variant]), {})


def _merged(low: Object, high: Object) -> Object:
    result = dict(low)
    for key, value in high.items():
        both = isinstance(value, dict) and isinstance(low.get(key), dict)
        result[key] = _merged(low[key], value) if both else value
    return result


def run(*arguments: str, given: str | None = None, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Ends with the output, whatever the exit code."""
    return subprocess.run(arguments, input=given, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def helm3(values: Object, *options: str, command: tuple[str, ...] = ("template", RELEASE)) -> str:
    """What `helm template` (or another command) of Helm 3 prints. Raises AssertionError with its complaint."""
    done = run(str(HELM), *command, str(CHART), "-n", NAMESPACE, "-f", "-", *options, given=json.dumps(values))
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def helm4(values: Object) -> str:
    """What the Helm 4 engine renders, without NOTES."""
    with helm_python.Chart.load(CHART) as chart:
        found = chart.render(values, name=RELEASE, namespace=NAMESPACE)
    return "\n---\n".join(text for path, text in sorted(found.items()) if not path.endswith("NOTES.txt"))


def notes_of(values: Object) -> str:
    """What an install prints at its end; no monitoring API, no Secret in the cluster."""
    with helm_python.Chart.load(CHART) as chart:
        found = chart.render(values, name=RELEASE, namespace=NAMESPACE)
    (text,) = (text for path, text in found.items() if path.endswith("NOTES.txt"))
    return text


@functools.cache
def _rendered(variant: str, monitoring: bool) -> tuple[Object, ...]:
    values = values_of(variant)
    options = ["--kube-version", KUBERNETES]
    if monitoring:
        options += ["--api-versions", MONITORING]
    return tuple(documents(helm3(values, *options)))


def rendered(variant: str, monitoring: bool = True) -> tuple[Object, ...]:
    """The objects of one variant by Helm 3; not to be changed."""
    return _rendered(variant, monitoring)


class _Strict(yaml.CSafeLoader):
    """A key given twice is an error: YAML would silently take the last."""


def _mapping(loader: _Strict, node: yaml.MappingNode) -> Object:
    keys = [loader.construct_object(key) for key, _ in node.value]
    assert len(keys) == len(set(keys)), f"keys given twice at {node.start_mark}: {keys}"
    return loader.construct_mapping(node, deep=True)


_Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def documents(text: str) -> Iterator[Object]:
    """The objects in rendered YAML."""
    for item in yaml.load_all(text, Loader=_Strict):
        if item:
            yield item


def name_of(item: Object) -> str:
    """Kind and name, for messages and keys."""
    meta = item["metadata"]
    return f"{item['kind']} {meta.get('namespace', '')}/{meta['name']}"


def of_kind(objects: tuple[Object, ...], *kinds: str) -> list[Object]:
    """Those of these kinds."""
    return [item for item in objects if item["kind"] in kinds]


def one(objects: tuple[Object, ...], kind: str, name: str) -> Object:
    """The one of this kind and name."""
    (found,) = (item for item in objects if item["kind"] == kind and item["metadata"]["name"] == name)
    return found


def pods(objects: tuple[Object, ...]) -> list[tuple[str, Object, Object]]:
    """Name, metadata and spec of every pod that the objects make."""
    found = []
    for item in objects:
        if item["kind"] == "Pod":
            found.append((name_of(item), item["metadata"], item["spec"]))
        elif item["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
            template = item["spec"]["template"]
            found.append((name_of(item), template["metadata"], template["spec"]))
    return found


def containers(spec: Object) -> list[Object]:
    """All containers of a pod."""
    return [*spec.get("initContainers", []), *spec["containers"]]


def environment(objects: tuple[Object, ...], deployment: str) -> Object:
    """Variable → value (or its source) of a Deployment's container."""
    (container,) = one(objects, "Deployment", deployment)["spec"]["template"]["spec"]["containers"]
    return {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in container["env"]}
