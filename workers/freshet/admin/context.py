"""The installation that the settings of a command or service describe."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from freshet.admin.installation import Installation
from freshet.runtime.live.entries import Entries
from freshet.runtime.live.payload import KEY, Unreadable, unpack
from freshet.runtime.settings import AdminSettings, ConfigurationError, RecorderSettings
from freshet.spec.definition import FeatureSet
from freshet.spec.load import load_featuresets


def of_command(settings: AdminSettings) -> Installation:
    """For one command: the FeatureSets of the files, or of the mounted ConfigMap.

    Raises ManifestError, ConfigurationError.
    """
    mounted = settings.config_dir is not None
    featuresets = _mounted(settings) if mounted else load_featuresets(settings.manifests)
    return _installation(settings, lambda: featuresets)


def of_recorder(settings: RecorderSettings, featuresets: Callable[[], Sequence[FeatureSet]]) -> Installation:
    """For a recorder, with whatever FeatureSets it has at the moment."""
    return _installation(settings, featuresets)


def _installation(
    settings: AdminSettings | RecorderSettings, featuresets: Callable[[], Sequence[FeatureSet]]
) -> Installation:
    return Installation(
        kafka=settings.kafka,
        postgres=settings.postgres,
        redis=settings.redis,
        namespace=settings.namespace,
        dead_letter_topic=settings.dead_letter_topic,
        featuresets=featuresets,
    )


def _mounted(settings: AdminSettings) -> list[FeatureSet]:
    assert settings.config_dir is not None, "asked before"
    try:
        packed = (settings.config_dir / KEY).read_bytes()
        return Entries(settings.namespace).take(unpack(packed).manifests)[0]
    except (OSError, Unreadable) as error:
        raise ConfigurationError(f"FRESHET_CONFIG_DIR: {error}") from None
