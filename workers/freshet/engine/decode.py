"""Kafka values to columns: one struct an event in C, the columns by numpy, sentences only for bad events.

Every value is decoded by itself (joined texts could repair each other's faults), so what an event gives does
not depend on the batch it came in. Anything the fast decoder refuses goes to `freshet.engine.examine`, which
is the rule; what both accept then passes the same checks of key and time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from freshet.engine.column import Column, Ints
from freshet.engine.events import EventBatch
from freshet.engine.examine import MAX_BYTES, MAX_DEPTH, Examiner, nests_too_deep
from freshet.engine.rejection import Reason, Refusal, Rejected
from freshet.engine.shape import Shape, leaves_of, tree_of
from freshet.engine.timestamps import END_MS, epoch_ms, many_epoch_ms
from freshet.spec.definition import Definition, Field
from freshet.spec.expr.tree import Type

__all__ = ["MAX_KEY_BYTES", "EventDecoder", "Judged", "Reason", "Rejected", "key_problem"]

MAX_KEY_BYTES = 512
"""Longest entity key, as UTF-8."""

_SAFE_LENGTH = MAX_KEY_BYTES // 4  # no text of so many characters is longer than MAX_KEY_BYTES in UTF-8


@dataclass(slots=True)
class Judged:
    """What `EventDecoder.judge` says of a sequence of events."""

    positions: list[int]
    """Of the accepted events, ascending."""
    keys: list[str]
    """Their entity keys."""
    rejected: list[Rejected] = field(default_factory=list)
    """The others, by ascending index."""


@dataclass(slots=True)
class _Rows:
    judged: Judged
    columns: dict[int, list[Any]]
    """Values of the accepted events by leaf slot."""
    t_ms: Ints
    """Of the accepted events, not yet clamped."""


class EventDecoder:
    """Decodes the events of one definition. Raises ValueError if two of its paths contradict each other."""

    def __init__(self, definition: Definition) -> None:
        tree = tree_of(definition)
        self._shape = Shape(tree)
        self._decode: Callable[[Any], Any] = msgspec.json.Decoder(self._shape.struct).decode
        self._examiner = Examiner(self._shape)
        leaves = list(leaves_of(tree))
        self._key = next(leaf for leaf in leaves if leaf.is_key)
        self._time = next(leaf for leaf in leaves if leaf.is_timestamp)
        self._get_key, self._get_time = self._shape.getter(self._key), self._shape.getter(self._time)
        self._event_id = next(leaf for leaf in leaves if leaf.is_event_id)
        self._readers = [(leaf, reader) for leaf in leaves for reader in leaf.fields]
        self._whole = [leaf for leaf in leaves if any(f.type is Type.INTEGER for f in leaf.fields)]
        self._skew_ms = definition.max_future_skew_ms

    def decode(
        self, values: Sequence[bytes | None], offsets: Ints, broker_ms: Ints
    ) -> tuple[EventBatch, list[Rejected]]:
        """The valid events as columns, and the others with their reasons. Never raises.

        `offsets` and `broker_ms` (epoch milliseconds) belong to `values`, one each. Nulls and absent event ids
        are None; so is an empty event id.
        """
        rows = self._rows(values, broker_ms)
        if rows.judged.rejected:
            kept = np.array(rows.judged.positions, np.int64)
            offsets, broker_ms = offsets[kept], broker_ms[kept]
        clamped = rows.t_ms > broker_ms
        batch = EventBatch(
            offset=offsets,
            broker_ms=broker_ms,
            t_ms=np.minimum(rows.t_ms, broker_ms),
            keys=rows.judged.keys,
            event_ids=[_id_text(value) for value in rows.columns[self._event_id.slot]],
            fields={reader.name: _column(reader, rows.columns[leaf.slot]) for leaf, reader in self._readers},
            clamped=clamped if clamped.any() else None,
        )
        return batch, rows.judged.rejected

    def judge(self, values: Sequence[bytes | None], now_ms: int) -> Judged:
        """Which of the events `decode` would accept if the broker stamped them all with `now_ms`. Never raises."""
        if len(values) == 1 and (key := self._plainly_good(values[0], now_ms)) is not None:
            return Judged([0], [key])
        return self._rows(values, np.full(len(values), now_ms, np.int64)).judged

    def _plainly_good(self, value: bytes | None, now_ms: int) -> str | None:
        """The key of an event of the usual kind, which `_rows` accepts too; for one event columns cost three times as
        much."""
        if self._whole or not is_plain((value,)):
            return None
        try:
            event = self._decode(value)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return None
        (key,), given = _key_texts([self._get_key(event)]), self._get_time(event)
        t_ms = int(_times([given])[0])
        good = not _any_odd_key([key]) and 0 <= t_ms <= now_ms + self._skew_ms
        return key if good else None

    def examine(self, value: bytes, now_ms: int) -> Rejected | None:
        """Why `decode` would leave out this event; None if it would not."""
        rejected = self.judge([value], now_ms).rejected
        return rejected[0] if rejected else None

    def _rows(self, values: Sequence[bytes | None], broker_ms: Ints) -> _Rows:
        structs, positions, rejected = self._structs(values)
        columns = self._shape.columns(structs)
        keys = _key_texts(columns[self._key.slot])
        times = _times(columns[self._time.slot])
        arrivals = broker_ms if not rejected else broker_ms[np.array(positions, np.int64)]
        suspects = self._suspects(columns, keys, times, arrivals)
        if suspects:
            for row in suspects:
                refusal = self._refusal(row, columns, keys, times, arrivals)
                if refusal is not None:
                    rejected.append(refusal.at(positions[row]))
            rejected.sort(key=lambda one: one.index)
            bad = {one.index for one in rejected}
            kept = [row for row, position in enumerate(positions) if position not in bad]
            columns = {slot: [column[row] for row in kept] for slot, column in columns.items()}
            positions, keys = [positions[row] for row in kept], [keys[row] for row in kept]
            times = times[np.array(kept, np.int64)]
        return _Rows(Judged(positions, keys, rejected), columns, times)

    def _structs(self, values: Sequence[bytes | None]) -> tuple[list[Any], list[int], list[Rejected]]:
        """Each event as a struct, in bulk if all are good."""
        decode = self._decode
        if is_plain(values):
            try:
                return list(map(decode, values)), list(range(len(values))), []
            except (msgspec.DecodeError, ValueError, RecursionError):
                pass  # some event is bad or unusual: the loop below finds out which
        structs, positions, rejected = [], [], []
        for index, value in enumerate(values):
            try:
                structs.append(self._one(value))
                positions.append(index)
            except Refusal as refusal:
                rejected.append(refusal.at(index))
        return structs, positions, rejected

    def _one(self, value: bytes | None) -> Any:
        if value is not None and is_plain((value,)):
            try:
                return self._decode(value)
            except (msgspec.DecodeError, ValueError, RecursionError):
                pass  # the examiner says why, or accepts what the fast types are too narrow for
        return self._examiner.read(value)

    def _suspects(self, columns: dict[int, list[Any]], keys: list[str], times: Ints, arrivals: Ints) -> list[int]:
        """Rows that may break a rule which JSON types cannot express, ascending."""
        bad = (times < 0) | (times > arrivals + self._skew_ms)
        if _any_odd_key(keys):
            bad |= np.fromiter((key_problem(key) is not None for key in keys), np.bool_, len(keys))
        for leaf in self._whole:
            numbers = np.array(columns[leaf.slot], np.float64)
            bad |= (numbers != np.floor(numbers)) & ~np.isnan(numbers)
        return [int(row) for row in np.flatnonzero(bad)] if bad.any() else []

    def _refusal(
        self, row: int, columns: dict[int, list[Any]], keys: list[str], times: Ints, arrivals: Ints
    ) -> Refusal | None:
        problem = key_problem(keys[row])
        if problem is not None:
            name = self._key.path[0]
            return Refusal(Reason.BAD_KEY, f"{name} {problem}", name)
        for leaf in self._whole:
            number = columns[leaf.slot][row]
            if number is not None and not float(number).is_integer():
                name = ".".join(leaf.path)
                sentence = f"{name} is a number with a fraction; it must be a whole number"
                return Refusal(Reason.WRONG_TYPE, sentence, name)
        return self._time_refusal(columns[self._time.slot][row], int(times[row]), int(arrivals[row]))

    def _time_refusal(self, given: str | int, t_ms: int, arrival: int) -> Refusal | None:
        name = self._time.path[0]
        if t_ms < 0:
            problem = _time_problem(given)
            allowed = "an RFC 3339 time with zone (2026-01-05T10:30:00Z) or integer epoch milliseconds, 1970 to 2100"
            return Refusal(Reason.BAD_TIMESTAMP, f"{name} is {problem}; it must be {allowed}", name)
        if t_ms > arrival + self._skew_ms:
            ahead = (t_ms - arrival) / 1000
            sentence = (
                f"{name} is {ahead:,.1f} s ahead of the broker's clock; at most {self._skew_ms / 1000:g} s may be"
            )
            return Refusal(Reason.FUTURE, sentence, name)
        return None


def is_plain(values: Sequence[bytes | None]) -> bool:
    """Whether all values may go to the fast decoder: present, not too long, UTF-8, not nested too deep."""
    try:
        if max(map(len, values), default=0) > MAX_BYTES:  # type: ignore[arg-type]  # None raises TypeError
            return False
        for value in values:
            assert value is not None  # len() was asked above
            if not value.isascii():
                value.decode()
            if len(value) > 2 * MAX_DEPTH and nests_too_deep(value):
                return False
    except (TypeError, UnicodeDecodeError):
        return False
    return True


def _key_texts(values: list[Any]) -> list[str]:
    return [value if type(value) is str else str(value) for value in values]


def _id_text(value: Any) -> str | None:
    return None if value is None or value == "" else value if type(value) is str else str(value)


def _any_odd_key(keys: list[str]) -> bool:
    """Quick: whether some key needs `key_problem`."""
    lengths = list(map(len, keys))
    return bool(keys) and (min(lengths) == 0 or max(lengths) > _SAFE_LENGTH or "\0" in "\n".join(keys))


def key_problem(key: str) -> str | None:
    """What is wrong with an entity's key, as the rest of a sentence; None if nothing is."""
    if not key:
        return "is empty; it names the entity"
    if "\0" in key:
        return "holds a NUL character; a key is text without it"
    size = len(key.encode())
    return f"has {size} bytes; at most {MAX_KEY_BYTES} are allowed" if size > MAX_KEY_BYTES else None


def _times(values: list[Any]) -> Ints:
    """Epoch milliseconds of texts and integers; -1 where there is no such time."""
    try:
        "".join(values)
    except TypeError:
        pass  # at least one integer
    else:
        return many_epoch_ms(values)
    texts = [row for row, value in enumerate(values) if type(value) is str]
    result = np.fromiter(
        (value if type(value) is not str and 0 <= value < END_MS else -1 for value in values), np.int64, len(values)
    )
    if texts:
        result[texts] = many_epoch_ms([values[row] for row in texts])
    return result


def _time_problem(given: str | int) -> str:
    if isinstance(given, str):
        try:
            epoch_ms(given)
        except ValueError as error:
            return str(error)
    return "a number outside of the epoch milliseconds of 1970 to 2100"


def _column(reader: Field, values: list[Any]) -> Column:
    if reader.type.is_number:
        numbers = np.array(values, np.float64)  # None becomes NaN, and JSON has no NaN of its own
        null = np.isnan(numbers)
        return Column(np.where(null, 0.0, numbers), ~null) if null.any() else Column(numbers)
    valid = None
    if None in values:
        valid = np.fromiter((value is not None for value in values), np.bool_, len(values))
    if reader.type is Type.BOOLEAN:
        return Column(np.array(values, np.bool_), valid)
    texts = np.empty(len(values), np.object_)
    texts[:] = values if valid is None else ["" if value is None else value for value in values]
    return Column(texts, valid)
