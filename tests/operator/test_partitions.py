"""Whether all is built and worked on, as the processors themselves say."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet_operator.model import Work
from freshet_operator.observe.work import parse
from freshet_operator.plan.partitions import backfill_verdict
from tests.operator.pure import conditions, edited, featureset, message
from tests.operator.world import World, served


def test_the_groups_lag_says_nothing_of_what_is_built() -> None:
    world = World(featureset())
    world.rest()
    world.live()
    world.lag, world.rebuilding = 0, {3}
    status = world.rest().status
    assert conditions(status)["BackfillComplete"] == ("False", "CatchingUp")
    assert conditions(status)["Ready"][0] == "False"
    assert status["versions"][0]["state"] == "CatchingUp"
    world.lag, world.rebuilding = None, set()
    assert conditions(world.settle().status)["BackfillComplete"] == ("True", "Completed")


def test_a_store_that_forgot_shows_until_all_is_built_again() -> None:
    world = served()
    world.rebuilding = {0, 4}
    planned = world.step()
    assert conditions(planned.status)["BackfillComplete"] == ("False", "Rebuilding")
    assert conditions(planned.status)["Ready"] == ("False", "Rebuilding")
    assert conditions(planned.status)["Degraded"] == ("True", "Rebuilding")
    assert conditions(planned.status)["Serving"][0] == "True"  # the other partitions are read
    assert "2 of 6 partitions" in planned.status["message"]
    assert [(event.type, event.reason) for event in planned.events] == [("Warning", "Rebuilding")]
    assert planned.status["versions"][0]["state"] == "Serving"
    assert not planned.serving_changed
    world.rebuilding, world.silent = set(), True
    assert conditions(world.rest().status)["BackfillComplete"] == ("False", "Rebuilding")  # nobody has said otherwise
    world.silent = False
    assert world.settle().status["phase"] == "Serving"


def test_processors_that_do_not_answer_take_nothing_back() -> None:
    world = served()
    world.silent = True
    assert conditions(world.rest().status)["BackfillComplete"] == ("True", "Completed")
    fresh = World(featureset())
    fresh.rest()
    fresh.live()
    fresh.silent = True
    assert conditions(fresh.rest().status)["BackfillComplete"] == ("False", "CatchingUp")


def test_a_suspended_one_is_as_complete_as_it_was() -> None:
    world = served()
    world.resource = edited(world.resource, {"suspend": True})
    assert conditions(world.settle().status)["BackfillComplete"] == ("True", "Completed")


def test_a_stopped_partition_shows_while_others_work() -> None:
    world = served({"processor": {"minReplicas": 2, "maxReplicas": 4}})
    world.stopped = {1: "StoreFull"}
    planned = world.step()
    assert conditions(planned.status)["ProcessorReady"] == ("False", "ProcessingStopped")
    assert planned.status["reason"] == "ProcessingStopped"
    for words in ("partition 1 stopped", "StoreFull", "give it memory"):
        assert words in planned.status["message"]
    assert "ProcessingStopped" in [event.reason for event in planned.events]
    assert conditions(planned.status)["BackfillComplete"][0] == "True"
    world.stopped = {}
    assert world.settle().status["phase"] == "Serving"


def test_a_moment_at_a_hand_over_is_no_stop() -> None:
    world = served()
    world.stopped = {1: "Refused"}
    world.now_ms = 1_767_607_200_000 + 14_000  # 14 s after the pod's condition changed
    assert conditions(world.plan().status)["ProcessorReady"] == ("True", "Available")
    world.now_ms += 1_000
    assert conditions(world.plan().status)["ProcessorReady"] == ("False", "ProcessingStopped")
    assert "kubectl logs" in message(world.plan().status, "ProcessorReady")


partitions = st.sets(st.integers(0, 3))


@given(st.lists(st.builds(Work, partitions.map(frozenset), partitions.map(frozenset)), max_size=3))
def test_a_first_backfill_is_complete_when_every_partition_has_an_owner_that_says_so(works: list[Work]) -> None:
    work = {str(number): one for number, one in enumerate(works)}
    owned = set().union(*(one.owned for one in works))
    rebuilding = set().union(*(one.rebuilding for one in works))
    found = backfill_verdict(work, 4, {}, done=False)
    assert found.is_true == (owned == {0, 1, 2, 3} and not rebuilding)
    assert backfill_verdict(work, 4, {}, done=True).is_true == (not rebuilding)


def test_what_a_processor_says() -> None:
    body = {
        "ready": False, "featureset": "clicks", "partitions": [0, 2], "rebuilding": [2], "group": "joined",
        "stopped": {"1": "SourceTruncated: partition 1: stored offset 5 is outside the log's 7…9"}, "problem": None,
    }  # fmt: skip
    assert parse(json.dumps(body).encode()) == Work(frozenset({0, 2}), frozenset({2}), {1: "SourceTruncated"}, "")
    body["problem"] = "store: it is away"
    said = parse(json.dumps(body).encode())
    assert said is not None
    assert said.problem == "store: it is away"


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b'{"partitions": 1, "rebuilding": [], "stopped": {}}',
     b'{"partitions": ["x"], "rebuilding": [], "stopped": {}}', b'{"partitions": [], "rebuilding": [], "stopped": []}'],
)  # fmt: skip
def test_what_no_processor_says_is_no_answer(body: bytes) -> None:
    assert parse(body) is None
