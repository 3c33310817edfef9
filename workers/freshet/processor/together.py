"""Taking records of several partitions at once: numpy's cost of a call is that of hundreds of events."""

from __future__ import annotations

from collections.abc import Sequence

from freshet.engine.decode import EventDecoder
from freshet.engine.state import apply_together
from freshet.processor.assignment import Failure
from freshet.processor.decoded import decode_together
from freshet.processor.groups import groups
from freshet.processor.partition import Admitted, Prepared
from freshet.processor.records import Records
from freshet.processor.runner import Runner

_RECORDS = 6_000
"""Partitions are joined until they have so many records: with more the columns leave the processor's cache."""


def take_together(
    decoder: EventDecoder, parts: Sequence[tuple[Runner, Records]], now_ms: int
) -> list[tuple[Runner, Exception]]:
    """`PartitionOwner.take` for each, of owners that share a table; returns those that failed, and how."""
    failed: list[tuple[Runner, Exception]] = []
    for group in groups(parts, _RECORDS):
        failed += _take_group(decoder, group, now_ms)
    return failed


def _take_group(
    decoder: EventDecoder, parts: Sequence[tuple[Runner, Records]], now_ms: int
) -> list[tuple[Runner, Exception]]:
    failed: list[tuple[Runner, Exception]] = []
    admitted: list[tuple[Runner, Admitted]] = []
    decoded = decode_together(decoder, [records for _, records in parts])
    prepared: list[tuple[Runner, Prepared]] = [
        (runner, runner.owner.prepare(records, one)) for (runner, records), one in zip(parts, decoded, strict=True)
    ]
    # All loads are under way before the first is waited for.
    for runner, one in prepared:
        try:
            admitted.append((runner, runner.owner.admit(one)))
        except Failure as error:
            failed.append((runner, error))
    if not admitted:
        return failed
    applied = apply_together([(runner.owner.states, a.batch, a.accepted) for runner, a in admitted])
    for (runner, a), done in zip(admitted, applied, strict=True):
        try:
            runner.owner.applied(a, done, now_ms)
        except Failure as error:
            failed.append((runner, error))
        else:
            runner.taken(now_ms, int(a.records.broker_ms[-1]))
    return failed
