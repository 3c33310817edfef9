"""The calls to Kafka's admin API, each bounded in time. librdkafka answers from its own thread: none waits here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import NewTopic

from freshet_operator.model import Topic, TopicSeen

ANSWER_SECONDS = 5.0
_EARLIEST: Any = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
Ends = dict[int, tuple[int, int]]
"""Partition → first offset and the one that its next record gets."""
_GONE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.GROUP_ID_NOT_FOUND)


async def describe(client: AdminClient, names: Iterable[str]) -> dict[str, TopicSeen | str]:
    """Those of the topics that exist; a text says why one may not be looked at. Raises KafkaException."""
    asked = sorted(names)
    if not asked:
        return {}
    descriptions = await _each(client.describe_topics(TopicCollection(asked), request_timeout=ANSWER_SECONDS))
    found = {name: answer for name, answer in descriptions.items() if not _is_gone(answer)}
    configs = await _configs(client, [name for name, answer in found.items() if not isinstance(answer, KafkaException)])
    return {name: _seen(name, answer, configs.get(name, {})) for name, answer in found.items()}


async def ends(client: AdminClient, partitions: Mapping[str, int]) -> dict[str, Ends]:
    """First and next offset of every partition of these topics (name → number). Raises KafkaException."""
    places = [(topic, i) for topic in sorted(partitions) for i in range(partitions[topic])]
    found: dict[str, Ends] = {topic: {} for topic in partitions}
    if not places:
        return found
    first, last = await asyncio.gather(_offsets(client, places, _EARLIEST), _offsets(client, places, _LATEST))
    for place in first.keys() & last.keys():
        found[place[0]][place[1]] = (first[place], last[place])
    return found


async def groups(client: AdminClient) -> frozenset[str]:
    """Names of the consumer groups that there are, as far as they may be seen. Raises KafkaException."""
    (answer,) = (await _each({"": client.list_consumer_groups(request_timeout=ANSWER_SECONDS)})).values()
    if isinstance(answer, KafkaException):
        raise answer
    return frozenset(one.group_id for one in answer.valid or ())


async def create_topic(client: AdminClient, topic: Topic) -> None:
    """Makes a topic; one that exists is left as it is. Raises KafkaException."""
    new = NewTopic(topic.name, topic.partitions, topic.replication, config=dict(topic.config))
    answers = await _each(client.create_topics([new], request_timeout=ANSWER_SECONDS, operation_timeout=ANSWER_SECONDS))
    answer = answers[topic.name]
    if isinstance(answer, KafkaException) and answer.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
        raise answer


async def delete_topic(client: AdminClient, name: str) -> None:
    """Deletes a topic if it exists. Raises KafkaException."""
    answers = await _each(
        client.delete_topics([name], request_timeout=ANSWER_SECONDS, operation_timeout=ANSWER_SECONDS)
    )
    _raise_unless_gone(answers[name])


async def delete_group(client: AdminClient, name: str) -> None:
    """Deletes a consumer group if it exists. Raises KafkaException."""
    _raise_unless_gone((await _each(client.delete_consumer_groups([name], request_timeout=ANSWER_SECONDS)))[name])


async def _configs(client: AdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Configuration of each topic; empty where it may not be read."""
    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
    if not resources:
        return {}
    answers = await _each(client.describe_configs(resources, request_timeout=ANSWER_SECONDS))
    found: dict[str, dict[str, str]] = {}
    for resource, answer in answers.items():
        if isinstance(answer, KafkaException):
            _raise_unless_answered(answer)
        else:
            found[resource.name] = {name: entry.value for name, entry in answer.items()}
    return found


async def _offsets(client: AdminClient, places: list[tuple[str, int]], at: Any) -> dict[tuple[str, int], int]:
    request = {TopicPartition(topic, partition): at for topic, partition in places}
    answers = await _each(client.list_offsets(request, request_timeout=ANSWER_SECONDS))
    return {
        (place.topic, place.partition): answer.offset
        for place, answer in answers.items()
        if not isinstance(answer, KafkaException)  # a partition without a leader just now says nothing
    }


def _seen(name: str, description: Any, config: Mapping[str, str]) -> TopicSeen | str:
    if isinstance(description, KafkaException):
        _raise_unless_answered(description)
        error = description.args[0]
        return f"topic {name}: {error.name()}: {error.str()}"
    retention = config.get("retention.ms")
    return TopicSeen(
        name=name,
        partitions=len(description.partitions),
        topic_id=str(description.topic_id),
        timestamp_type=config.get("message.timestamp.type"),
        retention_ms=None if retention is None else int(retention),
    )


async def _each(futures: Mapping[Any, Any]) -> dict[Any, Any]:
    """Result or KafkaException of each future."""
    waited = [asyncio.wrap_future(future) for future in futures.values()]
    answers = await asyncio.wait_for(asyncio.gather(*waited, return_exceptions=True), 3 * ANSWER_SECONDS)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, KafkaException):
            raise answer
    return dict(zip(futures, answers, strict=True))


def _raise_unless_answered(error: KafkaException) -> None:
    """Errors below zero are librdkafka's own: no broker has answered. Others concern the one thing asked for."""
    if error.args[0].code() < 0:
        raise error


def _is_gone(answer: Any) -> bool:
    return isinstance(answer, KafkaException) and answer.args[0].code() in _GONE


def _raise_unless_gone(answer: Any) -> None:
    if isinstance(answer, KafkaException) and not _is_gone(answer):
        raise answer
