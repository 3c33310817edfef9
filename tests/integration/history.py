"""What a recorder would have written, from the log itself: for tests of what is read back from the history database."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import redis

from freshet.recorder.checkpoints import Checkpointer, NotYet, Taken
from freshet.spec import naming
from freshet.stores.kafka import admin, describe_topic
from freshet.stores.online_view import Moved
from freshet.stores.postgres import connect, migrate
from freshet.stores.states import Stale, States, Writer
from freshet.stores.topics import topic_uuid
from tests.integration.system import PARTITIONS, System


class History:
    """The history of one FeatureSet on real servers."""

    def __init__(self, system: System, database: str) -> None:
        self.system, self.database = system, database
        migrate(database)
        fs = system.featureset
        self.owner = naming.owner(system.namespace, fs.name, fs.definition.revision)
        self.topic_id = describe_topic(admin(system.settings), system.featureset.source.topic).topic_id

    def record(self, partition: int, begin: int, end: int) -> None:
        """Records a part of the source topic."""
        with connect(self.database) as connection:
            for offset, broker_ms, value in self.system._read(self.system.featureset.source.topic, partition, end):
                if not begin <= offset < end:
                    continue
                try:
                    entity = json.loads(value)["user_id"]
                except ValueError:
                    entity = None
                connection.execute(
                    'INSERT INTO event_log (topic_id, topic, partition, "offset", broker_time, status, entity, '
                    "payload) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                    (
                        topic_uuid(self.topic_id),
                        self.system.featureset.source.topic,
                        partition,
                        offset,
                        datetime.fromtimestamp(broker_ms / 1000, UTC),
                        0 if entity else 2,
                        entity,
                        value.decode() if entity else None,
                    ),
                )
            connection.execute(
                "INSERT INTO recorded (topic_id, partition, topic, token, backend, first_offset, next_offset, "
                "duplicates_from, judged_by) VALUES (%s, %s, %s, gen_random_uuid(), 0, %s, %s, 0, %s) "
                "ON CONFLICT (topic_id, partition) DO UPDATE SET next_offset = excluded.next_offset",
                (topic_uuid(self.topic_id), partition, self.system.featureset.source.topic, begin, end, self.owner),
            )

    def offsets(self) -> list[int]:
        """Of the newest checkpoint of every partition; -1: none."""
        states = States(self.database)
        found = [states.latest(self.owner, p) for p in range(PARTITIONS)]
        return [-1 if one is None else one.offset for one in found]

    def checkpoint(self) -> dict[int, Taken | str]:
        """Takes a checkpoint of every partition; why not where it was not taken."""
        found: dict[int, Taken | str] = {}
        with redis.Redis.from_url(self.system.valkey.url) as client, connect(self.database) as connection:
            taker = Checkpointer(self.system.featureset, self.owner, lambda: client, self.database)
            writer = Writer(connection)
            for partition in range(PARTITIONS):
                for _ in range(50):
                    try:
                        found[partition] = taker.take(writer, topic_uuid(self.topic_id), partition) or "nothing"
                    except NotYet as error:
                        found[partition] = str(error)
                    except (Moved, Stale):
                        continue
                    break
        return found
