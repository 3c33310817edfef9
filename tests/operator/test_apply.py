"""Writes: in order, by the leader only, and what happens when one is refused."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from freshet_operator.api.errors import ApiError
from freshet_operator.apply import Applier, NotLeading
from freshet_operator.crash import WriteCounter
from freshet_operator.model import Topic, Write

FS: dict[str, Any] = {
    "apiVersion": "freshet.dev/v1alpha1",
    "kind": "FeatureSet",
    "metadata": {"namespace": "shop", "name": "a", "uid": "u", "resourceVersion": "7", "finalizers": ["other/one"]},
}
TOPIC = Topic("t", 1, 1, (), True)


class Recorded:
    """Stands for the client and for Kafka; fails where it is told to."""

    def __init__(self, **failures: Exception) -> None:
        self.calls: list[tuple[str, Any]] = []
        self._failures = failures

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any) -> None:
            self.calls.append((name, arguments))
            if name in self._failures:
                raise self._failures[name]

        return call


def applier(recorded: Recorded, leads: bool = True) -> Applier:
    return Applier(recorded, recorded, lambda: leads, WriteCounter())  # type: ignore[arg-type]


def configmap(name: str) -> Write:
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "shop", "name": name}}
    return Write("apply", f"ConfigMap {name}", object=item)


def test_writes_are_done_in_order() -> None:
    recorded = Recorded()
    writes = (
        Write("add-finalizer", "FeatureSet a"),
        Write("create-topic", "topic t", topic=TOPIC),
        configmap("x"),
        Write("delete", "ConfigMap y", object=configmap("y").object),
        Write("delete-topic", "topic u", name="u"),
        Write("delete-group", "group g", name="g"),
    )
    done = asyncio.run(applier(recorded).apply(FS, writes))
    assert (done.writes, done.failure, done.kafka_failures) == (6, None, [])
    names = [name for name, _ in recorded.calls]
    assert names == ["merge", "create_topic", "apply", "delete", "delete_topic", "delete_group"]
    patch = recorded.calls[0][1][3]
    assert patch == {"metadata": {"finalizers": ["other/one", "freshet.dev/cleanup"], "resourceVersion": "7"}}


def test_what_the_api_server_refuses_ends_the_plan() -> None:
    recorded = Recorded(apply=ApiError(403, "Forbidden", "exceeded quota"))
    done = asyncio.run(applier(recorded).apply(FS, (configmap("x"), configmap("y"))))
    assert len(recorded.calls) == 1
    assert done.failure is not None
    assert (done.failure.transient, "exceeded quota" in done.failure.message) == (False, True)


def test_what_kafka_refuses_does_not_stop_the_rest_but_keeps_the_finalizer() -> None:
    recorded = Recorded(delete_topic=KafkaException(KafkaError(KafkaError.POLICY_VIOLATION)))
    writes = (
        Write("delete-topic", "topic t", name="t"),
        configmap("x"),
        Write("remove-finalizer", "FeatureSet a"),
    )
    done = asyncio.run(applier(recorded).apply(FS, writes))
    assert [name for name, _ in recorded.calls] == ["delete_topic", "apply"]
    assert len(done.kafka_failures) == 1


def test_members_of_a_group_that_died_are_waited_for_without_an_alarm() -> None:
    """Their session ends in seconds; what Kafka refuses for good is a Warning."""
    for code, passes in ((KafkaError.NON_EMPTY_GROUP, True), (KafkaError.GROUP_AUTHORIZATION_FAILED, False)):
        recorded = Recorded(delete_group=KafkaException(KafkaError(code)))
        done = asyncio.run(applier(recorded).apply(FS, (Write("delete-group", "group g", name="g"),)))
        assert [failed.transient for failed in done.kafka_failures] == [passes]


def test_who_does_not_lead_writes_nothing() -> None:
    recorded = Recorded()
    with pytest.raises(NotLeading):
        asyncio.run(applier(recorded, leads=False).apply(FS, (configmap("x"),)))
    with pytest.raises(NotLeading):
        asyncio.run(applier(recorded, leads=False).status(FS, {"phase": "Serving"}))
    assert recorded.calls == []


def test_a_status_is_that_of_this_very_resource() -> None:
    recorded = Recorded()
    asyncio.run(applier(recorded).status(FS, {"phase": "Serving"}))
    ((name, (item, subresource)),) = recorded.calls
    assert (name, subresource, item["metadata"]["uid"], item["status"]) == (
        "apply",
        "status",
        "u",
        {"phase": "Serving"},
    )


@pytest.mark.parametrize(("at", "done"), [("2", 1), ("2+", 2), ("", 3)])
def test_the_process_ends_at_the_write_that_a_test_names(at: str, done: int) -> None:
    script = f"""
from freshet_operator.crash import WriteCounter
counter = WriteCounter({at!r})
for i in range(3):
    number = counter.before()
    print("done", flush=True)
    counter.after(number)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.stdout.count("done") == done
    assert ended.returncode == (137 if at else 0)
