"""What is wrong with a manifest is said with its line, its field and what to do: all at once, in the file's order."""

from __future__ import annotations

from pathlib import Path

import pytest

from freshet.spec.expr.check import compile_expression
from freshet.spec.expr.parse import ExpressionError
from freshet.spec.expr.scope import Scope
from freshet.spec.expr.tree import Type
from freshet.spec.load import load_featuresets
from freshet.spec.problems import ManifestError
from tests.unit.spec.manifests import SMALL, bent, complaints

HERE = Path(__file__).parent


def blocks(file: str) -> list[list[str]]:
    """The blocks of a file, which empty lines separate; the first one is a comment."""
    text = (HERE / file).read_text(encoding="utf-8")
    return [block.split("\n") for block in text.rstrip("\n").split("\n\n")[1:]]


@pytest.mark.parametrize("block", blocks("complaints.txt"), ids=lambda block: block[1])
def test_of_a_manifest(block: list[str]) -> None:
    old, new = (line[2:].replace("\\n", "\n") for line in block[:2])
    assert complaints(bent(old, new)) == block[2:]


@pytest.mark.parametrize("block", blocks("expressions.txt"), ids=lambda block: block[0])
def test_of_an_expression(block: list[str]) -> None:
    types = {"a": Type.DOUBLE, "n": Type.INTEGER, "t": Type.TEXT, "ok": Type.BOOLEAN, "first_seen": Type.TIMESTAMP}
    scope = Scope({**types, "purchase_count_24h": Type.INTEGER}, "feature", now=True)
    with pytest.raises(ExpressionError) as caught:
        compile_expression(block[0], scope)
    assert str(caught.value) == block[1].strip()


def test_all_problems_come_at_once_and_in_order() -> None:
    text = bent("version: v1", "versoin: v1").replace("n_1h, 0", "n_1hr, 0").replace("type: double", "type: dbl")
    text = text.replace("aggregate: count", "aggregate: count, gap: 5m")
    assert [line.split(": ")[0:2] for line in complaints(text)] == [
        ["4", "spec.version"],
        ["5", "spec.versoin"],
        ["11", "spec.source.fields.amount.type"],
        ["13", "spec.features[0].gap"],
        ["15", "spec.features[2].expression"],
    ]


def test_what_depends_on_something_broken_is_not_called_unknown() -> None:
    text = bent("{name: n, aggregate: count,", "{name: n, aggregate: cuont,")
    assert len(complaints(text)) == 1
    assert len(complaints(text.replace("nullif(n_1h", "nullif(m_1h"))) == 2


def test_every_document_of_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(SMALL + "---\n" + SMALL.replace("name: demo", "name: other"))
    assert [featureset.name for featureset in load_featuresets([file])] == ["demo", "other"]
    file.write_text(SMALL + "---\n" + SMALL.replace("version: v1", "version: 1"))
    with pytest.raises(ManifestError, match=r"two\.yaml:21: spec\.version: must be text"):
        load_featuresets([file])


def test_a_folder_is_its_manifests_in_order_of_name(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(SMALL)
    (tmp_path / "a.yml").write_text(SMALL.replace("name: demo", "name: first"))
    (tmp_path / "notes.txt").write_text("not a manifest")
    assert [featureset.name for featureset in load_featuresets([tmp_path])] == ["first", "demo"]


def test_one_name_belongs_to_one_feature_set(tmp_path: Path) -> None:
    files = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for file in files:
        file.write_text(SMALL)
    with pytest.raises(ManifestError) as caught:
        load_featuresets(files)
    assert str(caught.value) == f'{files[1]}:3: metadata.name: "demo" is also the name of {files[0]}:3'


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    latin, large, empty = tmp_path / "latin.yaml", tmp_path / "large.yaml", tmp_path / "empty"
    latin.write_bytes(SMALL.replace("demo", "démo").encode("latin-1"))
    large.write_text("#" * 300_000 + "\n" + SMALL)
    empty.mkdir()
    with pytest.raises(ManifestError) as caught:
        load_featuresets([latin, large, empty, tmp_path / "missing.yaml"])
    assert caught.value.lines == (
        f"{latin}:3: is not UTF-8",
        f"{large}:1: the file is larger than 256 KiB",
        f"{empty}: the folder has no file that ends in .yaml, .yml, .json",
        f"{tmp_path / 'missing.yaml'}: cannot be read: No such file or directory",
    )


def test_what_cannot_be_shown_is_not() -> None:
    """A name may turn the text around it, or clear a screen."""
    name = "\u202e" + "x" * 100 + "\ufeff"
    assert complaints(bent("  entity:", f'  "{name}": {{a: 1}}\n  entity:')) == [
        f'6: spec.�{"x" * 76}…: unknown field "�{"x" * 76}…"; there are "deletionPolicy", "drift", "entity", '
        '"entityTtl", "features", "history", "limits", "output", "processor", "rollout", "source", "suspend", '
        '"timezone" and "version"'
    ]
    assert complaints(bent("      amount: {", '      "am\ufeffunt": {')) == [
        '11: spec.source.fields.am�unt: "am�unt" is not allowed: use at most 63 letters, digits and underscores, '
        "with no digit first",
        '14: spec.features[1].of: unknown event field "amount"; did you mean "am�unt"?',
    ]
    assert complaints(bent("aggregate: count", 'aggregate: count, of: "amount\\n + \u202e1"')) == [
        '13: spec.features[0].of: count is of events and takes no value; write `where: "amount� + �1 is not null"`'
    ]
