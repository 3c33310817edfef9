"""Who the operator is in tests: a ServiceAccount with exactly the rights of the contract, and a kubeconfig of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.cluster.api import Api, Object, path_of
from tests.cluster.snapshot import SERVING_CONFIG

ACCOUNT = "freshet-operator"
_TOKEN_SECONDS = 4 * 3600
_RULES = Path(__file__).parents[2] / "charts" / "freshet" / "templates" / "operator" / "_rules.tpl"


def watched_rules() -> list[Object]:
    """The rights in every watched namespace: the chart's own list, which has no template expressions inside."""
    lines = _RULES.read_text().splitlines()
    rules: list[Object] = yaml.safe_load("\n".join(line for line in lines if not line.startswith("{{")))
    return rules


def own_rules(lease: str, serving_config: str) -> list[Object]:
    """The rights in the operator's own namespace, as the chart's Role has them."""
    leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    maps = {"apiGroups": [""], "resources": ["configmaps"]}
    return [
        {**leases, "verbs": ["get", "update", "patch"], "resourceNames": [lease]},
        {**leases, "verbs": ["create"]},
        {**maps, "verbs": ["get", "list", "watch", "patch", "delete"], "resourceNames": [serving_config]},
        {**maps, "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    ]


def make_identity(api: Api, namespace: str, lease: str, watched: tuple[str, ...], cluster_wide: bool = False) -> str:
    """Makes the ServiceAccount and its rights; returns a token for it.

    `cluster_wide`: the watched namespaces' rights come from a ClusterRole, which outlives a namespace.
    """
    account = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}
    meta = {"name": ACCOUNT, "namespace": namespace}
    api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
    _bind(api, "Role", meta, own_rules(lease, SERVING_CONFIG), account)
    if cluster_wide:
        _bind(api, "ClusterRole", {"name": cluster_role(namespace)}, watched_rules(), account)
    for other in () if cluster_wide else watched:
        _bind(api, "Role", {"name": f"{ACCOUNT}-featuresets", "namespace": other}, watched_rules(), account)
    path = f"{path_of('ServiceAccount', namespace, ACCOUNT)}/token"
    wish = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": _TOKEN_SECONDS},
    }
    token: str = api.request("POST", path, wish)["status"]["token"]
    return token


def cluster_role(namespace: str) -> str:
    """Name of the ClusterRole and its binding."""
    return f"freshet-tests-{namespace}"


def drop_identity(api: Api, namespace: str) -> None:
    """Removes what a namespace's deletion leaves behind."""
    for kind in ("ClusterRoleBinding", "ClusterRole"):
        api.delete(kind, "", cluster_role(namespace))


def write_kubeconfig(path: Path, server: str, token: str, namespace: str) -> Path:
    """A kubeconfig that reaches `server` (a proxy, which does the TLS) with a token."""
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "proxy", "cluster": {"server": server}}],
        "users": [{"name": ACCOUNT, "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "proxy", "user": ACCOUNT, "namespace": namespace}}],
        "current-context": "test",
    }
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return path


def _bind(api: Api, kind: str, meta: Object, rules: list[Object], account: Object) -> None:
    version = "rbac.authorization.k8s.io/v1"
    api.create({"apiVersion": version, "kind": kind, "metadata": meta, "rules": rules})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": meta["name"]}
    binding = {"apiVersion": version, "kind": f"{kind}Binding", "metadata": meta}
    api.create({**binding, "roleRef": role, "subjects": [account]})
