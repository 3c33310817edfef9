"""Texts, lists and sets on a real store: served in every form, and what `freshet features` and `explain` say."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from freshet.cli import app
from freshet.dev.servers import EmbeddedValkey
from tests.integration.serving import Serving, owners, serving

pytestmark = pytest.mark.server

MANIFEST = """
apiVersion: freshet.dev/v1alpha1
kind: FeatureSet
metadata: {name: travel}
spec:
  version: v1
  entity: {name: user, key: user_id}
  source:
    partitions: 3
    fields:
      city: {type: string, path: geo.city}
      amount: {type: double}
  features:
    - {name: visits, aggregate: count, windows: [1h]}
    - {name: cities, aggregate: distinct, of: city, windows: [7d]}
    - {name: home, aggregate: mode, of: city, windows: [7d]}
    - {name: last_city, aggregate: last, of: city}
    - {name: median, aggregate: percentile, percentile: 50, of: amount}
    - {name: amounts, aggregate: last_n, size: 2, of: amount}
    - {name: away, expression: "last_city <> home_7d"}
"""
CITIES = ("Köln", "Köln", 'a, "b"', "Oslo")


@pytest.fixture(scope="module")
def server(valkey: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    now = time.time_ns() // 1_000_000
    events = [
        {"user_id": "zoë", "event_id": str(i), "timestamp": now - 1000 + i, "geo": {"city": city}, "amount": 10.0 * i}
        for i, city in enumerate(CITIES)
    ]
    with serving(valkey.url, tmp_path_factory.mktemp("manifests"), "inspect", MANIFEST) as found:
        everyone, client = owners(found)
        for owner in everyone:
            owner.take_over()
            owner.write(events, now)
        client.close()
        yield found


WANT = {"visits_1h": 4, "cities_7d": 3, "home_7d": "Köln", "last_city": "Oslo", "amounts": [30.0, 20.0], "away": True}


def test_every_form_has_texts_and_lists(server: Serving) -> None:
    status, one = server.get("/features/zoë")
    values = {name: entry["value"] for name, entry in one["features"].items()}
    assert (status, {name: values[name] for name in WANT}) == (200, WANT)
    assert values["median"] == pytest.approx(10, rel=0.010001)
    for form in ("rows", "columns"):
        status, many = server.post("/features:batch", {"entities": ["nobody", "zoë"], "format": form})
        assert status == 200
        assert "[30.0, 20.0]" in json.dumps(many)
        assert '"Oslo"' in json.dumps(many)
    body = {"features": ["travel:amounts", "travel:home_7d"], "entities": {"user_id": ["zoë", "nobody"]}}
    status, feast = server.post("/get-online-features", body)
    assert status == 200
    assert [result["values"] for result in feast["results"]][1:] == [[[30.0, 20.0], None], ["Köln", None]]


def test_features_and_explain(server: Serving, valkey: EmbeddedValkey) -> None:
    url = f"http://127.0.0.1:{server.settings.port}"
    told = CliRunner().invoke(app, ["features", "zoë", "--url", url])
    assert told.exit_code == 0, told.output
    assert "last_city" in told.output
    assert '"Oslo"' in told.output
    [folder] = server.settings.manifests
    common = ["--manifest", str(folder), "--redis", valkey.url, "--namespace", "inspect", "--output", "json"]
    found = json.loads(CliRunner().invoke(app, ["explain", "zoë", "visits_1h", *common]).output)
    assert (found["value"], found["formula"], found["hop"]) == (4, "count(events) over 1h", "1m")
    assert sum(sum(tile["parts"]["count"]) for tile in found["tiles"]) == 4
    away = json.loads(CliRunner().invoke(app, ["explain", "zoë", "away", *common]).output)
    assert (away["value"], away["inputs"]) == (True, {"last_city": "Oslo", "home_7d": "Köln"})
    text = CliRunner().invoke(app, ["explain", "nobody", "cities_7d", *common[:-2]])
    assert "no event of this entity" in text.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["features", "a", "--url", "http://127.0.0.1:1"], "does not answer"),
        (["explain", "a", "visits_2h", "--manifest", "{folder}"], 'did you mean "visits_1h"?'),
        (["explain", "a", "visits_1h", "--manifest", "{folder}", "--redis", "redis://127.0.0.1:1/0"], "cannot be read"),
    ],
)
def test_what_cannot_be_told_is_one_sentence(server: Serving, arguments: list[str], sentence: str) -> None:
    [folder] = server.settings.manifests
    told = CliRunner().invoke(app, [one.format(folder=folder) for one in arguments])
    assert told.exit_code == 1
    assert sentence in " ".join(told.output.split())
