"""What Kafka and the online store say of source topics and of who has read them."""

from __future__ import annotations

from uuid import UUID

from confluent_kafka import KafkaException

from freshet.admin.installation import Installation, Unavailable
from freshet.admin.judge import Began, Reading
from freshet.spec import naming
from freshet.spec.definition import FeatureSet
from freshet.stores import kafka
from freshet.stores.redis import Failures, StoreDown, connect, describe, execute
from freshet.stores.topics import topic_uuid


def topic_ids(installation: Installation) -> dict[str, UUID]:
    """Ids of the source topics that exist, by name. Raises Unavailable."""
    client = kafka.admin(installation.kafka)
    found = {}
    for topic in {featureset.source.topic for featureset in installation.featuresets()}:
        try:
            found[topic] = topic_uuid(kafka.describe_topic(client, topic).topic_id)
        except KafkaException as error:
            if error.args[0].code() != kafka.NO_SUCH_TOPIC:
                raise Unavailable(f"Kafka: {error.args[0].str()}") from None
    return found


def began_in(installation: Installation) -> Began:
    """Asks the online store, once a partition, where its processors began to read; None without a store."""
    known: dict[tuple[str, int], Reading | None] = {}

    def began(featureset: FeatureSet, partition: int) -> Reading | None:
        if installation.redis is None:
            return None
        at = (installation.owner(featureset), partition)
        if at not in known:
            known[at] = _read(installation.redis, featureset, installation.namespace, partition)
        return known[at]

    return began


def _read(redis: str, featureset: FeatureSet, namespace: str, partition: int) -> Reading | None:
    tag = naming.tag(featureset.namespace or namespace, featureset.name, featureset.definition.revision, partition)
    try:
        client = connect(redis)
        try:
            found = execute(client, "GET", naming.began_key(tag))
        finally:
            client.close()
    except StoreDown as error:
        raise Unavailable(f"online store: {error}") from None
    except Failures as error:
        raise Unavailable(f"online store: {describe(error)}") from None
    parts = (found or b"").split(b":")
    return Reading(*map(int, parts)) if len(parts) == 2 and all(map(bytes.isdigit, parts)) else None
