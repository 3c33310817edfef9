"""Sessions: runs of events with gaps shorter than `gap` (design §5).

A session covers [first event, last event + gap). State keeps the two newest, and that is enough: an event at or below
the newest seen minus gap is left out, so one that counts always lies after `newest - gap`, belongs to the newest
session, and can at most join it with the one before. Unlike accumulators this depends on the order of the log, which
is the same at every replay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from freshet.engine.column import Bools, Column, Floats, Ints
from freshet.engine.ordering import stable_order
from freshet.spec.definition import Aggregate, AggregateFeature, Input

START, END, PREVIOUS_START, PREVIOUS_END, SESSIONS = range(5)
WIDTH = 5
IDENTITY = np.array([0.0, -np.inf, 0.0, -np.inf, 0.0])
"""START and END of the newest session, the same of the one before, number of sessions; END is -inf if there is none."""

_ROOM = np.int64(1) << 43
"""More than any time plus gap: entities times _ROOM plus a time sorts by entity, then time."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions of the events that `input` sees."""

    input: Input
    gap_ms: int

    def apply(self, state: Floats, entity: Ints, t: Ints) -> int:
        """Takes events in log order into `state` (entities, 5), in place; `entity` are its row numbers.

        Returns how many events were left out because they came too late.
        """
        kept = self._in_time(state, entity, t)
        left_out = len(t) - int(np.count_nonzero(kept))
        entity, t = entity[kept], t[kept]
        touched = np.flatnonzero(np.bincount(entity))
        if len(touched):
            self._join(state, touched, entity, t)
        return left_out

    def _in_time(self, state: Floats, entity: Ints, t: Ints) -> Bools:
        """Which events lie after (newest before them in log order) - gap."""
        order = stable_order(entity)
        e, shifted = entity[order], t[order] + self.gap_ms + 1
        first = np.flatnonzero(np.diff(e, prepend=-1))
        # Each entity's events follow a seed: its newest from state, 0 if it has none (below every shifted time).
        seeds = state[e[first], END]
        seeds = np.where(np.isfinite(seeds), seeds + self.gap_ms + 1, 0).astype(np.int64)
        at = np.arange(len(e)) + np.cumsum(np.isin(np.arange(len(e)), first))
        keys = np.empty(len(e) + len(first), np.int64)
        keys[at] = e * _ROOM + shifted
        keys[at[first] - 1] = e[first] * _ROOM + seeds
        newest = np.maximum.accumulate(keys)[at - 1] - e * _ROOM
        kept = np.empty(len(t), np.bool_)
        kept[order] = shifted > newest - self.gap_ms
        return kept

    def _join(self, state: Floats, touched: Ints, entity: Ints, t: Ints) -> None:
        old = state[touched]
        has, had = np.isfinite(old[:, END]), np.isfinite(old[:, PREVIOUS_END])
        who = np.concatenate((entity, touched[has], touched[had]))
        begin = np.concatenate((t, old[has, START].astype(np.int64), old[had, PREVIOUS_START].astype(np.int64)))
        end = np.concatenate((t, old[has, END].astype(np.int64), old[had, PREVIOUS_END].astype(np.int64)))
        order = np.argsort(who * _ROOM + begin, kind="stable")
        who, begin, end = who[order], begin[order], end[order]
        reach = np.maximum.accumulate(who * _ROOM + end) - who * _ROOM
        new = np.ones(len(who), np.bool_)
        new[1:] = (who[1:] != who[:-1]) | (begin[1:] >= reach[:-1] + self.gap_ms)
        starts = np.flatnonzero(new)
        run_who, run_begin, run_end = who[starts], begin[starts], np.maximum.reduceat(end, starts)
        last = np.append(np.flatnonzero(run_who[1:] != run_who[:-1]), len(run_who) - 1)
        runs = np.diff(last, prepend=-1)
        fresh = np.tile(IDENTITY, (len(touched), 1))
        fresh[:, START], fresh[:, END] = run_begin[last], run_end[last]
        two = runs > 1
        fresh[two, PREVIOUS_START], fresh[two, PREVIOUS_END] = run_begin[last[two] - 1], run_end[last[two] - 1]
        fresh[:, SESSIONS] = old[:, SESSIONS] + runs - has - had
        state[touched] = fresh

    @staticmethod
    def finish(feature: AggregateFeature, state: Floats, q: Floats) -> Column:
        """The value of a session_* feature: `state` (entities, 5), read times `q`."""
        some = np.isfinite(state[:, END])
        end = np.where(some, state[:, END], 0.0)
        if feature.aggregate is Aggregate.SESSION_ACTIVE:
            return Column(some & (q < end + feature.gap_ms))
        if feature.aggregate is Aggregate.SESSION_COUNT:
            return Column(state[:, SESSIONS])
        return Column((end - state[:, START]) / feature.unit_ms, some)


SESSION_AGGREGATES = (Aggregate.SESSION_ACTIVE, Aggregate.SESSION_COUNT, Aggregate.SESSION_DURATION)
