"""6, 7 and 8: what this version of Freshet does not have. It is listed, so that nobody takes its absence for a pass."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from freshet.smoke.report import Check, absent, failed
from freshet.smoke.state import Run

_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
"""PostgreSQL's protocol: a server answers it with one byte, before any login."""


def experiments(run: Run) -> Iterator[Check]:
    """6."""
    yield absent("assignment of variants", "this version has no experiments: nothing was checked")


def drift(run: Run) -> Iterator[Check]:
    """7."""
    yield absent("drift monitor", "this version does not watch for drift: nothing was checked")


def database(run: Run) -> Iterator[Check]:
    """8: nothing is stored in Postgres yet; with its URL, whether a server is there."""
    nothing = "this version stores nothing in Postgres: no table was checked"
    if run.options.postgres is None:
        yield absent("tables", nothing)
        return
    try:
        parts = urlsplit(run.options.postgres)
        place = (parts.hostname or "", parts.port or 5432)
    except ValueError:
        place = ("", 0)
    if not place[0]:
        yield failed("server", "--postgres is not of the form postgresql://host:port/name", "mend the URL")
        return
    advice = "start it, or give its URL with --postgres; without the option nothing of it is checked"
    seconds = run.deadline.at_most(5)
    try:
        with socket.create_connection(place, timeout=seconds) as connection:
            connection.sendall(_SSL_REQUEST)
            reply = connection.recv(1)
    except OSError as error:
        yield failed("server", f"no Postgres answers at {place[0]}:{place[1]} ({type(error).__name__})", advice)
        return
    if reply not in (b"S", b"N"):
        yield failed("server", f"what answers at {place[0]}:{place[1]} is not Postgres", advice)
        return
    yield absent("tables", f"a Postgres server answers; {nothing}")
