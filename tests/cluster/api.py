"""A small synchronous client of an API server, for tests: it does what it is told and tells what it was answered."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import yaml

Object = dict[str, Any]

FIELD_MANAGER = "freshet-tests"

_KINDS = {
    "Namespace": ("api/v1", "namespaces"),
    "ConfigMap": ("api/v1", "configmaps"),
    "Event": ("api/v1", "events"),
    "Pod": ("api/v1", "pods"),
    "ResourceQuota": ("api/v1", "resourcequotas"),
    "Secret": ("api/v1", "secrets"),
    "ServiceAccount": ("api/v1", "serviceaccounts"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "ControllerRevision": ("apis/apps/v1", "controllerrevisions"),
    "Job": ("apis/batch/v1", "jobs"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "Role": ("apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "ClusterRole": ("apis/rbac.authorization.k8s.io/v1", "clusterroles"),
    "ClusterRoleBinding": ("apis/rbac.authorization.k8s.io/v1", "clusterrolebindings"),
    "CustomResourceDefinition": ("apis/apiextensions.k8s.io/v1", "customresourcedefinitions"),
    "FeatureSet": ("apis/freshet.dev/v1alpha1", "featuresets"),
    "Experiment": ("apis/freshet.dev/v1alpha1", "experiments"),
}
_CLUSTER_WIDE = {"Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


class ApiError(Exception):
    """The API server refused. `code` is the HTTP status, `reason` the Status object's."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message


def path_of(kind: str, namespace: str = "", name: str = "") -> str:
    """The path of an object or, without a name, of the collection."""
    group, plural = _KINDS[kind]
    place = "" if kind in _CLUSTER_WIDE or not namespace else f"/namespaces/{namespace}"
    return f"/{group}{place}/{plural}" + (f"/{name}" if name else "")


class Access:
    """How a kubeconfig's current context reaches its server: certificates or a token, in the file or beside it."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        if "exec" in user:
            raise ValueError(f"{kubeconfig} gets its token from a program; make one with a token or a certificate")
        self.server: str = cluster["server"]
        authority = _data(cluster, "certificate-authority")
        self.authority = authority.decode() if authority else None
        self.token: str | None = user.get("token")
        self._certificate = _data(user, "client-certificate"), _data(user, "client-key")

    def tls(self, *, as_user: bool) -> ssl.SSLContext:
        """For connections to the server; `as_user`: with the client certificate, where there is one."""
        context = ssl.create_default_context(cadata=self.authority)
        certificate, key = self._certificate
        if as_user and certificate and key:
            with tempfile.NamedTemporaryFile() as file:
                file.write(certificate + b"\n" + key)
                file.flush()
                context.load_cert_chain(file.name)
        return context


class Api:
    """The API server of a kubeconfig, as its user. Every method raises ApiError where the server refuses."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.access = Access(kubeconfig)
        token = {"Authorization": f"Bearer {self.access.token}"} if self.access.token else {}
        self._http = httpx.Client(
            base_url=self.access.server,
            verify=self.access.tls(as_user=True),
            headers=token,
            timeout=30,
            trust_env=False,
        )

    def close(self) -> None:
        """Ends the connections."""
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        media: str = "application/json",
        accept: str = "application/json",
        **query: str,
    ) -> Object:
        """One request. JSON is YAML, so one encoding serves every media type."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": media, "Accept": accept}
        answer = self._http.request(method, path, params=query or None, content=content, headers=headers)
        if answer.headers.get("Content-Type", "").startswith("text/plain"):  # an unknown path, a broken server
            raise ApiError(answer.status_code, "Text", answer.text)
        given: Object = answer.json()
        if answer.status_code >= 400:
            raise ApiError(answer.status_code, str(given.get("reason")), str(given.get("message")))
        return given

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object; None: there is none."""
        try:
            return self.request("GET", path_of(kind, namespace, name))
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def find(self, kind: str, namespace: str, name: str) -> Object:
        """The object, which must exist."""
        return self.request("GET", path_of(kind, namespace, name))

    def all(self, kind: str, namespace: str = "", selector: str = "") -> list[Object]:
        """The objects of a kind, each with its kind, which lists leave out."""
        query = f"?labelSelector={quote(selector)}" if selector else ""
        items = self.request("GET", path_of(kind, namespace) + query)["items"]
        return [{**item, "kind": kind} for item in items]

    def table(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        """What `kubectl get` shows: a row an object, column name to cell."""
        table = self.request("GET", path_of(kind, namespace), accept=_TABLE)
        columns = [column["name"] for column in table["columnDefinitions"]]
        return [dict(zip(columns, row["cells"], strict=True)) for row in table["rows"]]

    def create(self, obj: Object, **query: str) -> Object:
        """Makes an object."""
        return self.request("POST", path_of(obj["kind"], obj["metadata"].get("namespace", "")), obj, **query)

    def apply(self, obj: Object, manager: str = FIELD_MANAGER, *, force: bool = False, **query: str) -> Object:
        """Server-side apply."""
        meta = obj["metadata"]
        path = path_of(obj["kind"], meta.get("namespace", ""), meta["name"])
        choice = {"fieldManager": manager, "force": "true" if force else "false", **query}
        return self.request("PATCH", path, obj, "application/apply-patch+yaml", **choice)

    def patch(self, kind: str, namespace: str, name: str, change: Object, subresource: str = "") -> Object:
        """Merge patch, as `kubectl edit` and `kubectl patch --type merge` do."""
        path = path_of(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        return self.request("PATCH", path, change, "application/merge-patch+json", fieldManager=FIELD_MANAGER)

    def delete(self, kind: str, namespace: str, name: str, propagation: str = "Background") -> None:
        """Deletes an object; it may already be gone."""
        try:
            self.request("DELETE", path_of(kind, namespace, name), propagationPolicy=propagation)
        except ApiError as error:
            if error.code != 404:
                raise


def _named(items: list[Object], name: str) -> Object:
    return next(item for item in items if item["name"] == name)


def _data(given: Object, name: str) -> bytes | None:
    if f"{name}-data" in given:
        return base64.b64decode(given[f"{name}-data"])
    return Path(given[name]).read_bytes() if name in given else None
