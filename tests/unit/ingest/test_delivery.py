"""A request whose events nobody answers for is told so."""

from __future__ import annotations

import asyncio

from freshet.ingest.delivery import Delivery, Shipment
from freshet.ingest.destinations import Record
from freshet.runtime.settings import KafkaSettings
from freshet.runtime.shutdown import Deadline


def test_who_waits_for_too_long_is_told_and_the_others_wait_on() -> None:
    async def play() -> tuple[bool, bool]:
        delivery = Delivery(
            KafkaSettings(bootstrap="127.0.0.1:1"), "murmur2", memory_bytes=1 << 20, acknowledge_timeout_ms=60_000
        )
        delivery.start()
        try:
            waiting: list[Shipment] = []
            for delivery.patience in (0.05, 60):
                waiting.append(delivery.begin(1, 10))
                delivery.send(waiting[-1], "t", [Record(0, b"k", b"v")])
            in_time = await asyncio.wait_for(waiting[0].done, 10)
            return in_time, waiting[1].done.done()
        finally:
            delivery.close(Deadline(0))

    assert asyncio.run(play()) == (False, False)
