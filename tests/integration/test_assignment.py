"""What the Kafka client remembers of a partition that was taken away and given back."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import TopicPartition

from freshet.dev.servers import EmbeddedKafka
from freshet.processor.assignment import Assignment
from freshet.processor.compiled import Compiled
from freshet.processor.partition import PartitionOwner
from freshet.processor.rebuild import Rebuild
from freshet.processor.runner import Pace
from freshet.processor.takeover import Begun, Taking
from freshet.runtime.settings import KafkaSettings
from freshet.stores import kafka as stores
from freshet.stores.deliveries import Continuity
from freshet.stores.fence import Refused
from tests.integration.ingest_service import featureset

pytestmark = pytest.mark.server


def test_a_partition_that_was_stopped_and_taken_away_goes_on_when_it_comes_back(
    kafka: EmbeddedKafka, topic: str, namespace: str
) -> None:
    settings = KafkaSettings(bootstrap=kafka.bootstrap)
    stores.ensure_topics(stores.admin(settings), [featureset(topic)], "dead-letter-queue", replication=1)
    producer = stores.producer(settings)
    for _ in range(10):
        producer.produce(topic, b"x", partition=0)
    producer.flush()
    consumer: Any = stores.consumer(settings, namespace)
    owner = cast(PartitionOwner, SimpleNamespace(complete=True, position=3, close=lambda: None))

    def own(_: int) -> Taking:
        begun: Future[Begun] = Future()
        begun.set_result(Begun(owner, None, 0))
        return Taking(owner, Rebuild(), begun, 10)

    with ThreadPoolExecutor(1) as io:
        assignment = Assignment(
            *(consumer, topic, own, io, Pace(), cast(Compiled, None), "activity", lambda _: Continuity(int))
        )
        assignment.assigned([0], 0)
        consumer.poll(1)
        assignment.stop(0, Refused("another owner"), 0)
        assignment.dropped([0])
        consumer.incremental_unassign([TopicPartition(topic, 0)])
        assignment.assigned([0], 0)
        found = [message.offset() for message in consumer.consume(7, 10) if message.error() is None]
    assert found[:1] == [3]
    consumer.close()
