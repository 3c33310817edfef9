"""Whom processors talk to."""

from __future__ import annotations

from typing import Any

from freshet.spec.definition import FeatureSet
from freshet_operator import names
from freshet_operator.desired import pods
from freshet_operator.desired.objects import child_metadata
from freshet_operator.model import Object
from freshet_operator.settings import Settings

_NAMESPACE_NAME = "kubernetes.io/metadata.name"
_DNS = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]


def network_policy(featureset: FeatureSet, resource: Object, settings: Settings) -> Object:
    """In: metrics, for the operator's namespace, the FeatureSet's own and whom the settings name. Out: DNS, stores."""
    template = settings.processor
    scrapers: list[Object] = [{"podSelector": {}}]
    if template.operator_namespace:
        scrapers.insert(0, {"namespaceSelector": {"matchLabels": {_NAMESPACE_NAME: template.operator_namespace}}})
    scrapers += [_peer(given, template.operator_namespace) for given in template.metrics_from]
    ports = [settings.processor_metrics_port]
    if featureset.source.origin is not None:
        ports.append(pods.REKEY_METRICS_PORT)
    stores: dict[str, Any] = {"ports": [{"port": port, "protocol": "TCP"} for port in template.egress_ports]}
    if template.egress_cidrs:
        stores["to"] = [{"ipBlock": {"cidr": cidr}} for cidr in template.egress_cidrs]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": child_metadata(resource, names.service_account(featureset.name)),
        "spec": {
            "podSelector": {"matchLabels": {names.LABEL_FEATURESET: featureset.name}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": scrapers, "ports": [{"port": port, "protocol": "TCP"} for port in ports]}],
            "egress": [{"ports": _DNS}, stores],
        },
    }


def _peer(given: Object, namespace: str) -> Object:
    """A peer by labels of pods alone means pods of the operator's namespace, in which it was written."""
    if "podSelector" not in given or "namespaceSelector" in given or not namespace:
        return dict(given)
    return {**given, "namespaceSelector": {"matchLabels": {_NAMESPACE_NAME: namespace}}}
