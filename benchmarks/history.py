"""history: rows a second of one recorder on one core, exactly-once, beside COPY of the same rows without consuming.
history.cpu: rows a second of the recorder's CPU time: what a core gives where PostgreSQL is not the bound.

PostgreSQL (fsync on) and Kafka are on the other core. The limit writes the same rows, made beforehand, into the same
tables in transactions of the recorder's size; it has no broker beside PostgreSQL on that core.

`python -m benchmarks.history limit BOOTSTRAP URL` is the limit's own process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from uuid import uuid4

from confluent_kafka import TopicPartition

from benchmarks.events import fill
from benchmarks.processor import until
from benchmarks.results import Figure
from benchmarks.stack import EXAMPLE, MEASURED, OTHERS, pinned, stack
from freshet.dev.servers import EmbeddedPostgres
from freshet.engine.duplicates import DuplicateFilter
from freshet.recorder import fence, writer
from freshet.recorder.batch import batch_of
from freshet.recorder.fence import Step
from freshet.recorder.judge import Judge, Part
from freshet.recorder.rows import EventRows, Place
from freshet.runtime.settings import KafkaSettings
from freshet.spec.load import load_featuresets
from freshet.stores import kafka
from freshet.stores.postgres import connect, migrate

EVENTS = int(os.environ.get("BENCH_EVENTS", "600000"))
FLOOR = 60_000
_TRANSACTION = 20_000
_LIMIT_IS = "COPY of the same rows in equal transactions, same core, nothing consumed or judged"


def measure() -> list[Figure]:
    """The limit, the recorder, and the limit again, each in a database of its own."""
    with stack() as running, pinned(OTHERS):
        fill(running, EVENTS, 10_000)
        with EmbeddedPostgres(running.folder / "postgres") as postgres:
            before = _limit_process(running.kafka.bootstrap, postgres.create("before"))
            recorder = running.service("recorder", MEASURED, FRESHET_POSTGRES=postgres.create("history"))
            rate = until(lambda: recorder.metric("recorder_rows_total"), EVENTS)
            core = EVENTS / recorder.metric("process_cpu_seconds_total")
            recorder.stop()
            after = _limit_process(running.kafka.bootstrap, postgres.create("after"))
    limit = (before + after) / 2
    return [
        Figure("history", rate, "rows/s", limit, _LIMIT_IS),
        Figure("history.cpu", core, "rows/CPU s", FLOOR, "the floor: 60k rows/s on one core; start-up included"),
    ]


def _limit_process(bootstrap: str, url: str) -> float:
    with pinned(MEASURED):
        command = [sys.executable, "-m", "benchmarks.history", "limit", bootstrap, url]
        return float(subprocess.run(command, check=True, capture_output=True).stdout)


def _limit(bootstrap: str, url: str) -> float:
    made = _rows(bootstrap)
    migrate(url)
    with connect(url, autocommit=True) as connection:
        places = {rows.place for rows in made}
        taken = {place: fence.take_over(connection, place, 0, 1 << 40) for place in places}
        begin = time.perf_counter()
        total = 0
        while made:
            part: list[writer.Part] = []
            size = 0
            while made and size < _TRANSACTION:
                rows = made.pop()
                size += len(rows)
                step = Step(rows.place, taken[rows.place].token, 0, 0, 0, 0)
                part.append(writer.Part(step, [rows]))
            outcome = writer.write(connection, part, set())
            total += outcome.rows["event_log"]
        seconds = time.perf_counter() - begin
    assert total == EVENTS, f"{total} rows of {EVENTS} events"
    return total / seconds


def _rows(bootstrap: str) -> list[EventRows]:
    """The topic as rows ready to be encoded."""
    featureset = load_featuresets([EXAMPLE])[0]
    source = featureset.source
    judge = Judge([featureset], "default")
    consumer = kafka.consumer(KafkaSettings(bootstrap=bootstrap), "limit")
    consumer.assign([TopicPartition(source.topic, p, 0) for p in range(source.partitions)])
    places = [Place(source.topic, uuid4(), p) for p in range(source.partitions)]
    filters = [DuplicateFilter(judge.deduplicate_ms) for _ in places]
    made: list[EventRows] = []
    total = 0
    while total < EVENTS:
        parts: dict[int, list[object]] = {}
        for message in consumer.consume(5_000, 0.2):
            if message.error() is None:
                parts.setdefault(message.partition() or 0, []).append(message)
        for p, messages in parts.items():
            batch = batch_of(messages)  # type: ignore[arg-type]
            total += len(batch)
            made.append(EventRows.of(places[p], batch, judge.judge(batch, Part(p, source.partitions), filters[p])))
    consumer.close()
    return made[::-1]


if __name__ == "__main__":
    if sys.argv[1:2] == ["limit"]:
        print(_limit(*sys.argv[2:4]))
    else:
        from benchmarks.results import publish

        publish(measure(), partial=True)
