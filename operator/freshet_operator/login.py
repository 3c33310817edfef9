"""Where the API server is: in a pod by its ServiceAccount, elsewhere by KUBECONFIG."""

from __future__ import annotations

import kopf

from freshet.runtime.settings import ConfigurationError


def login() -> kopf.ConnectionInfo:
    """Reads the credentials as they are now; tokens in files change. Raises ConfigurationError."""
    settings = kopf.OperatorSettings()
    try:
        found = kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)
    except (OSError, KeyError, kopf.LoginError) as error:
        raise ConfigurationError(f"KUBECONFIG cannot be used: {error}") from None
    if found is None:
        raise ConfigurationError("there is neither a ServiceAccount token nor KUBECONFIG: which cluster?")
    return found
