"""What the serving configuration holds."""

from __future__ import annotations

from typing import Any

from freshet_operator.desired.serving import entry
from freshet_operator.model import Object
from freshet_operator.plan import needed_revision, served_entries, served_part
from tests.operator.pure import conditions, edited, featureset
from tests.operator.world import REVISION, served


def test_a_configuration_that_is_deleted_is_still_what_pods_answer_by() -> None:
    world = served()
    world.entries = ()
    status = world.plan().status
    assert conditions(status)["Serving"][0] == "True"
    assert conditions(status)["ServingConfigured"] == ("False", "WaitingForAck")
    assert world.plan().serving_changed


def accepted(state: str = "Serving", generation: int = 1, **metadata: Any) -> Object:
    resource = featureset(**metadata)
    status = {"versions": [{"revision": REVISION, "state": state}]}
    return {**resource, "status": {**status, "lastValid": {"name": "clicks-x", "generation": generation}}}


def test_served_is_what_was_accepted() -> None:
    good = accepted()
    assert served_entries([good], {}) == (entry(good),)
    assert served_entries([featureset()], {}) == ()
    assert served_entries([accepted("Pending")], {}) == ()
    assert served_entries([accepted(deletionTimestamp="2026-01-05T10:30:00Z")], {}) == ()


def test_the_part_that_is_held_is_all_that_is_read() -> None:
    old = {"shop/clicks": {"spec": featureset()["spec"]}}
    for given in (accepted(), edited(accepted(), {"entityTtl": "900h"}), accepted("Pending"), featureset()):
        part = served_part({**given, "metadata": {**given["metadata"], "managedFields": [{}]}})
        assert (needed_revision(part), served_entries([part], old)) == (
            needed_revision(given),
            served_entries([given], old),
        )
        assert "managedFields" not in part["metadata"]
    gone = accepted(deletionTimestamp="2026-01-05T10:30:00Z")
    assert served_entries([served_part(gone)], {}) == ()
    older = accepted(namespace="zoo", creationTimestamp="2025-01-01T00:00:00Z")
    assert served_entries([served_part(accepted()), served_part(older)], {}) == (entry(older),)


def test_a_newer_spec_waits_for_its_own_reconcile() -> None:
    newer = edited(accepted(), {"entityTtl": "900h"})
    old = {"spec": featureset()["spec"]}
    assert needed_revision(newer) == "clicks-x"
    assert needed_revision(accepted()) is None
    assert served_entries([newer], {"shop/clicks": old}) == (entry(featureset()),)
    held = entry(featureset({"entityTtl": "800h"}))
    assert served_entries([newer], {}, [held]) == (held,)
    assert served_entries([newer], {}) == ()


def test_the_older_of_one_name_is_served() -> None:
    older = accepted(namespace="zoo", creationTimestamp="2025-01-01T00:00:00Z")
    assert served_entries([accepted(), older], {}) == (entry(older),)
    older["metadata"]["deletionTimestamp"] = "2026-01-05T10:30:00Z"
    assert served_entries([accepted(), older], {}) == (entry(accepted()),)
    silent = featureset(namespace="zoo", creationTimestamp="2025-01-01T00:00:00Z")
    assert served_entries([accepted(), silent], {}) == ()
