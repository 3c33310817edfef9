"""What history is to have of a log, told from the log alone."""

from __future__ import annotations

import json

from freshet.spec.headers import CONTROL, ERASE
from freshet.spec.load import parse_featureset
from freshet.spec.partitioning import partition_of
from freshet.stores.event_log import Status
from tests.chaos.evidence import logs_of
from tests.chaos.manifests import users
from tests.chaos.recorded import rows_of
from tests.chaos.topics import Message

FS = parse_featureset(users("events"))
NOW = 1_800_000_000_000


def test_rows_of_a_log_with_two_erasures_of_one_entity() -> None:
    user = "user_1"
    p = partition_of(user, FS.source.partitions, "murmur2")
    event = {"user_id": user, "timestamp": NOW, "kind": "view"}
    erase: tuple[bytes, list[tuple[str, bytes | None]]] = (b"", [(CONTROL, ERASE.encode())])
    first, other = (json.dumps(event | {"event_id": name}).encode() for name in "ab")
    values = [(first, []), erase, (b"{broken", []), erase, (other, []), (other, [])]
    raw = [Message(p, i, NOW + i, value, user.encode(), headers) for i, (value, headers) in enumerate(values)]
    found = rows_of(p, logs_of(raw, FS)[p], raw, FS.definition)
    assert [row[1] for _, row in sorted(found.items())] == [
        Status.ERASED,
        Status.ERASED,  # the first erasure names the entity: the second takes its name away
        Status.INVALID,
        Status.CONTROL,
        Status.ACCEPTED,
        Status.DUPLICATE,
    ]
    assert found[p, 0][2:] == found[p, 1][2:] == (None, None, None)
    assert found[p, 3][2] == user
    assert found[p, 4][2:] == (user, "b", other.decode())
