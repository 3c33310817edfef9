"""A small partition with two owners and a store that forgets, as states and steps (design §6).

Two entities, a few events, processes that pause, crash and wake, flushes of one script an entity, scripts whose reply
is lost and that are executed later, a store that falls back to an older copy of itself, an old primary that still
answers. Every step of a process, script or store is one transition; `explore` walks all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from tests.model.images import Front, Image, Log, Write, problem, whole, write_of, written
from tests.model.rules import Rule

BOTH = (0, 1)
T = TypeVar("T")


class Store(NamedTuple):
    """Progress (token, seq, offset), the two entities' values and the duplicate filter (one bit an event id)."""

    token: int
    seq: int
    offset: int
    values: tuple[Image | None, Image | None]
    filter: int
    restoring: bool = False
    """Whether only some of the states may be here."""


class Resident(NamedTuple):
    """An entity in memory: its image, and the one that the store has once all that was prepared is done."""

    image: Image | None
    stored: Image | None


class Flush(NamedTuple):
    """What is left to send of a flush."""

    writes: tuple[tuple[int, Write], ...]
    to: int
    filter: int
    outputs: tuple[Image, ...]
    owners: tuple[int, ...]
    """Whose outputs they are."""
    sent: bool
    """Whether the outputs are acknowledged."""


class Owner(NamedTuple):
    """A process that has taken the partition over: what it believes and holds."""

    token: int
    seq: int
    offset: int
    position: int
    memory: tuple[Resident | None, Resident | None]
    filter: int
    due: int
    """Entities whose output is due, one bit each."""
    flush: Flush | None
    restore: tuple[int, ...] | None = None
    """Entities whose states are still to be brought back; None: it is not restoring."""


class Script(NamedTuple):
    """One step of a flush on its way to the store."""

    token: int
    seq: int
    offset: int
    write: tuple[int, Write] | None
    to: int | None
    filter: int | None


class State(NamedTuple):
    """Everything at one moment. The numbers at the end are what may still go wrong."""

    store: Store
    old: Store | None
    """An old primary that still answers."""
    copies: tuple[Store, ...]
    owners: tuple[Owner | None, ...]
    late: tuple[Script, ...]
    outputs: int
    """Events whose outputs are out, one bit each."""
    committed: int
    """Kafka's committed offset."""
    forgets: int
    losses: int
    expiries: int


@dataclass(frozen=True)
class Setting:
    """One small world."""

    events: str = "XYXY"
    tiles: str = ""
    repeats: tuple[tuple[int, int], ...] = ()
    """(offset, offset of the event that it repeats)."""
    without: frozenset[Rule] = frozenset()
    owners: int = 2
    forgets: int = 1
    losses: int = 0
    again: bool = False
    """A script whose reply was lost is sent again, byte-identical, instead of giving up."""
    outputs: bool = False
    two_primaries: bool = False
    evicts: bool = False
    ahead: bool = False
    """Events are applied while a flush is under way."""
    checkpoint: int = 0
    """The log is gone below it, and whoever finds no states brings back those of this offset. 0: there is none."""
    expiries: int = 0
    """With these only S4 is asked: an expired state is lost by intent."""


NOTHING = (None, None)


class Machine:
    """The transitions of a setting."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.log = Log(setting.events, setting.tiles, setting.repeats)
        self.on = frozenset(Rule) - setting.without

    def start(self) -> State:
        """Nothing stored, nobody there."""
        s = self.setting
        store = Store(0, 0, 0, NOTHING, 0)
        return State(store, None, (), (None,) * s.owners, (), 0, 0, s.forgets, s.losses, s.expiries)

    def wrong(self, store: Store, outputs: int) -> str | None:
        """What is wrong with a stored state (S1, S2 = S5, S4), or with what was sent so far."""
        for entity in BOTH:
            image = store.values[entity]
            if self.setting.expiries:
                if image is not None and not whole(image):
                    return "S4 torn value"
            elif found := problem(self.log, entity, image, store.offset):
                return found
        if self.setting.outputs and ~outputs & self.answerable(store.offset):
            return "S1 output lost"
        return None

    # Steps of one process. Each is also used alone by `recovers`.

    def fresh_token(self, s: State) -> int:
        """One that nobody ever saw (§6.5), or, without the rule, the store's next number."""
        if Rule.TOKEN not in self.on:
            return s.store.token + 1
        stores = (s.store, *s.copies, *((s.old,) if s.old else ()))
        owners = [o.token for o in s.owners if o is not None]
        tokens: list[int] = [*(store.token for store in stores), *owners, *(m.token for m in s.late)]
        return max(tokens) + 1

    def take_over(self, store: Store, token: int, committed: int) -> tuple[Store, Owner]:
        """A new token, seq 0, the offset as it stands; or the beginning of a restoring."""
        if self.setting.checkpoint and (store.token == 0 or store.restoring):
            return self._begin_restoring(store, token)
        seq = 0 if Rule.TOKEN in self.on else store.seq
        store = store._replace(token=token, seq=seq)
        position = store.offset if Rule.START_FROM_STORE in self.on else committed
        return store, Owner(token, seq, store.offset, position, NOTHING, store.filter, 0, None)

    def _begin_restoring(self, store: Store, token: int) -> tuple[Store, Owner]:
        """Without the rule nothing tells that states are missing."""
        at = self.setting.checkpoint
        marked = Rule.RESTORING in self.on
        store = Store(token, 0, 0 if marked else at, store.values, 0 if marked else self._filter(at), marked)
        return store, Owner(token, 0, store.offset, at, NOTHING, self._filter(at), 0, None, BOTH)

    def _filter(self, offset: int) -> int:
        """The duplicate filter of all events below an offset."""
        return sum(1 << o for o in range(offset) if self.log.id[o] == o)

    def next_restore(self, owner: Owner) -> Script:
        """The next step of a restoring: a state, or, last of all, the filter and the offset."""
        at = self.setting.checkpoint
        if owner.restore:
            entity = owner.restore[0]
            image = self.log.expected(entity, at)
            write = None if image is None else (entity, image)
            return Script(owner.token, owner.seq, owner.offset, write, None, None)
        return Script(owner.token, owner.seq, owner.offset, None, at, self._filter(at))

    def believes(self, store: Store, token: int, seq: int, offset: int) -> bool:
        """Whether progress is what somebody expects. Without any token there is no progress, which nobody expects."""
        return store.token == token != 0 and (Rule.SEQ not in self.on or store.seq == seq) and store.offset == offset

    def refused(self, store: Store, owner: Owner) -> Owner | None:
        """After doubt: forget everything. Without the rule: read progress again, keep the token."""
        if Rule.DROP_ON_DOUBT not in self.on and store.token == owner.token:
            return Owner(owner.token, store.seq, store.offset, store.offset, NOTHING, store.filter, 0, None)
        return None

    def take(self, store: Store, owner: Owner) -> Owner | None:
        """The next event: filter, load, apply or skip. None: a load was refused."""
        offset = owner.position
        entity, bit = self.log.entity[offset], 1 << self.log.id[offset]
        owner = owner._replace(position=offset + 1)
        if owner.filter & bit:
            return owner
        held = owner.memory[entity]
        if held is None:
            if Rule.CHECKED_LOADS in self.on and not self.believes(store, owner.token, owner.seq, owner.offset):
                return None
            held = Resident(store.values[entity], store.values[entity])
        skipped = Rule.SKIP in self.on and held.image is not None and offset < held.image.offset
        if not skipped:
            held = Resident(self.log.apply(held.image, offset), held.stored)
        if not skipped or Rule.REPLAY_REGISTERS in self.on:
            owner = owner._replace(filter=owner.filter | bit)
        due = owner.due
        if self.setting.outputs and (not skipped or Rule.OUTPUTS_OF_SKIPPED in self.on):
            due |= 1 << entity
        return owner._replace(memory=_set(owner.memory, entity, held), due=due)

    def begin(self, owner: Owner) -> Owner:
        """A flush of everything up to the position: fixed from here on."""
        writes = []
        memory = owner.memory
        for entity in BOTH:
            held = memory[entity]
            if held is not None and held.image is not None and held.image != held.stored:
                writes.append((entity, write_of(held.image, held.stored)))
                memory = _set(memory, entity, Resident(held.image, held.image))
        owed = tuple(e for e in BOTH if owner.due >> e & 1)
        outputs = tuple(memory[e].image for e in owed)  # type: ignore[union-attr]
        flush = Flush(tuple(writes), owner.position, owner.filter, outputs, owed, not owed)  # type: ignore[arg-type]
        return owner._replace(memory=memory, due=0, flush=flush)

    def next_script(self, owner: Owner) -> Script | None:
        """The next step of a flush; None while there is none but sending the outputs."""
        flush = owner.flush
        assert flush is not None
        last = len(flush.writes) <= 1
        if not flush.writes and owner.offset == flush.to:
            return None
        if last and not flush.sent and Rule.OUTPUTS_FIRST in self.on:
            return None
        moves = last or (Rule.OFFSET_LAST not in self.on and owner.offset < flush.to)
        kept = moves or Rule.FILTER_WITH_OFFSET not in self.on
        write = flush.writes[0] if flush.writes else None
        to = flush.to if moves else None
        return Script(owner.token, owner.seq, owner.offset, write, to, flush.filter if kept else None)

    def execute(self, store: Store, m: Script) -> tuple[bool, Store]:
        """(done, the store afterwards). A refusal changes nothing, but for a front that met the wrong value."""
        if Rule.COMPARE in self.on and not self.believes(store, m.token, m.seq, m.offset):
            return False, store
        values = store.values
        if m.write is not None:
            entity, write = m.write
            image = written(write, values[entity])
            if isinstance(write, Front) and not whole(image) and Rule.LENGTH in self.on:
                return False, store._replace(values=_set(values, entity, None))
            values = _set(values, entity, image)
        offset = store.offset if m.to is None else m.to
        kept = store.filter if m.filter is None else m.filter
        seq = store.seq + 1 if Rule.SEQ in self.on else 0
        return True, Store(store.token, seq, offset, values, kept, store.restoring and m.to is None)

    def acknowledged(self, owner: Owner, m: Script) -> Owner:
        """The owner goes on to the next step."""
        if owner.restore is not None:
            offset = m.offset if m.to is None else m.to
            return owner._replace(seq=m.seq + 1, offset=offset, restore=owner.restore[1:] if owner.restore else None)
        flush = owner.flush
        assert flush is not None
        over = len(flush.writes) <= 1 and (flush.sent or Rule.OUTPUTS_FIRST in self.on)
        return owner._replace(
            seq=m.seq + 1 if Rule.SEQ in self.on else 0,
            offset=m.offset if m.to is None else m.to,
            flush=None if over else flush._replace(writes=flush.writes[1:]),
        )

    def emit(self, s_outputs: int, owner: Owner) -> tuple[Owner, int, str | None]:
        """The flush's outputs are sent and acknowledged (§6.8). S6: each equals the log at its offset."""
        flush = owner.flush
        assert flush is not None
        wrong = None
        for entity, image in zip(flush.owners, flush.outputs, strict=True):
            if image != self.log.expected(entity, image.offset):
                wrong = "S6 wrong output value"
            s_outputs |= self.answered(entity, image.offset)
        # Without the rule the scripts are already through.
        left = flush._replace(sent=True) if flush.writes or owner.offset < flush.to else None
        return owner._replace(flush=left), s_outputs, wrong

    def answered(self, entity: int, offset: int) -> int:
        """Events that an output of this entity at this offset answers for."""
        return sum(1 << o for o in range(offset) if self.log.entity[o] == entity)

    def answerable(self, offset: int) -> int:
        """Events below an offset that need an output: all but duplicates."""
        return sum(1 << o for o in range(offset) if self.log.id[o] == o)


def _set(pair: tuple[T, T], index: int, value: T) -> tuple[T, T]:
    return (value, pair[1]) if index == 0 else (pair[0], value)
