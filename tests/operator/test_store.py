"""What is known of the resources, and the proof that the watch is blind."""

from __future__ import annotations

from typing import Any

from freshet_operator.model import Key
from freshet_operator.store import Store, remembered
from tests.operator.test_lease import Clock

A = Key("FeatureSet", "shop", "a")


def fs(name: str = "a", version: int = 1, generation: int = 1, **annotations: str) -> dict[str, Any]:
    meta = {
        "namespace": "shop", "name": name, "uid": f"u-{name}", "resourceVersion": str(version),
        "generation": generation, "annotations": annotations, "managedFields": [{"large": "thing"}],
    }  # fmt: skip
    return remembered({"apiVersion": "freshet.dev/v1alpha1", "kind": "FeatureSet", "metadata": meta, "spec": {"x": 1}})


def test_little_is_remembered_but_changes_show() -> None:
    kept = fs()
    assert "spec" not in kept
    assert "managedFields" not in kept["metadata"]
    assert fs(paused="true")["metadata"]["annotations"] != kept["metadata"]["annotations"]


def test_a_list_says_what_the_watch_has_not() -> None:
    store = Store()
    assert store.listed([fs("a"), fs("b")])[0][0] == A
    assert store.listed([fs("a"), fs("b")]) == []
    store.told(fs("a", 2), deleted=False)
    (key, before, now), (gone, *_) = store.listed([fs("a", 3)])
    assert (key, gone.name) == (A, "b")
    assert before is not None
    assert before["metadata"]["resourceVersion"] == "2"
    assert now is not None
    assert now["metadata"]["resourceVersion"] == "3"
    assert store.keys() == [A]


def test_a_change_that_the_watch_never_tells_makes_it_blind() -> None:
    clock = Clock()
    store = Store(clock)
    store.told(fs("a", 1), deleted=False)
    store.listed([fs("a", 1)])
    assert store.blind_seconds() == 0
    store.listed([fs("a", 2)])
    clock.now += 61
    store.listed([fs("a", 3)])
    assert store.blind_seconds() == 61
    store.told(fs("a", 3), deleted=False)
    assert store.blind_seconds() == 0


def test_a_deletion_that_the_watch_never_tells_makes_it_blind() -> None:
    clock = Clock()
    store = Store(clock)
    store.told(fs("a", 1), deleted=False)
    store.listed([])
    clock.now += 61
    assert store.blind_seconds() == 61
    store.told(fs("a", 2), deleted=True)
    assert store.blind_seconds() == 0
    assert store.keys() == []
