"""8: do the events that were sent stand in the history database, each once, and their vectors?"""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg

from freshet.runtime.variables import postgres_url
from freshet.smoke.report import Check, NotChecked, ProbeFailed, absent, failed, passed, skipped
from freshet.smoke.state import Run, Sent
from freshet.stores.event_log import Status
from freshet.stores.postgres import HistoryDown, connect, describe

_SHARE = 0.25
"""Of the run's whole time: the longest wait for rows."""
_STATEMENT_MS = 5000
_NEWEST = "SELECT max(number) FROM migrations"
_EVENTS = "SELECT status, count(*) FROM event_log WHERE entity = %s GROUP BY status"
_VECTORS = "SELECT count(*) FROM feature_snapshots WHERE entity = %s AND featureset = %s"
_ADVICE = "see that a recorder runs with this database and is not behind: its GET /ready, its log, freshet history"


def checks(run: Run) -> Iterator[Check]:
    """The server, the tables, then what the recorder has written of the entity whose events were sent."""
    given = run.options.postgres
    if given is None:
        yield skipped("history", "--postgres URL is not given; a deployment without a recorder has none")
        return
    run.deadline.at_most(_STATEMENT_MS / 1000)
    try:
        connection = connect(postgres_url(given), autocommit=True, statement_ms=_STATEMENT_MS, application="smoke")
    except ValueError as error:
        yield failed("server", f"--postgres: {error}", "mend the URL")
        return
    except HistoryDown as error:
        yield failed("server", str(error), "start it, or give the URL that the recorder uses with --postgres")
        return
    with connection:
        yield passed("server", "a login succeeds")
        try:
            yield _tables(connection)
            yield from _rows(run, connection)
        except psycopg.Error as error:
            yield failed("tables", describe(error), "the login of --postgres must be able to read the schema freshet")


def _tables(connection: psycopg.Connection) -> Check:
    """Raises ProbeFailed where no recorder has been: what follows would be about nothing."""
    try:
        found = connection.execute(_NEWEST).fetchone()
    except psycopg.errors.UndefinedTable:
        raise ProbeFailed("this database holds no history: no recorder has used it", _ADVICE) from None
    return passed("tables", f"schema freshet, migration {found[0] if found else 0}")


def _rows(run: Run, connection: psycopg.Connection) -> Iterator[Check]:
    sent = run.sent
    if sent is None:
        raise NotChecked("the events were not sent (see 4)")
    end = time.monotonic() + run.deadline.at_most(run.deadline.seconds * _SHARE)
    yield _events(run, sent, connection, end)
    yield _vectors(run, connection, end)


def _events(run: Run, sent: Sent, connection: psycopg.Connection, end: float) -> Check:
    """Every record once: the events, and the first of them a second time."""
    name, wanted = "events", len(sent.plan.events) + 1
    while True:
        found = {int(status): int(count) for status, count in connection.execute(_EVENTS, (run.key,))}
        total = sum(found.values())
        if total >= wanted or time.monotonic() >= end:
            break
        time.sleep(0.2)
    accepted = found.get(Status.ACCEPTED, 0)
    said = f"{total} of {wanted} records that were sent are recorded, {accepted} of them as accepted"
    once = {True: (wanted - 1,), False: (wanted,), None: (wanted - 1, wanted)}[sent.plan.counts_once]
    if total < wanted:
        return failed(name, said, _ADVICE)
    if total > wanted or accepted not in once:
        return failed(name, said, "the recorder judges them otherwise than the processor: report it")
    return passed(name, said)


def _vectors(run: Run, connection: psycopg.Connection, end: float) -> Check:
    """The FeatureSet's output, if it has one."""
    name, known = "feature vectors", run.definition()
    if known is not None and known.output_topic is None:
        return absent(name, "this FeatureSet has no output topic")
    if run.readable_seconds is None:
        return skipped(name, "the values did not come (see 5)")
    while True:
        row = connection.execute(_VECTORS, (run.key, run.name())).fetchone()
        count = int(row[0]) if row else 0
        if count or time.monotonic() >= end:
            break
        time.sleep(0.2)
    if count:
        return passed(name, f"{count} recorded")
    if known is None:
        return skipped(name, "none is recorded; whether there should be one is told by --manifest FILE")
    return failed(name, "none is recorded", _ADVICE)
