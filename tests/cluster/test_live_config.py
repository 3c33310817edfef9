"""Following the ConfigMap over a real API server, with TLS and exactly the rights that the chart gives a worker."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from freshet.runtime.live.kubernetes import ApiError, ApiServer, ConfigMapApi
from freshet.runtime.live.payload import KEY
from freshet.runtime.live.source import LiveConfig
from tests.cluster.api import Api, path_of
from tests.fake_kubernetes import manifest, packed
from tests.unit.serving.build import ACTIVITY, CARDS

NAME, ACCOUNT = "freshet-featuresets", "worker"


@pytest.fixture
def server(kube: Api, kube_namespace: str, tmp_path: Path) -> ApiServer:
    """The API server as a pod of this ServiceAccount sees it."""
    meta = {"name": ACCOUNT, "namespace": kube_namespace}
    rules = [
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [NAME], "verbs": ["get", "list", "watch"]}
    ]
    rbac = "rbac.authorization.k8s.io"
    kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
    kube.create({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": meta, "rules": rules})
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": kube_namespace}
    role = {"apiGroup": rbac, "kind": "Role", "name": ACCOUNT}
    binding = {"apiVersion": f"{rbac}/v1", "kind": "RoleBinding", "metadata": meta}
    kube.create({**binding, "roleRef": role, "subjects": [subject]})
    wish = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    token = kube.request("POST", f"{path_of('ServiceAccount', kube_namespace, ACCOUNT)}/token", wish)
    (tmp_path / "token").write_text(token["status"]["token"])
    assert kube.access.authority is not None
    (tmp_path / "ca.crt").write_text(kube.access.authority)
    url = urlsplit(kube.access.server)
    assert url.hostname is not None
    return ApiServer(url.hostname, url.port or 443, tmp_path)


def write(kube: Api, namespace: str, content: bytes) -> None:
    data = {KEY: base64.b64encode(content).decode()}
    meta = {"name": NAME, "namespace": namespace}
    kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "binaryData": data}, force=True)


def test_a_config_map_that_comes_changes_and_goes(kube: Api, kube_namespace: str, server: ApiServer) -> None:
    live = LiveConfig(lambda featuresets: {}, "default", None, ConfigMapApi(server, kube_namespace, NAME))
    live.start()

    def until(hash: str | None, error: str, seconds: float = 5) -> None:
        deadline = time.monotonic() + seconds
        while live.state().hash != hash or error not in str(live.state().error):
            assert time.monotonic() < deadline, live.state()
            time.sleep(0.02)

    try:
        deadline = time.monotonic() + 10
        while not live.known():
            assert time.monotonic() < deadline, live.state()
            time.sleep(0.02)
        until(None, "None")
        for manifests in ([ACTIVITY], [ACTIVITY, CARDS], []):
            content, found = packed(*(manifest(text, kube_namespace) for text in manifests))
            write(kube, kube_namespace, content)
            until(found, "None")
        kube.delete("ConfigMap", kube_namespace, NAME)
        until(found, "gone")
    finally:
        live.close()


def test_no_other_config_map_may_be_read(kube_namespace: str, server: ApiServer) -> None:
    with pytest.raises(ApiError, match="403"):
        ConfigMapApi(server, kube_namespace, "another").look()
    (server.account / "token").write_text("nonsense")
    with pytest.raises(ApiError, match="401"):
        ConfigMapApi(server, kube_namespace, NAME).look()
