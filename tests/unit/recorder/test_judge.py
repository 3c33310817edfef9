"""What the recorder says a record is."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from freshet.engine.duplicates import DuplicateFilter
from freshet.recorder.batch import Batch
from freshet.recorder.judge import Judge, Judged, Part
from freshet.spec.definition import FeatureSet
from freshet.spec.load import parse_featureset
from freshet.spec.partitioning import partition_of

NOW = 1_767_600_000_000


def featureset(name: str, field: str, deduplicate: str = "10m") -> FeatureSet:
    return parse_featureset(f"""
apiVersion: freshet.dev/v1alpha1
kind: FeatureSet
metadata: {{name: {name}}}
spec:
  version: v1
  entity: {{name: user, key: user_id}}
  source: {{partitions: 1, deduplicate: {deduplicate}, fields: {{{field}: {{type: double, required: true}}}}}}
  features: [{{name: total, aggregate: sum, of: {field}, windows: [1h]}}]
""")


def batch(values: list[Any], headers: dict[int, Any] | None = None, at: list[int] | None = None) -> Batch:
    size = len(values)
    bodies = [v if v is None or isinstance(v, bytes) else json.dumps(v).encode() for v in values]
    times = np.array(at or [NOW + i for i in range(size)], np.int64)
    return Batch(np.arange(size), times, bodies, [b"u1"] * size, headers or {})


def event(number: int, **fields: Any) -> dict[str, Any]:
    return {"user_id": "u1", "event_id": f"e{number}", "timestamp": NOW - 5, **fields}


def judge(judge: Judge, *batches: Batch, partitions: int = 1) -> list[Judged]:
    duplicates = DuplicateFilter(judge.deduplicate_ms)
    return [judge.judge(one, Part(0, partitions), duplicates) for one in batches]


def test_accepted_duplicate_and_invalid() -> None:
    one = Judge([featureset("a", "x")], "default")
    (found,) = judge(one, batch([event(1, x=1), event(1, x=2), b"{broken", None, event(2, x="text"), event(3, x=3)]))
    assert found.status.tolist() == [0, 1, 2, 2, 2, 0]
    assert found.entity == ["u1", "u1", None, None, None, "u1"]
    assert found.event_id == ["e1", "e1", None, None, None, "e3"]
    assert found.event_ms.tolist() == [NOW - 5, NOW - 5, -1, -1, -1, NOW - 5]
    assert [value is None for value in found.payload] == [False, False, True, True, True, False]
    assert found.replay_for is None


def test_a_record_is_valid_if_any_featureset_accepts_it() -> None:
    one = Judge([featureset("a", "x"), featureset("b", "y")], "default")
    (found,) = judge(one, batch([event(1, x=1), event(2, y=1), event(3), event(2, y=1)]))
    assert found.status.tolist() == [0, 0, 2, 1]


def test_duplicates_are_judged_by_log_time_over_batches_and_invalid_records_count_for_it() -> None:
    one = Judge([featureset("a", "x", "1s")], "default")
    later = batch([b"{", event(1, x=1)], at=[NOW + 5_000, NOW + 500])  # log time does not fall
    found = judge(one, batch([event(1, x=1)], at=[NOW]), batch([event(1, x=1)], at=[NOW + 900]), later)
    assert [one.status.tolist() for one in found] == [[0], [1], [2, 0]]


def test_a_replay_is_for_one_revision_and_no_duplicate_of_anything() -> None:
    first, second = featureset("a", "x"), featureset("b", "y")
    one = Judge([first, second], "default")
    whose = f"default/b/{second.definition.revision}".encode()
    headers = {1: [("freshet-for", whose)], 2: [("freshet-for", whose)], 4: [("other", b"1")]}
    (found,) = judge(one, batch([event(1, y=1), event(1, y=1), event(9, x=1), event(1, y=1), event(5, x=1)], headers))
    assert found.status.tolist() == [0, 0, 2, 1, 0], "the second is for b and counts; a's event is not valid for b"
    assert found.replay_for == [None, whose.decode(), whose.decode(), None, None]


def test_an_erasure_is_a_control_record_and_moves_log_time() -> None:
    one = Judge([featureset("a", "x", "1s")], "default")
    headers = {1: [("freshet-control", b"erase")]}
    (found,) = judge(one, batch([event(1, x=1), None, event(1, x=1)], headers, [NOW, NOW + 5_000, NOW + 100]))
    assert found.status.tolist() == [0, 4, 0]
    assert found.entity == ["u1", "u1", "u1"]
    assert found.payload[1] is None


def test_an_event_on_a_foreign_partition_is_invalid() -> None:
    one = Judge([featureset("a", "x")], "default")
    keys = [f"u{i}" for i in range(20)]
    (found,) = judge(one, batch([{**event(i, x=1), "user_id": key} for i, key in enumerate(keys)]), partitions=3)
    expected = [0 if partition_of(key, 3, "murmur2") == 0 else 2 for key in keys]
    assert found.status.tolist() == expected
    assert {0, 2} == set(expected)
    assert all((entity is None) == (status == 2) for entity, status in zip(found.entity, expected, strict=True))
