"""Names, labels and annotations of everything that the operator makes; the table for people is `docs/naming.md`."""

from __future__ import annotations

GROUP = "freshet.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

FIELD_MANAGER = "freshet-operator"
FINALIZER = f"{GROUP}/cleanup"

MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_FEATURESET = f"{GROUP}/featureset"
LABEL_REVISION = f"{GROUP}/revision"

HASH = f"{GROUP}/desired-hash"
"""Annotation of a child: hash of what was applied, so that an unchanged child costs no write."""
PAUSED = f"{GROUP}/paused"
"""Annotation of a FeatureSet; "true": nothing is written but its status."""
ABANDON = f"{GROUP}/abandon-cleanup"
"""Annotation of a FeatureSet that is being deleted; "true": the finalizer goes at once and data stays."""

SERVING_CONFIG_KEY = "featuresets.json.gz"
"""Key in the serving ConfigMap's binaryData."""


def child(featureset: str, revision: str) -> str:
    """Name of a revision's Deployment, ConfigMap and PodDisruptionBudget: at most 51 characters."""
    return f"{featureset}-{revision}"


def purge_job(featureset: str, revision: str) -> str:
    """Name of the Job that frees a deleted revision's keys: at most 57 characters."""
    return f"{featureset}-{revision}-purge"


def service_account(featureset: str) -> str:
    """Name of a FeatureSet's ServiceAccount: at most 50 characters."""
    return f"{featureset}-processor"


def labels(featureset: str, revision: str | None = None) -> dict[str, str]:
    """Labels of every child."""
    found = {
        "app.kubernetes.io/name": "freshet-processor",
        "app.kubernetes.io/instance": featureset,
        "app.kubernetes.io/component": "processor",
        "app.kubernetes.io/part-of": "freshet",
        MANAGED_BY: FIELD_MANAGER,
        LABEL_FEATURESET: featureset,
    }
    return found if revision is None else {**found, LABEL_REVISION: revision}
