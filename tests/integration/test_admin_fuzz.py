"""No request to the administration gets a 500, or a 503 as if its database were away, and none opens the door."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from freshet.dev.servers import EmbeddedKafka, EmbeddedPostgres, EmbeddedValkey
from tests.fuzzing import MADE, examples
from tests.integration.administered import TOKEN, Administered
from tests.integration.http_fuzz import Route, bend, check, exchange
from tests.integration.test_dead_letters import BAD

pytestmark = pytest.mark.server

FUZZ = settings(max_examples=examples(250, 2_500), deadline=None, suppress_health_check=list(HealthCheck))
DOOR = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
FILTER = [
    *(("reason", "not_json"), ("since", "2026-01-05T10:30:00Z"), ("until", "2036-01-05T10:30:00+02:00")),
    *(("partition", "1"), ("offset", "2"), ("featureset", "faults"), ("status", "open"), ("limit", "10")),
]
WANTED = {
    "reason": ["not_json"],
    "since": "2026-01-05T10:30:00Z",
    "partition": 1,
    "offset": 1,
    "topic": "t",
    "limit": 5,
}
UUID = "b45a76ab-5cd4-414e-a801-d5f84a8dcd8e"
ROUTES = (
    Route("GET", "/dead-letters", FILTER, headers=DOOR),
    Route("GET", "/dead-letters", [("limit", "3")], headers=DOOR),
    Route("GET", "/dead-letters/stats", FILTER, headers=DOOR),
    Route("POST", "/dead-letters:replay", body=WANTED | {"dry_run": True}, headers=DOOR),
    Route("POST", "/dead-letters:replay", body={"limit": 2, "featureset": "faults"}, headers=DOOR),
    Route("POST", "/dead-letters:discard", body=WANTED, headers=DOOR),
    Route("DELETE", "/entities/user_2", headers=DOOR),
    Route("GET", f"/erasures/{UUID}", headers=DOOR),
    Route("GET", "/config"),
)


@pytest.fixture(scope="module")
def system(
    tmp_path_factory: pytest.TempPathFactory,
    kafka: EmbeddedKafka,
    valkey: EmbeddedValkey,
    postgres: EmbeddedPostgres,
) -> Iterator[Administered]:
    """A FeatureSet with a dead letter of every kind in its history."""
    numbers = itertools.count()
    folder, database = tmp_path_factory.mktemp("admin"), postgres.create("adminfuzz")
    running = Administered(
        folder, (kafka, valkey), "admin-fuzz", lambda kind: f"{kind}-admin-fuzz-{next(numbers)}", postgres=database
    )
    running.database = database
    for _, value in BAD:
        running.producer.produce(running.featureset.source.topic, key="user_1", value=value, partition=1)
    running.producer.flush()
    running.processor()
    running.administration()
    running.wait_processed()
    running.wait_letters(len(BAD))
    yield running
    running.close()


@FUZZ
@given(st.sampled_from(ROUTES), st.integers(0, 2**32))
def test_any_exchange(system: Administered, route: Route, seed: int) -> None:
    request = bend(route, random.Random(seed))
    note(repr(request.raw[:3000]))
    answer = exchange(system.port, request, "administration")
    check(answer, request)
    known = f"authorization: bearer {TOKEN}".encode() in request.raw.lower()
    assert answer is None or known or answer.status >= 400 or b"/config" in request.raw, "without the token"


def test_this_is_as_much_as_is_promised(system: Administered) -> None:
    """Runs last: so many requests were made, and the letters that are left can be asked for."""
    assert MADE["requests to administration"] >= examples(250, 2_500)
    assert MADE["requests to administration that were right"] >= examples(15, 250), "none of them came far"
    assert system.http("GET", "/dead-letters?limit=1")[0] == 200
