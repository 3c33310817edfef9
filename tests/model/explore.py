"""All interleavings of a machine: breadth first, so that the first bad end found is a shortest one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.model.machine import BOTH, Machine, Owner, Script, Setting, State, Store
from tests.model.rules import Rule

_LARGEST_NUMBER = 6
"""Without random tokens take-overs count up; a run needs no more of them."""
_RECOVERY_STEPS = 80


class Step(NamedTuple):
    """What happened, the state after it, and what was wrong about it besides the stored state."""

    text: str
    state: State
    wrong: str | None = None


@dataclass(frozen=True)
class Result:
    """What an exploration found."""

    states: int
    complete: bool
    """Whether every reachable state was seen."""
    wrong: str | None
    trace: tuple[str, ...]
    """The steps to the first bad end."""


class Explorer:
    """Walks the states of one setting."""

    def __init__(self, setting: Setting, *, alike: bool = True) -> None:
        """`alike` takes two states for one if only the processes' names differ; a trace then mixes up their names."""
        self.alike = alike
        self.machine = Machine(setting)
        self.setting = setting
        self._recovered: dict[tuple[object, ...], str | None] = {}
        self._checked: dict[tuple[Store, int], str | None] = {}

    def run(self, seconds: float = 600) -> Result:
        """Explores until something is wrong, all is seen, or the time is over."""
        end = time.monotonic() + seconds
        first = self.machine.start()
        known: dict[int, tuple[int, str] | None] = {hash(first): None}
        layer = [first]
        while layer:
            after: list[State] = []
            for state in layer:
                for step in self.steps(state):
                    wrong = step.wrong or self._wrong(step.state)
                    new = self.canonical(step.state)
                    key = hash(new)
                    if wrong is None and key in known:
                        continue
                    wrong = wrong or self._lone_owners(new)
                    known.setdefault(key, (hash(state), step.text))
                    if wrong:
                        trace = [*_trace(known, hash(state)), step.text, wrong]
                        return Result(len(known), False, wrong, tuple(trace))
                    after.append(new)
                if time.monotonic() > end:
                    return Result(len(known), False, None, ())
            layer = after
        return Result(len(known), True, None, ())

    # Transitions

    def steps(self, s: State) -> Iterator[Step]:
        """Every step that can come next."""
        yield from self._answered(s, "")
        if s.old is not None:
            # The old primary answers: the same steps, on its store.
            for step in self._answered(s._replace(store=s.old, old=s.store), " (old primary)"):
                n = step.state
                yield step._replace(state=n._replace(store=n.old or n.store, old=n.store))
            yield Step("the old primary is gone", s._replace(old=None))
        if s.forgets and (not s.copies or s.copies[-1] != s.store):
            yield Step(
                "a replica receives nothing from here on",
                s._replace(copies=(*s.copies, s.store), forgets=s.forgets - 1),
            )
        for j, copy in enumerate(s.copies):
            if copy != s.store:
                fallen = s._replace(store=copy, copies=s.copies[:j], old=None)
                yield Step(f"the store falls back to {_show(copy)}", fallen)
                if self.setting.two_primaries:
                    yield Step(f"falls back to {_show(copy)}; the old primary answers", fallen._replace(old=s.store))

    def _answered(self, s: State, where: str) -> Iterator[Step]:
        """Steps that need the store."""
        for i, owner in enumerate(s.owners):
            name = "ABC"[i]
            if owner is None:
                yield from self._take_over(s, i, f"{name} takes over{where}")
                continue
            yield Step(f"{name} crashes", _with(s, i, None))
            yield from self._work(s, i, owner, name, where)
        for j, script in enumerate(s.late):
            done, store = self.machine.execute(s.store, script)
            if store != s.store:
                late = s.late[:j] + s.late[j + 1 :]
                committed = self._committed(s, store, done)
                text = f"the late script of token {script.token} is executed{where}"
                yield Step(text, s._replace(store=store, late=late, committed=committed))
        if s.expiries:
            for e in BOTH:
                if s.store.values[e] is not None:
                    values = (None, s.store.values[1]) if e == 0 else (s.store.values[0], None)
                    store = s.store._replace(values=values)
                    yield Step(f"{'XY'[e]} expires", s._replace(store=store, expiries=s.expiries - 1))

    def _take_over(self, s: State, i: int, text: str) -> Iterator[Step]:
        token = self.machine.fresh_token(s)
        if Rule.TOKEN not in self.machine.on and token > _LARGEST_NUMBER:
            return
        store, owner = self.machine.take_over(s.store, token, s.committed)
        yield Step(f"{text}, token {token}, from {owner.position}", _with(s._replace(store=store), i, owner))
        if Rule.SINGLE_USE not in self.machine.on and s.old is not None:
            old, _ = self.machine.take_over(s.old, token, s.committed)
            yield Step(f"{text} twice, on both primaries", _with(s._replace(store=store, old=old), i, owner))

    def _work(self, s: State, i: int, owner: Owner, name: str, where: str) -> Iterator[Step]:
        m = self.machine
        if owner.restore is not None:
            restored = m.next_restore(owner)
            yield from self._script(s, i, owner, restored, f"{name} restores: {_write(restored)}{where}")
            return
        if owner.position < m.log.end and (owner.flush is None or self.setting.ahead):
            taken = m.take(s.store, owner)
            text = f"{name} takes {owner.position}" if taken else f"{name}'s load is refused"
            yield Step(text + where, _with(s, i, taken or m.refused(s.store, owner)))
        if owner.flush is not None or owner.position > owner.offset:
            flushing = owner if owner.flush is not None else m.begin(owner)
            assert flushing.flush is not None
            if not flushing.flush.sent and (flushing.flush.writes == () or Rule.OUTPUTS_FIRST in m.on):
                sent, outputs, wrong = m.emit(s.outputs, flushing)
                yield Step(f"{name} sends outputs", _with(s._replace(outputs=outputs), i, sent), wrong)
            script = m.next_script(flushing)
            if script is not None:
                yield from self._script(s, i, flushing, script, f"{name} {_write(script)}{where}")
        elif Rule.IDLE_CHECK in m.on and not m.believes(s.store, owner.token, owner.seq, owner.offset):
            yield Step(f"{name} sees another progress{where}", _with(s, i, m.refused(s.store, owner)))
        if self.setting.evicts and owner.flush is None:
            for e in BOTH:
                held = owner.memory[e]
                if held is not None and held.image == held.stored and not owner.due >> e & 1:
                    memory = (None, owner.memory[1]) if e == 0 else (owner.memory[0], None)
                    yield Step(f"{name} evicts {'XY'[e]}", _with(s, i, owner._replace(memory=memory)))

    def _script(self, s: State, i: int, owner: Owner, script: Script, text: str) -> Iterator[Step]:
        m = self.machine
        done, store = m.execute(s.store, script)
        executed = s._replace(store=store, committed=self._committed(s, store, done))
        if done or (self.setting.again and _is_done(store, script)):
            yield Step(text, _with(executed, i, m.acknowledged(owner, script)))
        else:
            yield Step(f"{text}: refused by {_show(s.store)}", _with(executed, i, m.refused(store, owner)))
        if s.losses:
            lost = s._replace(late=(*s.late, script), losses=s.losses - 1)
            after = owner if self.setting.again else m.refused(s.store, owner)
            yield Step(f"{text}: sent, no reply", _with(lost, i, after))

    def _committed(self, s: State, store: Store, done: bool) -> int:
        """Kafka's committed offset matters only where owners start from it."""
        return max(s.committed, store.offset) if done and Rule.START_FROM_STORE not in self.machine.on else 0

    # Properties

    def _wrong(self, s: State) -> str | None:
        for store in (s.store, s.old):
            if store is None:
                continue
            key = (store, s.outputs)
            if key not in self._checked:
                self._checked[key] = self.machine.wrong(*key)
            if self._checked[key]:
                return self._checked[key]
        return None

    def _lone_owners(self, s: State) -> str | None:
        """S3: any process that goes on alone brings everything to its end."""
        if self.setting.expiries:
            return None
        for owner in dict.fromkeys(s.owners):
            key = (s.store, owner, s.outputs, s.committed)
            if key not in self._recovered:
                self._recovered[key] = self._recover(*key)
            if self._recovered[key]:
                return self._recovered[key]
        return None

    def _recover(self, store: Store, owner: Owner | None, outputs: int, committed: int) -> str | None:
        m = self.machine
        wrong = None
        token = max(store.token, owner.token if owner else 0)
        for _ in range(_RECOVERY_STEPS):
            if owner is None:
                token = token + 1 if Rule.TOKEN in m.on else store.token + 1
                store, owner = m.take_over(store, token, committed)
            elif owner.restore is not None:
                restored = m.next_restore(owner)
                done, store = m.execute(store, restored)
                done = done or (self.setting.again and _is_done(store, restored))
                owner = m.acknowledged(owner, restored) if done else m.refused(store, owner)
            elif owner.flush is not None:
                script = m.next_script(owner)
                if script is None or (not owner.flush.sent and Rule.OUTPUTS_FIRST in m.on):
                    owner, outputs, wrong = m.emit(outputs, owner)
                    continue
                done, store = m.execute(store, script)
                done = done or (self.setting.again and _is_done(store, script))
                owner = m.acknowledged(owner, script) if done else m.refused(store, owner)
            elif owner.position < m.log.end:
                owner = m.take(store, owner) or m.refused(store, owner)
            elif owner.position > owner.offset:
                owner = m.begin(owner)
            elif Rule.IDLE_CHECK in m.on and not m.believes(store, owner.token, owner.seq, owner.offset):
                owner = m.refused(store, owner)
            else:
                break
        expected = tuple(m.log.expected(e, m.log.end) for e in BOTH)
        if store.offset != m.log.end or store.values != expected:
            return f"S3 a lone owner does not recover from here: {_show(store)}"
        if self.setting.outputs and ~outputs & m.answerable(m.log.end):
            return "S3 an output is never sent from here"
        return wrong

    def canonical(self, s: State) -> State:
        """Tokens are equal or not: they are numbered as they appear. Processes are alike: they are put in order."""
        if Rule.TOKEN not in self.machine.on:
            return s
        owners = s.owners
        if self.alike:
            owners = tuple(sorted(owners, key=lambda o: 0 if o is None else hash((o[1:], o.token == s.store.token))))
        names = {0: 0}
        stores = [s.store, *((s.old,) if s.old is not None else ()), *s.copies]
        for item in (*stores, *(o for o in owners if o is not None), *s.late):
            names.setdefault(item.token, len(names))
        if all(old == new for old, new in names.items()):
            return s._replace(owners=owners)
        return s._replace(
            store=s.store._replace(token=names[s.store.token]),
            old=None if s.old is None else s.old._replace(token=names[s.old.token]),
            copies=tuple(c._replace(token=names[c.token]) for c in s.copies),
            owners=tuple(None if o is None else o._replace(token=names[o.token]) for o in owners),
            late=tuple(sorted((m._replace(token=names[m.token]) for m in s.late), key=hash)),
        )


def _is_done(store: Store, script: Script) -> bool:
    """§6.6: a script that was sent again finds (token, seq + 1): its first copy was executed."""
    return store.token == script.token and store.seq == script.seq + 1


def _with(s: State, i: int, owner: Owner | None) -> State:
    return s._replace(owners=(*s.owners[:i], owner, *s.owners[i + 1 :]))


def _trace(known: dict[int, tuple[int, str] | None], key: int) -> list[str]:
    texts: list[str] = []
    while (step := known[key]) is not None:
        key, text = step
        texts.insert(0, text)
    return texts


def _show(store: Store) -> str:
    values = ", ".join(f"{n}@{v.offset}" for n, v in zip("XY", store.values, strict=True) if v is not None)
    return f"token {store.token} seq {store.seq} offset {store.offset} [{values}]"


def _write(script: Script) -> str:
    what = f"writes {'XY'[script.write[0]]}@{script.write[1].offset}" if script.write is not None else "writes nothing"
    return what if script.to is None else f"{what} and moves {script.offset}→{script.to}"
