"""`make chaos-volume`: millions of events through ingest while processors are killed every 20 s; none may be missing.

Every event has its number; what is in the topic and what every entity's features hold is counted against it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshet.dev.pace import at_full_speed
from freshet.dev.sender import Row, Sender
from freshet.engine.reader import Reader
from freshet.spec import naming
from freshet.spec.partitioning import partition_of
from freshet.stores import kafka
from freshet.stores.fence import Progress
from freshet.stores.redis import connect, execute
from tests.chaos.__main__ import say
from tests.chaos.bare import PARTITIONS, Bare
from tests.chaos.topics import read_values

FIGURES = Path(__file__).parent.parent.parent / "build" / "chaos-volume.json"
_USERS = 20_000
_PATIENCE_SECONDS = 60


def main() -> int:
    """Runs; the exit code says whether nothing was lost or doubled."""
    options = argparse.ArgumentParser(prog="make chaos-volume", description=__doc__)
    options.add_argument("--events", type=int, default=5_000_000)
    options.add_argument("--kill-every", type=float, default=20.0, help="seconds")
    given = options.parse_args()
    with TemporaryDirectory(prefix="freshet-volume-") as folder, Bare(Path(folder), history=False) as system:
        figures = run(system, given.events, given.kill_every)
    say(json.dumps(figures, indent=1))
    FIGURES.parent.mkdir(exist_ok=True)
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    bad = [name for name in ("lost", "unasked", "entities_wrong") if figures[name]]
    return 1 if bad or figures["acknowledged"] != given.events else 0


def run(system: Bare, events: int, kill_every: float) -> dict[str, Any]:
    """Sends, kills, waits, counts."""
    ingest = system.service("ingest", "ingest")
    processors = [system.service(f"processor-{i + 1}", "processor") for i in range(2)]
    sender = Sender(ingest.url, _PATIENCE_SECONDS)
    began = killed_at = told_at = time.monotonic()
    kills = 0
    for part in at_full_speed(rows(events)):
        sender.submit(part)
        now = time.monotonic()
        if now - killed_at >= kill_every:
            victim = processors[kills % len(processors)]
            victim.kill()
            victim.start()
            kills, killed_at = kills + 1, now
        if now - told_at >= 10:
            say(f"{sender.summary.accepted:,} acknowledged, {kills} kills")
            told_at = now
    sender.drain()
    summary = sender.close()
    sending = time.monotonic() - began
    say(f"{summary.accepted:,} acknowledged in {sending:.0f} s; waiting for the processors")
    wait(system, 600)
    return {
        "events": events,
        "acknowledged": summary.accepted,
        "sent_again": summary.retries,
        "kills": kills,
        "seconds_sending": round(sending),
        "seconds_until_processed": round(time.monotonic() - began),
        **count(system, events),
    }


def rows(events: int) -> Iterator[Row]:
    """Event number n is of user n modulo their number, with an amount that sums show."""
    for n in range(events):
        at = time.time_ns() // 1_000_000
        kind = "purchase" if n % 3 == 0 else "view"
        text = (
            f'{{"event_id":"{n}","user_id":"u{n % _USERS}","timestamp":{at},"event_type":"{kind}","amount":{n % 100}}}'
        )
        yield Row(n, text.encode())


def wait(system: Bare, seconds: float) -> None:
    """Until every partition is at the end of its log."""
    consumer = kafka.consumer(system.settings, "volume-ends")
    ends = [kafka.log_bounds(consumer, system.featureset.source.topic, p)[1] for p in range(PARTITIONS)]
    consumer.close()
    deadline = time.monotonic() + seconds
    with connect(system.valkey.url) as store:
        while True:
            stored = [execute(store, "GET", naming.progress_key(tag(system, p))) for p in range(PARTITIONS)]
            now = [Progress.parse(one).offset if one else -1 for one in stored]
            if all(offset >= end for offset, end in zip(now, ends, strict=True)):
                return
            assert time.monotonic() < deadline, f"log ends {ends}, progress {now}"
            time.sleep(0.5)


def tag(system: Bare, partition: int) -> str:
    """Of the keys of a partition."""
    fs = system.featureset
    return naming.tag("default", fs.name, fs.definition.revision, partition)


def count(system: Bare, events: int) -> dict[str, int]:
    """What the topic holds and what the features say, against what was sent."""
    numbers = in_topic(system)
    there = np.bincount(numbers[numbers < events], minlength=events)
    wanted_n = np.bincount(np.arange(events) % _USERS, minlength=_USERS)
    wanted_sum = np.bincount(np.arange(events) % _USERS, weights=np.arange(events) % 100, minlength=_USERS)
    ever, spent = features(system)
    return {
        "records_in_topic": len(numbers),
        "lost": int((there == 0).sum()),
        "unasked": int((numbers >= events).sum()),
        "entities": _USERS,
        "entities_wrong": int(((ever != wanted_n) | (spent != wanted_sum)).sum()),
        "events_missing_in_features": int(np.maximum(wanted_n - ever, 0).sum()),
        "events_doubled_in_features": int(np.maximum(ever - wanted_n, 0).sum()),
    }


class _Event(msgspec.Struct, gc=False):
    event_id: str


def in_topic(system: Bare) -> NDArray[np.int64]:
    """The number of each record of the topic; an event that was sent again stands there more than once."""
    decode = msgspec.json.Decoder(_Event).decode
    values = read_values(system.settings, system.featureset.source.topic)
    return np.fromiter((int(decode(value).event_id) for value in values), np.int64)


def features(system: Bare) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count and sum of every user, as stored."""
    keys = [f"u{i}" for i in range(_USERS)]
    reader, now = Reader(system.featureset.definition), time.time_ns() // 1_000_000
    partitions = np.array([partition_of(key, PARTITIONS, "murmur2") for key in keys])
    ever, spent = np.zeros(_USERS), np.zeros(_USERS)
    with connect(system.valkey.url) as store:
        for p in range(PARTITIONS):
            at = np.flatnonzero(partitions == p)
            own = [keys[i] for i in at.tolist()]
            blobs = execute(store, "MGET", *(naming.entity_key(tag(system, p), key) for key in own))
            got = reader.read(own, blobs, now)
            ever[at], spent[at] = got.columns["ever"].values, got.columns["spent"].values
    return ever, spent


if __name__ == "__main__":
    sys.exit(main())
