"""quixstreams counting each user's events over four tumbling windows: run in the rivals' environment.

`python quix_count.py BOOTSTRAP TOPIC EVENTS` prints events a second, the first tenth left out. Tumbling windows are the
cheapest that the library has; ours slide. Local state without changelog topics, nothing is sent on: again the cheapest.
"""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import timedelta
from typing import Any

from quixstreams import Application
from quixstreams.dataframe.windows import Count

_WINDOWS = (timedelta(hours=1), timedelta(hours=6), timedelta(hours=24), timedelta(days=7))


def main(bootstrap: str, topic: str, events: int) -> None:
    """Counts, then prints the rate."""
    seen, marks = 0, []

    def processed(_topic: str, _partition: int, _offset: int) -> None:
        nonlocal seen
        seen += 1
        if seen in (events // 10, events):
            marks.append(time.perf_counter())
        if seen == events:
            app.stop()

    def event_time(value: Any, _headers: Any, _timestamp: float, _type: Any) -> int:
        return int(value["timestamp"])

    with tempfile.TemporaryDirectory() as state:
        app = Application(
            broker_address=bootstrap,
            consumer_group="rival",
            auto_offset_reset="earliest",
            state_dir=state,
            use_changelog_topics=False,
            on_message_processed=processed,
            loglevel="ERROR",
        )
        source = app.topic(topic, key_deserializer="str", value_deserializer="json", timestamp_extractor=event_time)
        frame = app.dataframe(source)
        for window in _WINDOWS:
            frame.tumbling_window(window).agg(n=Count()).current()
        app.run()
    print((events - events // 10) / (marks[1] - marks[0]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
