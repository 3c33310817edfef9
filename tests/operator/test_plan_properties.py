"""Whatever a status says and whatever is seen: plans come to an end, and the end is the same."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from freshet.spec.resource import featureset_of
from freshet_operator import names
from freshet_operator.desired import desired
from freshet_operator.model import Claim, Figures, Object
from freshet_operator.plan.conditions import TYPES
from freshet_operator.plan.drift import contains
from freshet_operator.plan.times import time_ms
from tests.operator.pure import changed_definition, featureset, settings, topic_seen
from tests.operator.world import DEPLOYMENT, REVISION, World

words = st.sampled_from(["", "True", "False", "Unknown", "Available", "Pending", "Serving", "x"])
times = st.sampled_from(["2026-01-05T10:00:00Z", "2026-01-05T10:29:59Z", "2027-01-01T00:00:00Z"])
revisions = st.sampled_from(["", REVISION, "0123456789"])
json = st.recursive(st.none() | st.booleans() | st.integers(-5, 5) | words, lambda inner: st.lists(inner, max_size=2))

statuses: st.SearchStrategy[Object] = st.fixed_dictionaries(
    {},
    optional={
        "observedGeneration": st.integers(0, 5),
        "phase": words,
        "version": words,
        "serving": st.fixed_dictionaries({}, optional={"version": words, "revision": revisions}),
        "lastValid": st.fixed_dictionaries({}, optional={"name": words, "generation": st.integers(0, 5)}),
        "versions": st.lists(
            st.fixed_dictionaries({}, optional={"version": words, "revision": revisions, "state": words}), max_size=2
        ),
        "topics": st.lists(st.fixed_dictionaries({"name": words}), max_size=2),
        "lag": st.integers(0, 10),
        "scaling": st.fixed_dictionaries(
            {},
            optional={
                "replicas": st.integers(-1, 9) | json,
                "changedAt": times | json,
                "calmSince": times | json,
                "shortSince": times | json,
            },
        ),
        "conditions": st.lists(
            st.fixed_dictionaries(
                {"type": st.sampled_from(TYPES), "status": st.sampled_from(["True", "False", "Unknown"])},
                optional={
                    "reason": words,
                    "message": words,
                    "lastTransitionTime": times,
                    "observedGeneration": st.just(1),
                },
            ),
            max_size=9,
            unique_by=lambda one: one["type"],
        ),
    },
)  # fmt: skip

specs: st.SearchStrategy[Object] = st.fixed_dictionaries(
    {},
    optional={
        "suspend": st.booleans(),
        "deletionPolicy": st.sampled_from(["Retain", "Delete"]),
        "entityTtl": st.sampled_from(["900h", "901h"]),
        "processor": st.fixed_dictionaries({"minReplicas": st.integers(0, 3), "maxReplicas": st.integers(3, 6)}),
    },
)
bad_specs = st.sampled_from(
    [
        {"features": []},
        {"features": "none"},
        {"source": {"partitions": 0}},
        {"processor": {"minReplicas": 9, "maxReplicas": 1}},
        {"entity": None},
        {"unknown": 1},
        {"features": [{"name": "a", "expression": "1 +"}]},
        changed_definition(),
    ]
)
pods = st.lists(
    st.fixed_dictionaries(
        {
            "metadata": st.fixed_dictionaries(
                {
                    "name": st.sampled_from(["a", "b"]),
                    "namespace": st.just("shop"),
                    "labels": st.just(names.labels("clicks", REVISION)),
                },
                optional={"deletionTimestamp": times, "creationTimestamp": times},
            ),
            "spec": st.just({"containers": [{"image": "i"}]}),
            "status": st.fixed_dictionaries(
                {},
                optional={
                    "phase": st.sampled_from(["Pending", "Running", "Failed"]),
                    "containerStatuses": st.lists(
                        st.fixed_dictionaries(
                            {"ready": st.booleans(), "restartCount": st.integers(0, 4)},
                            optional={
                                "state": st.sampled_from(
                                    [{"waiting": {"reason": "ImagePullBackOff"}}, {"running": {}}, {}]
                                ),
                                "lastState": st.sampled_from([{"terminated": {"exitCode": 2}}, {}]),
                            },
                        ),
                        max_size=1,
                    ),
                },
            ),
        }
    ),
    max_size=2,
)
figures = st.builds(Figures, st.just(1), st.none() | st.floats(0, 1), st.none() | st.floats(0, 9e9))
claims = st.lists(
    st.builds(
        Claim,
        st.sampled_from(["shop", "zoo"]),
        st.sampled_from(["clicks", "other"]),
        st.sampled_from(["2025-01-01T00:00:00Z", "2027-01-01T00:00:00Z"]),
        st.just(()),
        st.booleans(),
    ).filter(lambda claim: (claim.namespace, claim.name) != ("shop", "clicks")),
    max_size=2,
)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Any status, some of the children, any surroundings."""
    built = World(featureset(draw(specs)))
    if draw(st.booleans()):
        built.settle()
    doomed = draw(st.sets(st.sampled_from([*built.children, ("", "")])))
    world = World(
        resource=built.resource,
        children={key: item for key, item in built.children.items() if key not in doomed},
        pods=draw(pods),
        topics={name: topic_seen(name) for name in draw(st.sets(st.sampled_from(["clicks", "click-features", "x"])))},
        lag=draw(st.none() | st.integers(0, 20_000)),
        kafka_error=draw(st.none() | st.just("_TRANSPORT")),
        figures=draw(st.none() | figures),
        rebuilding=draw(st.sets(st.integers(0, 5))),
        stopped=draw(st.dictionaries(st.integers(0, 5), st.sampled_from(["StoreDown", "x"]), max_size=2)),
        silent=draw(st.booleans()),
        claims=tuple(draw(claims)),
        entries=built.entries,
        serving_pods=draw(st.dictionaries(st.sampled_from(["s-1", "i-1"]), st.none() | st.just("old"))),
        terminating=draw(st.booleans()),
    )  # fmt: skip
    if draw(st.booleans()):
        world.resource["status"] = draw(statuses)
    if draw(st.booleans()):
        world.resource["spec"].update(draw(bad_specs))
        world.resource["metadata"]["generation"] += 1
    if draw(st.booleans()):
        world.resource["metadata"]["annotations"] = {draw(st.sampled_from([names.PAUSED, names.ABANDON])): "true"}
    if draw(st.booleans()):
        world.resource["metadata"]["deletionTimestamp"] = draw(times)
    if draw(st.booleans()):
        world.resource["metadata"]["finalizers"] = [names.FINALIZER]
    return world


slow = examples(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@slow
@given(worlds())
def test_any_status_and_any_surroundings_come_to_an_end(world: World) -> None:
    """The next plan has no writes and the same status; every status is whole."""
    planned = world.plan()
    for _ in range(8):
        if world.gone:
            return
        before = world.resource.get("status")
        world.apply(planned)
        planned = world.plan()
        if not planned.writes and planned.status == before:
            break
    assert planned.writes == ()
    assert planned.status == world.resource["status"]
    assert planned.events == ()
    assert 1 <= planned.requeue_after <= 30
    assert planned.status["phase"]
    for one in planned.status["conditions"]:
        assert one["type"] in TYPES
        assert one["status"] in ("True", "False", "Unknown")


@slow
@given(worlds())
def test_it_ends_well_once_the_surroundings_are_well(world: World) -> None:
    """However it began: with a good spec, topics and pods it is served; no state is a trap."""
    status = world.resource.get("status") or {}
    resource = featureset()
    resource["metadata"]["generation"] = world.resource["metadata"]["generation"] + 1
    resource["status"] = {**status, "serving": {"version": "v1", "revision": REVISION}}
    resource["metadata"]["finalizers"] = world.resource["metadata"].get("finalizers", [])
    healthy = World(resource, children=world.children, entries=world.entries)
    assert healthy.settle().status["phase"] == "Serving"
    wanted = desired(featureset_of(resource), resource, settings(), healthy.children[DEPLOYMENT]["spec"]["replicas"])
    assert all(contains(healthy.children[item["kind"], item["metadata"]["name"]], item) for item in wanted.objects)
    assert resource["metadata"]["finalizers"] == []


@slow
@given(worlds(), bad_specs)
def test_a_bad_spec_removes_nothing(world: World, bad: Object) -> None:
    world.resource["metadata"].pop("deletionTimestamp", None)
    served = (world.resource.get("status") or {}).get("serving", {}).get("revision")
    # A changed definition is bad for as long as another is served.
    world.resource["spec"].update(bad if served == REVISION else {"unknown": 1})
    # Objects of a spec that is no longer the last valid one may go; what the processors need may not.
    before = {key for key in world.children if key[0] in ("Deployment", "ConfigMap", "ServiceAccount")}
    world.step()
    assert before <= set(world.children)


def leaves(item: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where a plain value stands."""
    if isinstance(item, dict) and item:
        return [found for name, value in item.items() for found in leaves(value, (*path, name))]
    if isinstance(item, list) and item:
        return [found for i, value in enumerate(item) for found in leaves(value, (*path, i))]
    return [path]


def other_value(value: Any) -> Any:
    """Of the same type: the API server takes no other."""
    if isinstance(value, bool):
        return not value
    return value + 7 if isinstance(value, int) else "edited"


IDENTITY = {("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")}


@slow
@given(st.data())
def test_any_edit_of_any_field_is_repaired(data: st.DataObject) -> None:
    world = World(featureset())
    world.settle()
    good = copy.deepcopy(world.children)
    wanted = desired(featureset_of(world.resource), world.resource, settings(), 1).objects
    item = data.draw(st.sampled_from(wanted))
    places = [
        p for p in leaves(item) if p not in IDENTITY and p[:2] != ("metadata", "ownerReferences") and p[0] != "data"
    ]
    path = data.draw(st.sampled_from(places))
    live: Any = world.children[item["kind"], item["metadata"]["name"]]
    for part in path[:-1]:
        live = live[part]
    if data.draw(st.booleans()) and isinstance(live, dict):
        del live[path[-1]]
    else:
        live[path[-1]] = other_value(live[path[-1]])
    world.settle()
    for key, child in world.children.items():
        found = next(one for one in wanted if (one["kind"], one["metadata"]["name"]) == key)
        assert contains(child, found)
        assert child.get("data") == good[key].get("data")


@examples(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["kafka", "pods", "serving", "lag", "bad", "good", "delete", "time"]), max_size=12))
def test_times_of_conditions_only_move_forward_and_with_the_status(happenings: list[str]) -> None:
    world = World(featureset())
    before: dict[str, Object] = {}
    for happening in happenings:
        world.now_ms += 7_000
        match happening:
            case "kafka":
                world.kafka_error = None if world.kafka_error else "_TRANSPORT"
            case "pods":
                world.live(ready=bool(world.now_ms // 7_000 % 2))
            case "serving":
                world.configure()
            case "lag":
                world.lag = 0 if world.lag else 9_000
            case "bad" | "good":
                world.resource["spec"]["features"] = [] if happening == "bad" else featureset()["spec"]["features"]
                world.resource["metadata"]["generation"] += 1
            case "delete":
                world.children.pop(DEPLOYMENT, None)
        planned = world.step()
        for one in planned.status["conditions"]:
            old = before.get(one["type"])
            new_ms = time_ms(one["lastTransitionTime"])
            assert new_ms is not None
            assert new_ms <= world.now_ms
            if old is not None:
                old_ms = time_ms(old["lastTransitionTime"])
                assert old_ms is not None
                assert new_ms >= old_ms
                assert (new_ms == old_ms) == (one["status"] == old["status"])
            before[one["type"]] = one
        ready = next(one for one in planned.status["conditions"] if one["type"] == "Ready")
        assert (ready["status"] == "True") == (planned.status["reason"] == "")
