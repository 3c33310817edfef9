"""The kinds that the operator reads and writes, and where the API server keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from freshet_operator.names import API_VERSION


@dataclass(frozen=True, slots=True)
class Kind:
    """One namespaced kind."""

    api_version: str
    kind: str
    plural: str

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """URL path; without a namespace that of all namespaces."""
        root = "/api/" if "/" not in self.api_version else "/apis/"
        parts = [root + self.api_version]
        if namespace is not None:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part is not None]
        return "/".join(parts)


FEATURESET = Kind(API_VERSION, "FeatureSet", "featuresets")
EXPERIMENT = Kind(API_VERSION, "Experiment", "experiments")
SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
POD_DISRUPTION_BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
NETWORK_POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
CONTROLLER_REVISION = Kind("apps/v1", "ControllerRevision", "controllerrevisions")
JOB = Kind("batch/v1", "Job", "jobs")
POD = Kind("v1", "Pod", "pods")
EVENT = Kind("v1", "Event", "events")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")

CHILDREN = (
    SERVICE_ACCOUNT,
    CONFIG_MAP,
    DEPLOYMENT,
    POD_DISRUPTION_BUDGET,
    NETWORK_POLICY,
    CONTROLLER_REVISION,
    JOB,
)
"""What a FeatureSet is made of; read, repaired and pruned by label."""

_ALL = {(kind.api_version, kind.kind): kind for kind in (*CHILDREN, FEATURESET, EXPERIMENT, POD, EVENT, LEASE)}


def kind_of(item: dict[str, Any]) -> Kind:
    """The kind of an object. Raises KeyError for one that the operator has no business with."""
    return _ALL[item["apiVersion"], item["kind"]]
