"""One producer for each way of spreading keys over partitions, made when it is first needed."""

from __future__ import annotations

from collections.abc import Callable

from freshet.ingest.delivery import Delivery
from freshet.runtime.shutdown import Deadline


class Deliveries:
    """The deliveries of a service, by partitioner. Belongs to the event loop once it is started."""

    def __init__(self, make: Callable[[str], Delivery], partitioners: set[str]) -> None:
        """Makes those of `partitioners` at once: what is wrong with Kafka's settings is told at the start.

        Raises ConfigurationError.
        """
        self._make = make
        self._made = {partitioner: make(partitioner) for partitioner in partitioners}

    def start(self) -> None:
        """To be called in the event loop whose requests will wait."""
        for delivery in self._made.values():
            delivery.start()

    def get(self, partitioner: str) -> Delivery:
        """The one of a partitioner; to be called in the event loop."""
        found = self._made.get(partitioner)
        if found is None:
            found = self._made[partitioner] = self._make(partitioner)
            found.start()
        return found

    def close(self, deadline: Deadline) -> int:
        """Waits for acknowledgements until the deadline; how many records are left without one."""
        return sum(delivery.close(deadline) for delivery in self._made.values())
