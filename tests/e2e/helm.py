"""The chart as a release: install, change, roll back, remove."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.cluster import Kubectl, run

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "freshet"
_OWNER = "meta.helm.sh/release-name"
CRDS = ("featuresets.freshet.dev", "experiments.freshet.dev")


def program() -> str:
    """E2E_HELM, the one that `make setup` brings for the chart's checks, or the one on the PATH."""
    own = ROOT / ".venv-charts" / "bin" / "helm"
    return os.environ.get("E2E_HELM") or (str(own) if own.exists() else shutil.which("helm") or "helm")


@dataclass(frozen=True)
class Release:
    """A release of charts/freshet."""

    kubectl: Kubectl
    namespace: str
    tag: str
    watch: tuple[str, ...] = ()
    """Namespaces that the operator looks at; empty: all."""
    name: str = "freshet"
    helm: str = field(default_factory=program)

    def __call__(self, *arguments: str, seconds: float = 420) -> str:
        """helm's standard output. Raises Refused."""
        return run(self.helm, "--namespace", self.namespace, *arguments, seconds=seconds)

    def install(self, *values: str, tag: str | None = None) -> str:
        """`helm upgrade --install` with the values for development, those of E2E_VALUES, and `key=value` last."""
        options = ["--install", "--create-namespace", "--wait", "--timeout", "6m"]
        return self("upgrade", self.name, str(CHART), *options, *self._values(), *self._set(tag, values))

    def upgrade(self, *values: str, tag: str | None = None, wait: bool = True, given: tuple[str, ...] = ()) -> str:
        """The same on what is there, and options of helm; values of earlier upgrades are forgotten."""
        options = ["--wait", "--timeout", "6m", *given] if wait else list(given)
        return self("upgrade", self.name, str(CHART), *options, *self._values(), *self._set(tag, values))

    def is_deployed(self) -> bool:
        """Whether there is such a release, and not one that was broken off."""
        return self.name in self("list", "--deployed", "--short").split()

    def uninstall(self) -> None:
        """Removes the release, and waits until its objects are gone."""
        self("uninstall", self.name, "--wait", "--timeout", "5m", "--ignore-not-found")

    def _values(self) -> list[str]:
        files = [CHART / "values-dev.yaml", ROOT / "tests" / "e2e" / "values.yaml"]
        files += [ROOT / given for given in os.environ.get("E2E_VALUES", "").split(",") if given]
        return [part for file in files for part in ("-f", str(file))]

    def _set(self, tag: str | None, values: tuple[str, ...]) -> list[str]:
        given = [f"image.tag={tag or self.tag}", f"crds.install={str(self._owns_crds()).lower()}", *values]
        if self.watch:
            given.append(f"operator.watchNamespaces={{{','.join(self.watch)}}}")
        return [part for value in given for part in ("--set", value)]

    def _owns_crds(self) -> bool:
        """Whether the CRDs are this release's. Those that were applied by hand become so; another release's do not."""
        for crd in CRDS:
            found = self.kubectl.get("crd", "default", crd)
            if found is None:
                continue
            meta = found["metadata"].get("annotations") or {}
            owner = meta.get("meta.helm.sh/release-namespace", self.namespace), meta.get(_OWNER, self.name)
            if owner != (self.namespace, self.name):
                return False
            ours = [f"{_OWNER}={self.name}", f"meta.helm.sh/release-namespace={self.namespace}"]
            self.kubectl("annotate", "--overwrite", "crd", crd, *ours)
            self.kubectl("label", "--overwrite", "crd", crd, "app.kubernetes.io/managed-by=Helm")
        return True
