"""What a processor tells of its partitions."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from prometheus_client import REGISTRY

from freshet.processor.rebuild import Rebuild
from freshet.processor.report import Report
from freshet.runtime.tries import Waiting
from freshet.runtime.turns import Turns
from freshet_operator.observe.work import parse


def runner(position: int, complete: bool = True) -> Any:
    rebuild = Rebuild()
    rebuild.planned(0, 0, 190)
    return SimpleNamespace(owner=SimpleNamespace(position=position, complete=complete), rebuild=rebuild)


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"featureset": "reported", **labels})


def test_only_partitions_that_it_has_are_shown() -> None:
    assignment: Any = SimpleNamespace(runners={0: runner(90), 1: runner(95, complete=False)}, waiting={}, rebuilding={})
    source: Any = SimpleNamespace(problem=None, away=None)
    report = Report(SimpleNamespace(name="reported"), assignment, source, Turns())  # type: ignore[arg-type]  # a double with a name
    report.update(1_000, lambda _: 100, lambda: True)
    assert (value("partition_lag", partition="0"), value("partition_lag", partition="1")) == (10, 5)
    assert (value("partitions_rebuilding"), value("partitions_stopped", reason="StoreFull")) == (1, None)
    assert (value("rebuild_progress_ratio", partition="0"), value("rebuild_progress_ratio", partition="1")) == (
        None,
        0.5,
    )
    told = report.ready()[1]["rebuilding"]
    work = parse(json.dumps(report.ready()[1]).encode())
    assert work is not None, "the operator reads this"
    assert (set(work.owned), set(work.rebuilding)) == ({0, 1}, {1})
    assert told == {"1": {"progress": 0.5, "eta_seconds": None, "sentence": "rebuilding partition 1: 50 %"}}

    assignment.runners = {0: runner(100)}
    assignment.waiting = {1: Waiting("StoreFull", "no memory", 0)}
    report.update(2_000, lambda _: 100, lambda: True)
    assert (value("partition_lag", partition="0"), value("partition_lag", partition="1")) == (0, 5)  # still behind
    assert (value("partitions_rebuilding"), value("partitions_stopped", reason="StoreFull")) == (0, 1)
    assert (value("rebuild_progress_ratio", partition="1"), report.ready()[1]["rebuilding"]) == (None, {})

    assignment.runners, assignment.waiting = {2: runner(99)}, {}
    report.update(3_000, lambda _: 100, lambda: True)
    lags = [value("partition_lag", partition=str(partition)) for partition in range(3)]
    assert lags == [None, None, 1]
    assert (value("partitions_rebuilding"), value("partitions_stopped", reason="StoreFull")) == (0, 0)

    assignment.runners = {}
    report.update(4_000, lambda _: 100, lambda: True)
    assert value("partition_lag", partition="2") is None
