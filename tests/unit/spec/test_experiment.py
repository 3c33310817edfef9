"""Experiments: every contradiction is told with its place; `freshet validate` takes them and services do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from freshet.spec.experiment import experiment_of
from freshet.spec.load import load_featuresets, load_manifests
from freshet.spec.problems import ManifestError
from tests.unit.spec.manifests import SMALL

GOOD = """\
apiVersion: freshet.dev/v1alpha1
kind: Experiment
metadata: {name: test, namespace: team-a}
spec:
  featureSet: demo
  unit: user
  traffic: 12.5%
  variants:
    - {name: A, version: v1, control: true}
    - {name: B, parameters: {limit: 3, text: x, is_on: true, share: 0.5}}
  overrides: {user_qa: B}
  holdout: 1%
  metrics:
    - {name: buys, aggregate: count, where: "event_type = 'buy'"}
    - {name: spend, aggregate: sum, of: amount, role: Guardrail}
  stop: {maxDuration: 28d}
"""


def lines(old: str, new: str) -> tuple[str, ...]:
    assert old in GOOD
    with pytest.raises(ManifestError) as caught:
        experiment_of(yaml.safe_load(GOOD.replace(old, new)))
    return caught.value.lines


def test_a_good_one() -> None:
    data: dict[str, Any] = yaml.safe_load(GOOD)
    data["metadata"] |= {"uid": "x", "managedFields": []}
    spec = experiment_of({**data, "status": {"phase": "NotImplemented"}}).spec
    assert (spec.traffic, spec.holdout, spec.stop.maxDuration) == (1250, 100, 28 * 86_400_000)
    assert [variant.weight for variant in spec.variants] == [1, 1]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("name: B, p", "name: A, p", 'spec.variants[1].name: "A" is already the name of spec.variants[0]'),
        ("name: spend", "name: buys", 'spec.metrics[1].name: "buys" is already the name of spec.metrics[0]'),
        (", control: true", "", "spec.variants: exactly one must have `control: true`; here it is none"),
        (
            "{name: B,",
            "{name: B, control: true,",
            "spec.variants: exactly one must have `control: true`; here it is A, B",
        ),
        ("{name: B,", "{name: B, version: v2,", "spec.variants[1]: needs either version or parameters, and not both"),
        ("user_qa: B", "user_qa: b1", 'spec.overrides.user_qa: unknown variant "b1"; there are "A" and "B"'),
        ("12.5%", "12.555%", 'spec.traffic: "12.555%" is not allowed: use a share from 0% to 100% with at most two'),
        ("12.5%", "100.01%", 'spec.traffic: "100.01%" is not allowed: use a share from 0% to 100% with at most two'),
        ("12.5%", "0.5", "spec.traffic: must be a share like 50%, got 0.5"),
        ("of: amount, ", "", "spec.metrics[1]: sum needs of: the value that is aggregated, for example `of: amount`"),
        ("count, ", "count, of: amount, ", "spec.metrics[0]: count is of events and takes no `of`; use where"),
        ("28d", "5m", "spec.stop.maxDuration: must be from 1h to 365d, got 5m"),
        ("limit: 3", "limit: [3]", "spec.variants[1].parameters.limit"),
        ("limit: 3", "Limit: 3", 'spec.variants[1].parameters.Limit: "Limit" is not allowed'),
        ("text: x", 'text: "\\a"', "spec.variants[1].parameters.text: has a character that is not allowed"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(old: str, new: str, line: str) -> None:
    assert lines(old, new)[0].startswith(line)


def test_other_kinds_are_not_experiments() -> None:
    assert lines("kind: Experiment", "kind: FeatureSet")[0].startswith('kind: must be "Experiment"')
    assert lines("v1alpha1", "v1") == ('apiVersion: must be "freshet.dev/v1alpha1", got "freshet.dev/v1"',)


def test_files_with_experiments_are_checked_and_not_run(tmp_path: Path) -> None:
    file = tmp_path / "both.yaml"
    file.write_text(SMALL + "---\n" + GOOD)
    featuresets, experiments = load_manifests([file])
    assert [featureset.name for featureset in featuresets] == ["demo"]
    assert [experiment.metadata.name for experiment in experiments] == ["test"]
    with pytest.raises(ManifestError, match=r"18: kind: Experiment is not implemented by this version"):
        load_featuresets([file])
    file.write_text(SMALL + "---\n" + GOOD.replace("28d", "5m"))
    with pytest.raises(ManifestError, match=r"both\.yaml:32: spec\.stop\.maxDuration: must be from"):
        load_manifests([file])
    file.write_text(GOOD + "---\n" + GOOD)
    with pytest.raises(ManifestError, match=r'"test" is also the name of'):
        load_manifests([file])
