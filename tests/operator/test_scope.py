"""Namespaces that cannot be read are left out and left alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from freshet_operator import scope
from freshet_operator.api.errors import ApiError
from freshet_operator.api.kinds import FEATURESET
from freshet_operator.desired.serving import entry
from freshet_operator.model import Object
from freshet_operator.plan import plan, served_entries
from freshet_operator.scope import Scope
from tests.operator.fake_api import FakeApi, client_of, fake_api
from tests.operator.pure import NOW, featureset, settings
from tests.operator.world import served

Answer = tuple[int, Any, dict[str, str]]

FORBIDDEN: Answer = (403, {"kind": "Status", "reason": "Forbidden", "message": "no"}, {})
AWAY: Answer = (503, {"kind": "Status", "reason": "ServiceUnavailable", "message": "away"}, {})
LIST: Object = {"items": []}


def holding(api: FakeApi, *namespaces: str | None) -> None:
    """Lists of FeatureSets that are answered."""
    for namespace in namespaces:
        api.objects[FEATURESET.path(namespace)] = LIST


async def looked(asked: tuple[str, ...], answers: list[Answer]) -> Scope:
    async with fake_api() as api, client_of(api) as client:
        holding(api, None, *asked)
        api.answers = answers
        return await scope._look(client, asked)


def test_what_cannot_be_read_is_left_out() -> None:
    assert asyncio.run(looked((), [])) == Scope()
    assert asyncio.run(looked((), [])).lists == (None,)
    assert asyncio.run(looked(("a", "b"), [])) == Scope(("a", "b"))
    found = asyncio.run(looked(("a", "b"), [FORBIDDEN]))
    assert found == Scope(("b",), ("a",))
    assert found.lists == ("b",)


@pytest.mark.parametrize(
    ("asked", "answers"),
    [
        ((), [FORBIDDEN]),
        (("a", "b"), [FORBIDDEN, FORBIDDEN]),
        (("a", "b"), [FORBIDDEN, AWAY]),
        (("a", "b"), [(404, {"reason": "NotFound"}, {})]),
    ],
    ids=["all of the cluster", "every namespace", "an outage", "no CRD"],
)
def test_an_outage_says_nothing_about_rights(asked: tuple[str, ...], answers: list[Answer]) -> None:
    with pytest.raises(ApiError):
        asyncio.run(looked(asked, answers))


def test_rights_that_come_and_go_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope, "_LOOK_SECONDS", 0.01)

    async def story() -> None:
        async with fake_api() as api, client_of(api) as client:
            holding(api, "a", "b")
            waiting = asyncio.create_task(scope.until_changed(client, ("a", "b"), Scope(("a", "b"))))
            api.answers = [AWAY, FORBIDDEN, FORBIDDEN]  # an outage, and one that refuses everything
            await asyncio.sleep(0.2)
            assert not waiting.done()
            assert not api.answers
            api.answers = [FORBIDDEN]
            await asyncio.wait_for(waiting, 5)
            await asyncio.wait_for(scope.until_changed(client, ("a", "b"), Scope(("b",), ("a",))), 5)

    asyncio.run(story())


def test_what_was_served_of_a_namespace_that_cannot_be_read_is_served() -> None:
    theirs = entry(featureset(namespace="lost"))
    others = entry(featureset(namespace="read", name="gone"))
    assert served_entries([], {}, [theirs, others], ("lost",)) == (theirs,)
    assert served_entries([], {}, [theirs], ()) == ()


def test_its_names_do_not_change_hands() -> None:
    theirs = entry(featureset(namespace="lost"))
    ours = {**featureset(), "status": {"versions": [{"state": "Serving"}], "lastValid": {"generation": 1}}}
    assert served_entries([ours], {}, [theirs], ("lost",)) == (theirs,)
    assert served_entries([ours], {}, [theirs], ()) == (entry(ours),)


def test_topics_that_somebody_there_may_use_are_kept() -> None:
    world = served({"deletionPolicy": "Delete"})
    world.resource["metadata"]["deletionTimestamp"] = "2026-01-05T10:30:00Z"
    for _ in range(3):
        world.step()
        world.live()
        world.entries = ()
        last = plan(replace(world.observe(), unreadable=("lost",)), settings(), NOW)
        if last.events and last.events[0].reason == "CleanedUp":
            break
    assert [write.verb for write in last.writes] == ["delete-group", "remove-finalizer"]
    assert "others may use them in lost, which cannot be read" in last.events[0].message
