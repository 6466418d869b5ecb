"""A few kernels, a network that loses, repeats and reorders, and an oracle that remembers every event ever made.

The oracle is the model of DESIGN and nothing else. It keeps, for each replica, the set X of dots it has received, and
judges the kernel by

    live(X) = { d in X with an entry : no event of X kills d }

Of the dots that are told of as replaced, those are added to X that an event of X kills, and no others; and the events
of a transaction are added all at once, when each of them has been told of or is known to be replaced, or not at all.
"""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from hypothesis import strategies as st

from crdts import Context, Delta, Dot, Event, LogTrimmed, decode, encode
from crdts.delta import REPLACED, events_delta
from crdts.entries import entry_hash
from crdts.kernel import Kernel

# Objects of a type nobody knows: the kernel keeps their entries without reading them, so payloads can be anything.
PLACES = [(b"?x", b"1"), (b"?x", b"2"), (b"?y", b"1")]
BUDGETS = [1, 160, 320, 100_000]
"""Bytes per piece: one event each, two or three, a handful, everything."""


class Step(NamedTuple):
    """One move of a schedule. The numbers are reduced to whatever range the action needs."""

    action: str
    who: int
    whom: int
    place: int
    amount: int


ACTIONS = (
    "idle",
    *("write", "write", "write", "remove", "remove", "transact", "transact"),
    *("deliver", "deliver", "deliver", "lose"),
    *("pull", "pull", "best", "scatter", "stream", "state", "trim"),
)


def schedules(*, min_steps: int = 20, max_steps: int = 80) -> st.SearchStrategy[list[Step]]:
    small = st.integers(0, 15)
    step = st.builds(Step, st.sampled_from(ACTIONS), small, small, small, small)
    return st.lists(step, min_size=min_steps, max_size=max_steps)


class Part(NamedTuple):
    """What a message tells of one transaction."""

    all: frozenset[Dot]
    told: frozenset[Dot]
    """Those of its events that are in the message."""
    alive: frozenset[Dot]
    """Those of them that are not told of as replaced."""


class Mail(NamedTuple):
    data: bytes
    claims: frozenset[Dot]
    """What the receiver will have processed: the dots of events, or of a whole state."""
    dead: frozenset[Dot] = frozenset()
    """Those told of as replaced, which it will have processed if it knows an event that replaced them."""
    parts: tuple[Part, ...] = ()
    runs: frozenset[Dot] = frozenset()
    is_state: bool = False


class World:
    """Runs a schedule and raises AssertionError as soon as a kernel and the model disagree."""

    def __init__(self, kernel_type: type[Kernel], size: int, *, log_limit: int = 1000) -> None:
        self.kernels = [kernel_type("abcde"[i], log_limit=log_limit) for i in range(size)]
        self.received: list[set[Dot]] = [set() for _ in self.kernels]
        self.made: dict[Dot, Event] = {}
        self.mail: list[Mail] = []

    def run(self, schedule: list[Step]) -> None:
        for step in schedule:
            who, whom = step.who % len(self.kernels), step.whom % len(self.kernels)
            getattr(self, "_" + step.action)(who, whom, step)
        self.settle()

    # ---- what may happen

    def _idle(self, who: int, whom: int, step: Step) -> None:
        """What a failing schedule shrinks to."""

    def _write(self, who: int, whom: int, step: Step) -> None:
        obj, key = PLACES[step.place % len(PLACES)]
        held = self.kernels[who].at(obj, key)
        replaced = held if step.amount % 4 else held[step.amount // 4 :]  # not all: as a write with an old stamp
        self._local(who, obj, key, b"%d" % len(self.made), replaced)

    def _remove(self, who: int, whom: int, step: Step) -> None:
        obj, key = PLACES[step.place % len(PLACES)]
        held = self.kernels[who].at(obj, key)
        if held:
            self._local(who, obj, key, None, held)

    def _local(self, who: int, obj: bytes, key: bytes, payload: bytes | None, replaced: tuple[Event, ...]) -> None:
        kernel = self.kernels[who]
        kills = tuple(sorted(event.dot for event in replaced))
        seq = 1 + sum(replica == kernel.replica_id for replica, _ in self.made)
        place = (b"", b"") if payload is None else (obj, key)
        expected = Event(kernel.replica_id, seq, *place, payload, kills)
        events = kernel.write(obj, key, payload, replaced)
        self.made[expected.dot] = expected
        self.received[who].add(expected.dot)
        self.check(who)
        assert events == (expected,), "a write made another event"
        self.mail.append(self._mail(who, events_delta(events)))

    def _transact(self, who: int, whom: int, step: Step) -> None:
        """Two to four writes and removals as one, some of them at one place."""
        kernel = self.kernels[who]
        events: list[Event] = []
        for i in range(2 + step.amount % 3):
            obj, key = PLACES[(step.place + i * (step.amount % 4 > 1)) % len(PLACES)]
            held = kernel.at(obj, key)
            payload = None if held and (step.amount + i) % 3 == 0 else b"%d.%d" % (len(self.made), i)
            events += kernel.write(obj, key, payload, held)
        batched = kernel.together(events)
        assert all(event.batch == (events[0].seq, events[-1].seq + 1) for event in batched)
        for event in batched:
            self.made[event.dot] = event
            self.received[who].add(event.dot)
        self.check(who)
        self.mail.append(self._mail(who, events_delta(batched)))

    def _deliver(self, who: int, whom: int, step: Step) -> None:
        """Old mail stays, so it arrives late and again."""
        if self.mail:
            self._receive(whom, self.mail[-1 - (step.amount + step.place) % len(self.mail)])

    def _lose(self, who: int, whom: int, step: Step) -> None:
        if self.mail:
            del self.mail[step.amount % len(self.mail)]

    def _pull(self, who: int, whom: int, step: Step) -> None:
        """Some or all pieces of what ``whom`` lacks; the whole state when the log no longer reaches back."""
        known = self.kernels[whom].context.copy()
        try:
            for mail in islice(self._pieces(who, known, BUDGETS[step.place % 4]), step.amount or None):
                self._receive(whom, mail)
        except LogTrimmed:
            self._receive(whom, self._state_of(who))

    def _best(self, who: int, whom: int, step: Step) -> None:
        """What the kernel itself would send at once: events or a state."""
        delta = self.kernels[who].delta_since(self.kernels[whom].context)
        self._receive(whom, self._state_of(who) if delta.is_state else self._mail(who, delta))

    def _state(self, who: int, whom: int, step: Step) -> None:
        """A state that arrives whenever it likes, when it is long out of date."""
        self.mail.append(self._state_of(who))

    def _trim(self, who: int, whom: int, step: Step) -> None:
        self.kernels[who].trim_log(step.amount % 4)
        self.check(who)

    def _scatter(self, who: int, whom: int, step: Step) -> None:
        known = self.kernels[whom].context.copy()
        try:
            self.mail.extend(self._pieces(who, known, BUDGETS[step.place % 4]))
        except LogTrimmed:
            self.mail.append(self._state_of(who))

    def _stream(self, who: int, whom: int, step: Step) -> None:
        """The sender writes or removes between two pieces, and the connection may break after any of them."""
        known = self.kernels[whom].context.copy()
        try:
            for i, mail in enumerate(self._pieces(who, known, BUDGETS[step.place % 3])):
                if i == step.amount:
                    break
                self._receive(whom, mail)
                self._remove(who, whom, step._replace(place=step.place + i))
                if i % 2:
                    self._write(who, whom, step._replace(place=step.place + i))
        except LogTrimmed:
            self._receive(whom, self._state_of(who))

    def settle(self) -> None:
        """Everybody hears from everybody until nobody lacks anything; then all must be equal."""
        everything = set(self.made)
        for _ in self.kernels:
            for who in range(len(self.kernels)):
                for whom in range(len(self.kernels)):
                    self._pull(who, whom, Step("pull", who, whom, who + whom, 0))
        for i, kernel in enumerate(self.kernels):
            assert self.received[i] == everything, "something never arrives"
            assert not kernel.prekilled, "a pre-killed dot is left"
            assert live_dots(kernel) == self.live(everything), "no convergence"
            assert kernel.fingerprint == self.kernels[0].fingerprint

    # ---- messages

    def _mail(self, who: int, delta: Delta) -> Mail:
        runs = {(replica, seq) for replica, start, stop in delta.runs for seq in range(start, stop)}
        alone = [event for event in delta.events if event.batch is None]
        dead = {event.dot for event in alone if event.obj == REPLACED}
        claims = {event.dot for event in alone} - dead
        told = {event.dot for event in delta.events}
        assert runs | told <= self.received[who], "claims what the sender has not received"
        assert not runs & told, "calls a dot alive and dead"
        parts = tuple(self._parts(delta))
        return Mail(encode(delta), frozenset(claims), frozenset(dead), parts, frozenset(runs))

    def _parts(self, delta: Delta) -> Iterator[Part]:
        for replica, batch in sorted({(event.replica, event.batch) for event in delta.events if event.batch}):
            assert batch == self.made[replica, batch[0]].batch, "a transaction that nobody made"
            events = [event for event in delta.events if event.replica == replica and event.batch == batch]
            everything = frozenset((replica, seq) for seq in range(*batch))
            alive = frozenset(event.dot for event in events if event.obj != REPLACED)
            yield Part(everything, frozenset(event.dot for event in events), alive)

    def _pieces(self, who: int, known: Context, max_bytes: int) -> Iterator[Mail]:
        for delta in self.kernels[who].deltas_since(known, max_bytes):
            yield self._mail(who, delta)

    def _state_of(self, who: int) -> Mail:
        data = encode(self.kernels[who].state())
        return Mail(data, frozenset(self.received[who]), is_state=True)

    def _receive(self, whom: int, mail: Mail) -> None:
        delta = decode(mail.data)
        assert encode(delta) == mail.data
        received = self.received[whom]
        before = set(received)
        reported = self.kernels[whom].merge(delta)
        received |= mail.claims
        while late := (mail.dead & self.killed_by(received) | self._accepted(mail, received)) - received:
            received |= late
        received |= mail.runs & self.killed_by(received)
        self.check(whom)
        if not mail.is_state:
            new = received - before
            assert {event.dot for event in reported} == new.intersection(event.dot for event in delta.events), (
                "new events are not reported as they are"
            )

    # ---- the oracle

    def _accepted(self, mail: Mail, received: set[Dot]) -> set[Dot]:
        """The transactions of which everything is known: told of, processed before, or known to be replaced."""
        whole = [
            part for part in mail.parts if part.all <= part.alive | received | self.killed_by(received | part.told)
        ]
        return {dot for part in whole for dot in part.all}

    def live(self, received: set[Dot]) -> set[Dot]:
        killed = self.killed_by(received)
        return {dot for dot in received if self.made[dot].payload is not None and dot not in killed}

    def killed_by(self, dots: set[Dot]) -> set[Dot]:
        return {killed for dot in dots for killed in self.made[dot].kills}

    def check(self, i: int) -> None:
        kernel, received = self.kernels[i], self.received[i]
        assert live_dots(kernel) == self.live(received), "live entries differ from live(X)"
        assert set(dots_of(kernel.context)) == received, "the context differs from X"
        assert set(flat(kernel.prekilled)) == self.killed_by(received) - received, "the pre-killed dots differ"
        self._check_entries(kernel)
        self._check_log(kernel, received)

    def _check_entries(self, kernel: Kernel) -> None:
        entries = [event for seqs in kernel.live.values() for event in seqs.values()]
        assert sorted(entries) == sorted(self.made[event.dot]._replace(kills=(), batch=None) for event in entries)
        indexed = [event for obj in kernel.objects for held in kernel.places(obj).values() for event in held]
        assert sorted(indexed) == sorted(entries)
        for obj in kernel.objects:
            for key, held in kernel.places(obj).items():
                assert held
                assert {(event.obj, event.key) for event in held} == {(obj, key)}
        assert all(kernel.objects.values())
        assert kernel.fingerprint == sum(map(entry_hash, entries)) % 2**64

    def _check_log(self, kernel: Kernel, received: set[Dot]) -> None:
        above_floor = [
            (dot, self.made[dot].kills)
            for dot in received
            if self.made[dot].kills and dot[1] > kernel.log.floor.get(dot[0], 0)
        ]
        logged = [((replica, seq), kills) for replica, log in kernel.log.kills.items() for seq, kills in log.items()]
        assert sorted(logged) == sorted(above_floor), "the log is not complete above its floor"
        batches = [(replica, batch) for replica, held in kernel.log.batches.items() for batch in held]
        assert kernel.log.size == sum(len(kills) for _, kills in logged) + len(batches)
        assert all(held == sorted(set(held)) for held in kernel.log.batches.values())
        for replica, seq in live_dots(kernel):
            if seq > kernel.log.floor.get(replica, 0):
                known = kernel.log.batch_of(replica, seq)
                assert known == self.made[replica, seq].batch, "the log is not complete: a transaction is forgotten"


def live_dots(kernel: Kernel) -> set[Dot]:
    return set(flat(kernel.live))


def flat(seqs: dict[str, dict[int, object]]) -> Iterator[Dot]:
    return ((replica, seq) for replica, held in seqs.items() for seq in held)


def dots_of(context: Context) -> Iterator[Dot]:
    return ((replica, seq) for replica, start, stop in context.ranges() for seq in range(start, stop))
