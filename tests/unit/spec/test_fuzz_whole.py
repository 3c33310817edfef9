"""Manifests of every aggregate and any expression, bent a little: refused with sentences, or computed with.

Where the tests of `test_fuzz` break texts, these break what a text says, and so reach the rules behind the reader. No
processor may fail because of what a manifest that was accepted says.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hypothesis import given, note, settings
from hypothesis import strategies as st

from freshet.dev.plan import plan_of
from freshet.engine.decode import EventDecoder
from freshet.engine.layout import Layout
from freshet.engine.reader import Reader
from freshet.engine.state import PartitionState
from freshet.runtime.live.entries import Entries
from freshet.runtime.live.payload import Unreadable, unpack
from freshet.spec.definition import Definition, FeatureSet
from freshet.spec.experiment import Experiment, experiment_of
from freshet.spec.load import load_manifests
from freshet.spec.problems import ManifestError
from freshet.spec.resource import featureset_of
from tests.fuzzing import MADE, bent, examples, made, odd
from tests.oracle.manifests import manifests
from tests.unit.engine.test_evaluate_properties import NUMBER, STRICT, TEXT, TRUTH, texts
from tests.unit.spec.manifests import SMALL
from tests.unit.spec.test_experiment import GOOD

MANY = settings(max_examples=examples(150, 1_500), deadline=None)
SEEDS = st.integers(0, 2**32)
SQL = st.sampled_from((NUMBER, NUMBER, TRUTH, TEXT)).flatmap(
    lambda kind: st.tuples(st.just(kind), texts(STRICT, (kind,), 2))
)
FIELDS = {"a": "amount", "b": "qty", "n": "qty", "s": "kind", "u": "note", "p": "flag", "q": "flag"}
NOW = 1_767_609_000_000
SECONDS = 20.0
"""Beyond it a manifest hangs its reader, also on a machine that has much else to do."""


def told(error: ManifestError, begin: str) -> None:
    """What a user is told can be shown, and says where."""
    assert error.lines
    assert all(line.startswith(begin) and line.isprintable() for line in error.lines), error.lines


def read_file(file: Path, content: bytes) -> list[FeatureSet | Experiment]:
    """What a file holds; nothing where it is refused."""
    note(repr(content))
    made("manifests")
    file.write_bytes(content)
    began = time.monotonic()
    try:
        featuresets, experiments = load_manifests([file])
    except ManifestError as error:
        told(error, str(file))
        return []
    finally:
        assert time.monotonic() - began < SECONDS
    return [*featuresets, *experiments]


def written(data: Any, rng: random.Random) -> bytes:
    """Plain data as a file: YAML or JSON, in some encoding."""
    try:
        text = json.dumps(data) if rng.random() < 0.3 else yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    except yaml.YAMLError:
        text = json.dumps(data)
    encoding = rng.choice((*["utf-8"] * 8, "utf-8-sig", "utf-16", "latin-1"))
    return text.encode(encoding, "surrogatepass" if encoding != "latin-1" else "replace")


def spliced(content: bytes, rng: random.Random) -> bytes:
    """Bytes with a few of them exchanged for some that text does not have, or cut off."""
    for _ in range(rng.choice((0, 0, 0, 0, 1, 4))):
        at = rng.randrange(len(content) + 1)
        piece = rng.choice(
            (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\x00", b"\x1b", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\r")
        )
        content = content[:at] + piece + content[at + rng.randrange(3) :]
    return content[: rng.randrange(len(content) + 1)] if rng.random() < 0.05 else content


def with_expressions(data: Any, drawn: list[tuple[str, str]], rng: random.Random) -> None:
    """Puts drawn expressions where the manifest has some of their kind, or adds a feature for them."""
    features = data["spec"]["features"]
    values = [f"{f['name']}_{f['windows'][0]}" if "windows" in f else f["name"] for f in features]
    for number, (kind, text) in enumerate(drawn):
        feature = rng.choice(features)
        place = {NUMBER: "of", TRUTH: "where"}.get(kind)
        if place in feature and rng.random() < 0.9:
            feature[place] = named(text, FIELDS)
        else:
            names = dict.fromkeys("abn", rng.choice(values)) | {"t": "first_seen", "z": "last_seen"}
            names |= {"s": "user_id", "u": "user_id", "p": "true", "q": "(now() > last_seen)"}
            features.append({"name": f"x{number}", "expression": named(text, names)})


def named(text: str, names: dict[str, str]) -> str:
    return re.sub(r"\b[a-z]\b", lambda found: names.get(found[0], found[0]), text)


def computed(definition: Definition, rng: random.Random) -> None:
    """Some events, good and odd, through everything that a processor and serving do with a definition."""
    layout = Layout(definition)
    state = PartitionState(definition, layout)
    values = [json.dumps(event(definition, rng)).encode() for _ in range(12)]
    times = NOW + np.sort(np.array([rng.randrange(10**7) for _ in values], np.int64))
    batch, _ = EventDecoder(definition).decode(values, np.arange(len(values), dtype=np.int64), times)
    keys = list(dict.fromkeys(batch.keys))
    state.load(keys, [None] * len(keys))
    state.apply(batch, np.ones(len(batch), np.bool_))
    blobs: list[bytes | None] = [write.blob for write in state.encode(state.slots(keys))]
    vectors = Reader(definition, layout).read([*keys, "new"], [*blobs, None], NOW + 10**7)
    assert all(len(vectors.columns[feature.name].values) == len(keys) + 1 for feature in definition.features)


def event(definition: Definition, rng: random.Random) -> dict[str, Any]:
    known: dict[str, Any] = {"amount": rng.choice((3, -2.5, 1e12, None)), "qty": rng.choice((0, 7)), "flag": True}
    known |= {"kind": rng.choice(("buy", "")), "note": "ünï"}
    known |= {definition.key: rng.choice("ab"), definition.timestamp: NOW + rng.randrange(-(10**9), 10**7)}
    return known if rng.random() < 0.7 else bent(known, rng)


@MANY
@given(manifests(most=6), st.lists(SQL, max_size=4), SEEDS)
def test_any_feature_set(tmp_path_factory: Any, text: str, drawn: list[tuple[str, str]], seed: int) -> None:
    rng = random.Random(seed)
    data = yaml.safe_load(text)
    with_expressions(data, drawn, rng)
    content = spliced(written(bent(data, rng, rng.choice((0, 0, 1, 2))), rng), rng)
    for found in read_file(tmp_path_factory.getbasetemp() / "f.yaml", content):
        if isinstance(found, FeatureSet):
            made("manifests that were accepted and computed with")
            json.dumps(plan_of(found).document())
            computed(found.definition, rng)


@MANY
@given(manifests(most=4), st.lists(SQL, max_size=2), SEEDS)
def test_any_resource_of_the_api(text: str, drawn: list[tuple[str, str]], seed: int) -> None:
    rng = random.Random(seed)
    data = yaml.safe_load(text)
    with_expressions(data, drawn, rng)
    resource = bent(data, rng)
    note(repr(resource))
    made("manifests")
    try:
        found = featureset_of(resource if isinstance(resource, dict) else {})
    except ManifestError as error:
        told(error, "")
    else:
        assert len(found.definition.revision) == 10


@MANY
@given(SEEDS)
def test_any_experiment(tmp_path_factory: Any, seed: int) -> None:
    rng = random.Random(seed)
    data = bent(yaml.safe_load(GOOD), rng)
    read_file(tmp_path_factory.getbasetemp() / "e.yaml", spliced(written(data, rng), rng))
    made("manifests")
    try:
        experiment_of(data if isinstance(data, dict) else {"spec": odd(rng)})
    except ManifestError as error:
        told(error, "")


@MANY
@given(st.lists(SEEDS, min_size=1, max_size=3, unique=True))
def test_any_configuration(seeds: list[int]) -> None:
    """What the operator writes for ingest and serving, damaged on its way: none is read, or each for itself."""
    rng = random.Random(seeds[0])
    manifests = [bent(yaml.safe_load(SMALL.replace("demo", f"demo{seed}")), random.Random(seed)) for seed in seeds]
    content = gzip.compress(json.dumps(bent({"featuresets": manifests}, rng, rng.choice((0, 0, 1)))).encode())
    if rng.random() < 0.2:
        content = spliced(content, rng)
    made("manifests", len(manifests))
    try:
        found = unpack(content)
    except Unreadable:
        return
    taken, wrong = Entries("default").take(found.manifests)
    assert len(taken) + len(wrong) == len(found.manifests), wrong
    assert all(sentence.isprintable() for sentence in wrong), wrong


def test_this_is_as_much_as_is_promised() -> None:
    """Runs last. A count that stands here is one that was made, as the end of the report says it."""
    assert MADE["manifests"] >= examples(600, 5_000)
    assert MADE["manifests that were accepted and computed with"] >= examples(10, 150)
