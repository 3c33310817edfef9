"""The fence of one partition: who may write it, and what a writer must have seen (design §6.5, §6.6, §6.9, §6.10).

`tests/model/rules.py` names the rules one by one; comments `rule: <name>` mark places that keep them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from freshet.engine.duplicates import DuplicateFilter
from freshet.engine.state import Write
from freshet.spec import naming
from freshet.stores import scripts
from freshet.stores.redis import Client, Failures, StoreDown, describe, execute
from freshet.stores.scripts import StoreFull

__all__ = [
    "DuplicateWrite",
    "PartitionFence",
    "Progress",
    "Refused",
    "Script",
    "StoreDown",
    "StoreFull",
    "Takeover",
]

_TAKE_OVER = scripts.load("take_over")
_WRITE = scripts.load("write")
_TOKEN_BYTES = 16
_BUCKETS_AT_ONCE = 8
"""Buckets of one load: each may be megabytes."""


class Refused(Exception):
    """The store is not what its owner believes, or that cannot be known: forget all memory, take over again (§6.6)."""


class Progress(NamedTuple):
    """How far a partition is, and whose turn it is to say so."""

    token: str
    """Random, 128 bits: of one attempt to take over."""
    seq: int
    """Scripts that the owner has had executed."""
    offset: int
    """Every event below it is in the stored states. Also where a new owner begins to consume."""
    complete: bool
    """Whether the states once reached the end of the log as it was when building them began."""
    restoring: bool = False
    """Whether states are being brought back from elsewhere, so that only some of them are here. Then not complete."""

    def encode(self) -> bytes:
        """`token:seq:offset:phase`; the phase is 0 (incomplete), 1 (complete) or 2 (restoring)."""
        return b"%s:%d:%d:%d" % (self.token.encode(), self.seq, self.offset, 2 if self.restoring else self.complete)

    @classmethod
    def parse(cls, data: bytes) -> Progress:
        """The inverse of `encode`. Raises ValueError."""
        parts = data.decode("ascii", "replace").split(":")
        if len(parts) != 4 or not (parts[1] + parts[2]).isdecimal() or parts[3] not in ("0", "1", "2"):
            raise ValueError(f"progress: {data[:80]!r} given, token:seq:offset:phase is what it must be")
        return cls(parts[0], int(parts[1]), int(parts[2]), parts[3] == "1", parts[3] == "2")

    def __str__(self) -> str:
        complete = "restoring" if self.restoring else "complete" if self.complete else "incomplete"
        return f"offset {self.offset}, {complete}, token {self.token[:6]}…, seq {self.seq}"


@dataclass(frozen=True, slots=True)
class DuplicateWrite:
    """What becomes of the duplicate filter when the offset moves (§6.9)."""

    append: dict[int, bytes]
    """By minute."""
    drop: list[int]
    index: bytes


class Takeover(NamedTuple):
    """What the new owner found."""

    progress: Progress
    source: str
    """Id of the topic that the states were made from; the given one if everything is new; empty if it is not known."""
    duplicates_index: bytes | None
    created: bool
    """Whether there was no progress, or only that of a restoring that was cut off: everything is to be built anew."""


@dataclass(frozen=True, slots=True, eq=False)
class Script:
    """A step of a flush, fixed when it is prepared: sent again it is the same bytes."""

    expected: bytes
    """Progress without which it does nothing."""
    next: bytes
    """Progress that it leaves."""
    keys: tuple[str, ...]
    args: tuple[bytes | int, ...]


class PartitionFence:
    """The only way by which a processor reads and writes the store of one partition.

    Made for one thread; what is called here goes to the store in the same order. After Refused or StoreDown only
    `take_over` works (and `send_again` of the script whose reply is missing): the owner must drop all it had loaded.
    """

    def __init__(self, client: Client, tag: str, *, new_token: Callable[[], str] | None = None) -> None:
        """`tag` is of `naming.tag`. Two tokens of `new_token` must never be equal; the default is random."""
        self._client = client
        self._tag = tag
        self._new_token = new_token or (lambda: secrets.token_hex(_TOKEN_BYTES))
        self._progress_key = naming.progress_key(tag)
        self._stored: bytes | None = None
        """What progress must be now; None: no owner, or not any more."""
        self._prepared = Progress("", 0, 0, False)
        """What progress will be when every prepared script is done."""
        self._in_doubt: Script | None = None

    @property
    def progress(self) -> Progress:
        """Where the last prepared script will leave the partition."""
        return self._prepared

    def take_over(self, start_offset: int, source: str, *, restoring: bool = False) -> Takeover:
        """Makes this the owner, under a token that is sent once and never again (§6.5).

        Without stored progress, or with that of a restoring that was cut off, it begins at `start_offset`, incomplete
        or `restoring`, with an empty duplicate filter, and notes `source`. Raises StoreDown or StoreFull; another
        attempt makes another token.
        """
        self._stored = self._in_doubt = None
        keys = [self._progress_key, naming.source_key(self._tag), naming.duplicates_key(self._tag)]
        index, buckets = self._orphaned_buckets()
        token = self._new_token()
        args: list[bytes | int] = [token.encode(), start_offset, source.encode(), 2 if restoring else 0, index]
        found = scripts.run(self._client, _TAKE_OVER, [*keys, *buckets], args)
        progress, stored_source, index, created = found
        self._stored, self._prepared = progress, Progress.parse(progress)
        return Takeover(self._prepared, (stored_source or b"").decode(), index, bool(created))

    def load(self, keys: Sequence[str]) -> list[bytes | None]:
        """States of entities, in order; None for one that has none. Raises Refused or StoreDown."""
        return self._checked([naming.entity_key(self._tag, key) for key in keys])

    def load_buckets(self, minutes: Sequence[int]) -> dict[int, bytes]:
        """Buckets of the duplicate filter; one that does not exist is left out. Raises Refused or StoreDown."""
        found: dict[int, bytes] = {}
        for begin in range(0, len(minutes), _BUCKETS_AT_ONCE):
            part = minutes[begin : begin + _BUCKETS_AT_ONCE]
            values = self._checked([naming.duplicates_bucket_key(self._tag, minute) for minute in part])
            found.update((m, value) for m, value in zip(part, values, strict=True) if value is not None)
        return found

    def check(self) -> None:
        """The look at progress of an idle owner (§6.6). Raises Refused or StoreDown."""
        self._checked([])

    def prepare(
        self,
        writes: Sequence[Write],
        move_to: int | None = None,
        complete: bool | None = None,
        duplicates: DuplicateWrite | None = None,
        gone: Sequence[str] = (),
        lasting: tuple[Sequence[str], Sequence[bytes]] = ((), ()),
    ) -> Script:
        """The next step; it expects what the one prepared before leaves. Raises Refused if there is no owner.

        `move_to` and `complete` belong to the last step of a flush: then all events below are in the states. Giving
        `complete` also ends restoring. `gone` are entities whose states are to be deleted with it. `lasting` are keys
        and blobs of further states, each written whole and for ever: for those who write very many.
        """
        if self._stored is None:
            raise self._lost("is not owned")
        before = self._prepared
        offset = before.offset if move_to is None else move_to
        if offset < before.offset:
            raise ValueError(f"{self._tag}: offset {offset} given, progress is at {before.offset} and never goes back")
        # rule: seq
        after = before._replace(seq=before.seq + 1, offset=offset)
        if complete is not None:
            after = after._replace(complete=complete, restoring=False)
        self._prepared = after
        keys, args = self._operands(writes, duplicates, gone, lasting)
        expected, left = before.encode(), after.encode()
        return Script(expected, left, (self._progress_key, *keys), (expected, left, *args))

    def send(self, script: Script) -> None:
        """Executes a script. Raises Refused, StoreDown, or StoreFull (nothing was written; it may be sent again)."""
        if self._stored is None:
            raise self._lost("is not owned any more")
        if script.expected != self._stored:
            raise ValueError(f"{self._tag}: scripts are to be sent in the order in which they were prepared")
        self._execute(script)

    def send_again(self, script: Script) -> None:
        """Repeats the script whose reply did not come (§6.6). Raises Refused, StoreDown or StoreFull.

        If its first copy was executed, progress is exactly what it leaves, since nobody else has its token.
        """
        if script is not self._in_doubt:
            raise self._lost("lost its owner, and this is not the script whose reply is missing")
        self._execute(script)

    def note_beginning(self, offset: int, kafka_from: int) -> None:
        """Notes from where the states are built, and from where on out of Kafka. Raises StoreDown.

        It is for tools that must know which records a revision has read; nothing here depends on it.
        """
        try:
            execute(self._client, "SET", naming.began_key(self._tag), f"{offset}:{kafka_from}")
        except Failures as error:
            raise StoreDown(f"{self._tag}: {describe(error)}") from error

    def _execute(self, script: Script) -> None:
        # rule: drop_on_doubt. Without a reply that says "done" there is no owner any more.
        again, self._in_doubt, self._stored = script is self._in_doubt, None, None
        try:
            reply = scripts.run(self._client, _WRITE, script.keys, script.args)
        except StoreFull:
            self._stored = None if again else script.expected
            self._in_doubt = script if again else None
            raise
        except StoreDown as error:
            self._in_doubt = script
            raise StoreDown(f"{self._tag}: {error}") from error
        if reply == 1 or (again and reply == [script.next]):
            self._stored = script.next
            return
        if len(reply) == 3:
            raise Refused(
                f"{self._tag}: the stored state of an entity came out {reply[2]} bytes long, which is not what its "
                f"owner meant (had it expired?), so it was deleted"
            )
        raise self._mismatch(script.expected, reply[0])

    def _checked(self, keys: Sequence[str]) -> list[bytes | None]:
        """One MGET of progress and keys, believed only if progress is what it must be."""
        if self._stored is None:
            raise self._lost("is not owned")
        try:
            found: list[Any] = execute(self._client, "MGET", self._progress_key, *keys)
        except Failures as error:
            self._stored = None
            raise StoreDown(f"{self._tag}: {describe(error)}") from error
        if found[0] != self._stored:  # rules: checked_loads, idle_check
            believed, self._stored = self._stored, None
            raise self._mismatch(believed, found[0])
        return found[1:]

    def _orphaned_buckets(self) -> tuple[bytes, list[str]]:
        """The filter's index, and its buckets if they belong to no progress: what a replay accepts must not meet its
        own traces. The script looks whether the index is still the same."""
        try:
            progress, index = execute(self._client, "MGET", self._progress_key, naming.duplicates_key(self._tag))
        except Failures as error:
            raise StoreDown(f"{self._tag}: {describe(error)}") from error
        if index is None:
            return b"", []
        if progress is not None and not progress.endswith(b":2"):
            return index, []
        minutes = sorted(DuplicateFilter(0, index).minutes)
        return index, [naming.duplicates_bucket_key(self._tag, minute) for minute in minutes]

    def _operands(
        self,
        writes: Sequence[Write],
        duplicates: DuplicateWrite | None,
        gone: Sequence[str],
        lasting: tuple[Sequence[str], Sequence[bytes]],
    ) -> tuple[list[str], list[bytes | int]]:
        """Keys and arguments of `write.lua` after the two of progress."""
        prefix = naming.entity_key(self._tag, "")
        stay = [w for w in writes if w.whole and not w.ttl_ms]
        ending = [w for w in writes if w.whole and w.ttl_ms]
        fronts = [w for w in writes if not w.whole]
        keys = [prefix + key for key in lasting[0]]
        keys += [prefix + w.key for w in (*stay, *ending, *fronts)]
        appended = len(duplicates.append) if duplicates else -1
        args: list[bytes | int] = [len(lasting[0]) + len(stay), len(ending), len(fronts), appended, *lasting[1]]
        args += [w.blob for w in stay]
        for w in ending:
            args += (w.ttl_ms or 0, w.blob)
        for w in fronts:
            args += (w.length, w.blob)
        if duplicates:
            keys.append(naming.duplicates_key(self._tag))
            keys += [naming.duplicates_bucket_key(self._tag, minute) for minute in duplicates.append]
            keys += [naming.duplicates_bucket_key(self._tag, minute) for minute in duplicates.drop]
            args += (duplicates.index, *duplicates.append.values())
        keys += [prefix + key for key in gone]
        return keys, args

    def _lost(self, why: str) -> Refused:
        return Refused(f"{self._tag} {why}: take over again")

    def _mismatch(self, believed: bytes, found: bytes | None) -> Refused:
        if found is None:
            seen = "there is none"
        else:
            try:
                seen = f"the store has {Progress.parse(found)}"
            except ValueError:
                seen = "the store has something unreadable"
        return Refused(f"{self._tag}: the owner's progress is {Progress.parse(believed)}, but {seen}")
