"""Binary COPY data made from columns, read back from a real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freshet.stores.copy_rows import HEAD, TAIL, Fixed, Texts, constant, int2, int4, int8, rows, timestamps, utf8

pytestmark = pytest.mark.server

_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
_ROW = st.tuples(
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(-(1 << 15), (1 << 15) - 1),
    st.one_of(st.none(), st.integers(-62_135_596_800_000, 253_402_300_799_999)),
    st.one_of(st.none(), _TEXT),
    _TEXT,
    st.one_of(st.none(), st.binary(max_size=20)),
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_ROW, max_size=20))
def test_what_is_copied_is_what_is_read(
    database: str, given_rows: list[tuple[int, int, int | None, str | None, str, bytes | None]]
) -> None:
    topic, size = uuid4(), len(given_rows)
    times = [row[2] for row in given_rows]
    null = np.array([t is None for t in times], np.bool_)
    columns: list[Fixed | Texts] = [
        constant(topic.bytes),
        int8(np.array([row[0] for row in given_rows], np.int64)),
        timestamps(np.array([t or 0 for t in times], np.int64), null if null.any() else None),
        utf8([row[3] for row in given_rows]),
        int2(np.array([row[1] for row in given_rows], np.int64)),
        int4(7),
        utf8([row[4] for row in given_rows]),
        constant("é".encode()),
        [row[5] for row in given_rows],
    ]
    with psycopg.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMP TABLE t (i serial, a uuid, b bigint, c timestamptz, d text, e smallint, f integer, g text, "
            "h text, j bytea)"
        )
        with cursor.copy("COPY t (a, b, c, d, e, f, g, h, j) FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(HEAD + rows(size, columns) + TAIL)
        cursor.execute("SET timezone TO 'UTC'")
        found = cursor.execute("SELECT a, b, c, d, e, f, g, h, j FROM t ORDER BY i").fetchall()
        connection.rollback()
    expected: list[tuple[UUID, object, object, object, object, int, str, str, bytes | None]] = [
        (topic, b, None if c is None else _EPOCH + timedelta(milliseconds=c), d, e, 7, g, "é", j)
        for b, e, c, d, g, j in given_rows
    ]
    assert found == expected


def test_times_that_no_client_could_read_are_cut_off() -> None:
    column = timestamps(np.array([-(1 << 63), (1 << 63) - 1], np.int64))
    first, last = (column.values + 946_684_800_000_000) // 1000
    assert _EPOCH + timedelta(milliseconds=int(first)) == datetime(1, 1, 1, tzinfo=UTC)
    assert (_EPOCH + timedelta(milliseconds=int(last))).year == 9999
