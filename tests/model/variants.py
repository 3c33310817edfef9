"""The real code with one rule left out: the same scripts with a line changed, the same classes with a method changed.

Each change is the smallest that drops the rule; the product has no switches for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from freshet.engine.column import Bools, Ints
from freshet.engine.duplicates import event_hashes
from freshet.engine.events import EventBatch
from freshet.engine.hashtable import Hashes
from freshet.engine.layout import OFFSET
from freshet.engine.state import Applied, PartitionState, Write
from freshet.processor.outputs import NOTHING_HELD, Outputs
from freshet.processor.partition import PartitionOwner
from freshet.processor.records import Records
from freshet.stores import fence, scripts
from freshet.stores.fence import DuplicateWrite, PartitionFence, Progress, Script
from tests.model.process import Variant
from tests.model.rules import Rule

Patch = pytest.MonkeyPatch


def without(rule: Rule, patch: Patch) -> Variant:
    """The code without a rule; module globals are changed through `patch`."""
    return _VARIANTS[rule](patch)


def _changed(patch: Patch, script: str, old: str, new: str) -> None:
    name = f"_{script.upper()}"
    text = getattr(fence, name).text.decode()
    assert old in text, f"{script}.lua has changed: adapt this variant"
    patch.setattr(fence, name, scripts.Lua.of(text.replace(old, new).encode()))


def _compare(patch: Patch) -> Variant:
    _changed(patch, "write", "if found ~= ARGV[1] then", "if false then")
    return Variant()


def _length(patch: Patch) -> Variant:
    _changed(patch, "write", "if length ~= tonumber(ARGV[arg + 1]) then", "if false then")
    return Variant()


def _token(patch: Patch) -> Variant:
    """A number that counts up, as an epoch would; seq goes on."""
    old = "local progress = ARGV[1] .. ':0:' .. place"
    new = (
        "local number, seq = string.match(found or '0:0', '^(%d+):(%d+)')\n"
        "local progress = (number + 1) .. ':' .. seq .. ':' .. place"
    )
    _changed(patch, "take_over", old, new)
    return Variant()


def _single_use(_: Patch) -> Variant:
    return Variant(takes_over_twice=True)


class _Uncounted(Progress):
    __slots__ = ()

    def encode(self) -> bytes:
        return Progress(self.token, 0, self.offset, self.complete, self.restoring).encode()


def _seq(patch: Patch) -> Variant:
    patch.setattr(fence, "Progress", _Uncounted)
    return Variant()


class _MovesFirst(PartitionOwner):
    def _scripts(
        self, writes: list[Write], move_to: int | None, complete: bool, gone: Sequence[str] = ()
    ) -> list[Script]:
        if len(writes) < 2:
            return super()._scripts(writes, move_to, complete, gone)
        first = super()._scripts(writes[:1], move_to, complete, gone)
        return first + super()._scripts(writes[1:], None, False)


def _offset_last(_: Patch) -> Variant:
    return Variant(owner=_MovesFirst)


class _Unchecked(PartitionFence):
    def _checked(self, keys: Sequence[str]) -> list[bytes | None]:
        if keys and self._stored is not None:
            found: list[bytes | None] = self._client.execute_command("MGET", *keys)  # type: ignore[no-untyped-call]
            return found
        return super()._checked(keys)


def _checked_loads(_: Patch) -> Variant:
    return Variant(fence=_Unchecked)


def _start_from_store(_: Patch) -> Variant:
    return Variant(commits_to_kafka=True)


def _restoring(_: Patch) -> Variant:
    return Variant(marks_restoring=False)


def _drop_on_doubt(_: Patch) -> Variant:
    return Variant(keeps_token=True)


def _idle_check(_: Patch) -> Variant:
    return Variant(checks_idle=False)


class _NotWaiting(Outputs):
    def held_from(self) -> int:
        return NOTHING_HELD


def _outputs_first(_: Patch) -> Variant:
    return Variant(outputs=_NotWaiting)


def _outputs_of_skipped(patch: Patch) -> Variant:
    real = PartitionState.apply

    def apply(self: PartitionState, batch: EventBatch, accepted: Bools) -> Applied:
        applied = real(self, batch, accepted)
        return replace(applied, skipped=np.zeros_like(applied.skipped))

    patch.setattr(PartitionState, "apply", apply)
    return Variant()


def _skip(patch: Patch) -> Variant:
    real = PartitionState.apply

    def apply(self: PartitionState, batch: EventBatch, accepted: Bools) -> Applied:
        fixed = self.table.fixed
        before = fixed[:, OFFSET].copy()
        fixed[:, OFFSET] = 0
        applied = real(self, batch, accepted)
        fixed[:, OFFSET] = np.maximum(fixed[:, OFFSET], before)
        return applied

    patch.setattr(PartitionState, "apply", apply)
    return Variant()


class _FilterFirst(PartitionOwner):
    def _scripts(
        self, writes: list[Write], move_to: int | None, complete: bool, gone: Sequence[str] = ()
    ) -> list[Script]:
        if len(writes) < 2 or move_to is None:
            return super()._scripts(writes, move_to, complete, gone)
        changes = self._filter.changes(move_to)
        duplicates = DuplicateWrite(changes.append, changes.drop, changes.index)
        first = self.fence.prepare(writes[:1], duplicates=duplicates)
        done = True if complete else None
        return [first, self.fence.prepare(writes[1:], move_to=move_to, complete=done, gone=gone)]


def _filter_with_offset(_: Patch) -> Variant:
    return Variant(owner=_FilterFirst)


class _ForgetsSkipped(PartitionOwner):
    """The filter is not told of records that the states already hold."""

    def take(self, records: Records, now_ms: int) -> None:
        batch, _ = self._compiled.decoder.decode(records.values, records.offset, records.broker_ms)
        missing = self.states.missing(batch.keys)
        own = dict(zip(missing, self._offsets(missing), strict=True))
        for key in batch.keys:
            if key not in own:
                own[key] = int(self.states.table.fixed[self.states.rows(self.states.slots([key])[0]), OFFSET])
        known = np.array([o < own[k] for o, k in zip(batch.offset.tolist(), batch.keys, strict=True)])
        skipped = set(event_hashes(batch.keys, batch.event_ids)[known].tolist())
        real = self._filter.accept

        def accept(offsets: Ints, broker_ms: Ints, index: Ints, hashes: Hashes, *more: Any) -> Bools:
            told = np.where(np.isin(hashes, list(skipped)), 0, hashes).astype(np.uint64)
            return real(offsets, broker_ms, index, told, *more)

        self._filter.accept = accept  # type: ignore[method-assign, assignment]
        try:
            super().take(records, now_ms)
        finally:
            self._filter.accept = real  # type: ignore[method-assign]

    def _offsets(self, keys: list[str]) -> list[int]:
        blobs = self.fence.load(keys) if keys else []
        return [int(o) for o in self._compiled.reader.read(keys, blobs, 0).offset] if keys else []


def _replay_registers(_: Patch) -> Variant:
    return Variant(owner=_ForgetsSkipped)


_VARIANTS: dict[Rule, Callable[[Patch], Variant]] = {
    Rule.COMPARE: _compare,
    Rule.SKIP: _skip,
    Rule.TOKEN: _token,
    Rule.SINGLE_USE: _single_use,
    Rule.SEQ: _seq,
    Rule.OFFSET_LAST: _offset_last,
    Rule.CHECKED_LOADS: _checked_loads,
    Rule.START_FROM_STORE: _start_from_store,
    Rule.RESTORING: _restoring,
    Rule.DROP_ON_DOUBT: _drop_on_doubt,
    Rule.IDLE_CHECK: _idle_check,
    Rule.OUTPUTS_FIRST: _outputs_first,
    Rule.OUTPUTS_OF_SKIPPED: _outputs_of_skipped,
    Rule.FILTER_WITH_OFFSET: _filter_with_offset,
    Rule.REPLAY_REGISTERS: _replay_registers,
    Rule.LENGTH: _length,
}
