"""Whatever a file holds, it is either a feature set or a ManifestError: never another exception, never a crash."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from freshet.spec.expr.check import BrokenName, compile_expression
from freshet.spec.expr.parse import ExpressionError
from freshet.spec.expr.scope import Scope
from freshet.spec.expr.tree import Type
from freshet.spec.load import parse_featureset
from freshet.spec.problems import ManifestError
from tests.fuzzing import examples, made
from tests.unit.spec.manifests import SMALL

EXAMPLE = (Path(__file__).parents[3] / "examples" / "user-activity" / "featureset.yaml").read_text(encoding="utf-8")
MANY = settings(max_examples=examples(300, 5_000), deadline=None)
SCOPE = Scope(
    {"a": Type.DOUBLE, "s": Type.TEXT, "p": Type.BOOLEAN, "t": Type.TIMESTAMP, "x": None}, "feature", now=True
)
PIECES = (
    *"{}[]:,-&*!|>'\"#%@`~?\n\t ()+=<;\\",
    *("null", "true", "1e999", "-1", "0", "{}", "[]", "''", "- ", "  ", "*a", "&a ", "!!int ", "---\n", "...", "\x00"),
    *("\ud800", "é", "😀", "windows", "features", "aggregate: distinct", "expression:", "lifetime", "999999d", "<<: "),
)
SIGNS = "( ) , + - * / % = <> < >= . ; [ ] { } : ? @ $1 ^ ~ ! | & \\ ' \" -- /* */ # ` :: -> => := ** // || <=> $$"
KEYWORDS = "not and or in is null between case when then else end like as select from where cast interval over lambda"
MORE = "distinct all any exists union with values filter within order by limit try_cast date array ilike e'' x'' 0x1"
VALUABLE = "a s p t x 1 2.5 1e999 'text' \"a\" now() extract(hour from t) coalesce( least( round( sum("
WORDS = " ".join((SIGNS, KEYWORDS, MORE, VALUABLE)).split()


def mutated(text: str, seed: int) -> str:
    """A text with a few pieces cut out, doubled, exchanged or put in."""
    rng = random.Random(seed)
    for _ in range(rng.randrange(1, 5)):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.choice((0, 1, 3, 10, 60)))
        piece = rng.choice((*PIECES, "", text[start:end] * 2, text[rng.randrange(len(text) + 1) :][:20]))
        text = text[:start] + piece + text[end:]
    return text


def read(text: str) -> None:
    made("manifests")
    try:
        featureset = parse_featureset(text, "f.yaml")
    except ManifestError as error:
        told = error
    else:
        assert len(featureset.definition.revision) == 10
        return
    assert told.lines
    assert all(line.startswith("f.yaml:") and line.isprintable() for line in told.lines), told.lines


@MANY
@given(st.integers(0, 2**32))
def test_mutated_examples(seed: int) -> None:
    read(mutated(EXAMPLE, seed))


@MANY
@given(st.integers(0, 2**32))
def test_mutated_small_manifests(seed: int) -> None:
    read(mutated(SMALL, seed))


VALUES = st.recursive(
    st.sampled_from(["x", "1h", "event_type", "", "0", "1", "-1", "2.5", "true", "null", "1e999", "''", "count", "n"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(st.sampled_from(["name", "type", "path", "of", "a"]), inner, max_size=3).map(
            lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items.items()) + "}"
        )
    ),
    max_leaves=6,
)
PLACES = [
    *("{name: demo}", "v1", "{name: user, key: user_id}", "user_id", "8d", "{type: string, required: true}", "double"),
    *("count", "[1h, 24h]", "amount,", "\"event_type = 'buy'\"", '"total / nullif(n_1h, 0)"', "FeatureSet"),
    *("{name: n, aggregate: count, windows: [1h, 24h]}", "string", "0}", "true", "24h", "freshet.dev/v1alpha1"),
]


@MANY
@given(st.sampled_from(PLACES), VALUES)
def test_another_value_in_any_place(place: str, value: str) -> None:
    read(SMALL.replace(place, value, 1))


FIELDS = [
    *("timezone", "output", "entityTtl", "processor", "rollout", "history", "drift", "deletionPolicy", "suspend"),
    *("version", "features", "source"),
]


@MANY
@given(st.sampled_from(FIELDS), VALUES)
def test_any_value_in_any_field(field: str, value: str) -> None:
    read(SMALL.replace("  entity:", f"  {field}: {value}\n  entity:", 1))


@MANY
@given(st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join) | st.text(max_size=60))
def test_any_words_as_an_expression(text: str) -> None:
    made("expressions")
    with contextlib.suppress(ExpressionError, BrokenName):
        compile_expression(text, SCOPE)
