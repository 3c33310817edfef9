"""9 and 10: Redis and Kafka, through the services and, with their addresses, directly."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._metadata import TopicMetadata
from redis.cluster import RedisCluster
from redis.exceptions import ResponseError

from freshet.runtime.settings import ConfigurationError, KafkaSettings
from freshet.runtime.variables import redis_url, servers
from freshet.smoke.report import Check, NotChecked, ProbeFailed, absent, failed, passed, skipped
from freshet.smoke.state import Run
from freshet.stores.kafka import admin
from freshet.stores.redis import Client, Failures, StoreDown, connect, describe, execute
from freshet.stores.topics import describe_topic

_KAFKA_SECONDS = 8.0


def redis_checks(run: Run) -> Iterator[Check]:
    """9: serving's own view first, then the server itself."""
    yield _through_serving(run)
    given = run.options.redis
    if given is None:
        yield skipped("directly", "--redis URL is not given")
        return
    run.deadline.at_most(5)
    advice = "start it, or give the URL that processors use with --redis; a password must be percent-encoded"
    try:
        client = connect(redis_url(given))
    except ValueError as error:
        yield failed("directly", f"--redis: {error}", "mend the URL")
        return
    except StoreDown as error:
        yield failed("directly", f"no node answers: {error}", advice)
        return
    try:
        execute(client, "PING")
        yield passed("PING", "answered")
        yield _eviction(client)
    except Failures as error:
        yield failed("directly", describe(error), advice)
    finally:
        client.close()  # type: ignore[no-untyped-call,unused-ignore]


def _through_serving(run: Run) -> Check:
    name = "through serving"
    if run.serving.url in run.down:
        return skipped(name, "serving does not answer (see 1)")
    told = run.serving.get("/ready").json()
    store = told.get("store") if isinstance(told, dict) else None
    if store == "ok":
        return passed(name, "serving reaches its store")
    if store is None:
        return skipped(name, "serving does not tell of its store (no FeatureSet yet, or --serving is another service)")
    return failed(name, f"serving says that its store is {store}", "start Redis, or mend FRESHET_REDIS of serving")


def _eviction(client: Client) -> Check:
    name = "noeviction"
    try:
        policies = {str(section.get("maxmemory_policy")) for section in _memory(client)}
    except ResponseError:
        policies = {"None"}
    if policies == {"noeviction"}:
        return passed(name, "a full store refuses writes and forgets nothing")
    if "None" in policies:
        return skipped(name, "the store hides its maxmemory-policy: see in its console that it is noeviction")
    sentence = f"maxmemory-policy is {', '.join(sorted(policies))}: a full store would forget states"
    return failed(name, sentence, "set maxmemory-policy to noeviction")


def _memory(client: Client) -> list[Mapping[str, Any]]:
    if not isinstance(client, RedisCluster):
        return [client.info("memory")]
    found: Mapping[str, Any] = client.info("memory", target_nodes=RedisCluster.PRIMARIES)
    return [found] if "maxmemory_policy" in found else list(found.values())


def kafka_checks(run: Run) -> Iterator[Check]:
    """10: the topics that the FeatureSet reads and writes, with their partitions."""
    yield _through_ingest(run)
    if run.options.kafka is None:
        yield skipped("directly", "--kafka HOST:PORT is not given")
        return
    logging.getLogger("freshet.kafka").addHandler(logging.NullHandler())  # the checks say it in a sentence
    try:
        settings = KafkaSettings(bootstrap=servers(run.options.kafka), config_file=run.options.kafka_config)
        client = admin(settings)
    except (ValueError, ConfigurationError) as error:
        yield failed("directly", f"--kafka: {error}", "give host:port of a broker; TLS and SASL go into --kafka-config")
        return
    try:
        topics = client.list_topics(timeout=run.deadline.at_most(_KAFKA_SECONDS)).topics
    except KafkaException as error:
        advice = "start it, or give host:port as processors have it; TLS and SASL go into --kafka-config"
        yield failed("directly", f"no broker answers: {error.args[0].str()}", advice)
        return
    yield passed("directly", f"a broker answers and knows {len(topics)} topics")
    yield _letters(topics.get(run.options.dead_letter_topic), run.options.dead_letter_topic)
    yield from _of_featureset(run, client, topics)


def _through_ingest(run: Run) -> Check:
    name = "through ingest"
    if run.sent is not None:
        return passed(name, "a broker has acknowledged events (see 4)")
    if run.ingest.url in run.down:
        return skipped(name, "ingest does not answer (see 1)")
    told = run.ingest.get("/ready").json()
    said = told.get("kafka") if isinstance(told, dict) else None
    if said == "ok":
        return passed(name, "ingest reaches Kafka")
    if said is None:
        return skipped(name, "ingest does not tell of Kafka (no FeatureSet yet, or --ingest is another service)")
    return failed(name, f"ingest says of Kafka: {str(said)[:200]}", "start Kafka, or mend FRESHET_KAFKA of ingest")


def _of_featureset(run: Run, client: AdminClient, topics: Mapping[str, TopicMetadata]) -> Iterator[Check]:
    try:
        source = run.details()["source"]
    except (NotChecked, ProbeFailed) as reason:
        yield skipped("topics of the FeatureSet", str(reason))
        return
    known = run.definition()
    yield _source(run, client, topics.get(source["topic"]), source)
    output = known.output_topic if known else "feature-events"
    if output is None:
        yield absent("output", "this FeatureSet has no output topic")
    elif output in topics:
        yield _healthy("output", output, topics[output])
    elif known:
        advice = "the operator or freshet dev makes it; where spec.source.manage is false, make it"
        yield failed("output", f"topic {output} does not exist", advice)
    else:
        yield skipped("output", f"there is no topic {output}; --manifest FILE tells the FeatureSet's own")


def _source(run: Run, client: AdminClient, found: TopicMetadata | None, source: Mapping[str, Any]) -> Check:
    topic, wanted = source["topic"], source["partitions"]
    if found is None:
        advice = "the operator or freshet dev makes it; where spec.source.manage is false, make it"
        return failed("source", f"topic {topic} does not exist", advice)
    if len(found.partitions) != wanted:
        sentence = f"{topic} has {len(found.partitions)} partitions, the FeatureSet says {wanted}"
        return failed("source", sentence, "keys would be looked for in the wrong place: make both equal")
    try:
        kind = describe_topic(client, topic, run.deadline.at_most(_KAFKA_SECONDS)).timestamp_type
    except KafkaException as error:
        return failed("source", f"{topic}: {error.args[0].str()}", "see the broker's log and this user's rights")
    if kind == "CreateTime":
        advice = "set message.timestamp.type=LogAppendTime: producers' clocks cannot be trusted"
        return failed("source", f"{topic} keeps the producers' time (CreateTime)", advice)
    return _healthy("source", topic, found, ", LogAppendTime" if kind else "")


def _letters(found: TopicMetadata | None, topic: str) -> Check:
    if found is None:
        advice = "the operator or freshet dev makes it; if it has another name, give it with --dead-letter-topic"
        return failed("dead letters", f"topic {topic} does not exist", advice)
    return _healthy("dead letters", topic, found)


def _healthy(name: str, topic: str, found: TopicMetadata, more: str = "") -> Check:
    headless = [p.id for p in found.partitions.values() if p.leader < 0]
    if headless:
        sentence = f"{topic}: partitions {headless[:12]} have no leader"
        return failed(name, sentence, "a broker that holds them is down: see Kafka")
    return passed(name, f"{topic}: {len(found.partitions)} partitions, each with a leader{more}")
