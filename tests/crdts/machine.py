"""Replicas that do whatever replicas may do, each judged at every step by what it can see (see specs.py).

`World` is the replicas, what is on its way between them, and the judge. `machine_of` makes a hypothesis machine of it.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar, Final, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from crdts import Change, Context, HybridClock, InsufficientRights, LogTrimmed, Replica, decode, encode
from crdts.clock import stamp_at
from crdts.delta import NOTHING, Delta
from crdts.reconcile.reconcile import Reconciliation
from crdts.types.base import Crdt

from .specs import LOWER, UNKNOWN, Between, LastWriter, Op, Ops, Path, agree, is_closed, plain, related, spec_of

NAMES: Final = "abcd"
LEAVER: Final = 3
"""The replica that stops writing in the end, and is retired by another."""
START: Final = 1_700_000_000.0
BUDGETS: Final = (1, 160, 400, 100_000)
"""Bytes per piece: one event each, two or three, a handful, everything."""

Operation = tuple[Path, str, tuple[Any, ...]]


class RecordingClock(HybridClock):
    """Tells the stamp it gave last."""

    __slots__ = ("given",)

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(now)
        self.given: int | None = None

    def tick(self) -> int:
        self.given = super().tick()
        return self.given


class Stopped(Exception):
    """Ends a transaction in these tests."""


class Exchange(NamedTuple):
    """A reconciliation under way: whose turn it is to receive which message."""

    members: tuple[int, int]
    sides: tuple[Reconciliation, Reconciliation]
    turn: int
    message: bytes


class Said(NamedTuple):
    """What a specification says of an object, for one set of operations."""

    value: Any
    textbook: Any
    conflicts: Any


class World:
    """Raises AssertionError as soon as a replica reads as anything else than its specification."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self.seconds = START
        self.clocks = [RecordingClock(lambda skew=skew: self.seconds + skew) for skew in (0.0, 3.0, -4.0, 11.0)]
        self.replicas = [Replica(name, clock=clock) for name, clock in zip(NAMES, self.clocks, strict=True)]
        self.units: list[list[Op]] = []
        """Operations by transaction: seen all or none."""
        self.mail: list[bytes] = []
        """Everything sent so far; it stays, so that it arrives late and again."""
        self.exchanges: list[Exchange] = []
        self.stamp = 0
        """The stamp that the clock gave last: all writes of a transaction share it."""
        self.open: list[Op] | None = None
        """The operations of the transaction under way."""
        self.retirer: int | None = None
        self.broken = False
        self._known: dict[tuple[Path, Ops], Said] = {}
        self.mirror = Mirror()
        self.replicas[0].on_change(self.mirror.hear)

    @property
    def alive(self) -> list[int]:
        return [i for i in range(len(NAMES)) if self.retirer is None or i != LEAVER]

    def nth_alive(self, number: int) -> int:
        return self.alive[number % len(self.alive)]

    # ---- judging

    def visible(self, who: int) -> Ops:
        """The operations whose events ``who`` has processed, all of those of a transaction or none."""
        context = self.replicas[who].store.kernel.context
        visible: list[Op] = []
        for unit in self.units:
            known = [context.contains(op.replica, seq) for op in unit for seq in op.seqs]
            assert all(known) or not any(known), f"{NAMES[who]} has a transaction in part"
            if all(known):
                visible += unit
        return frozenset(visible + (self.open or []))

    def check(self, *whom: int) -> None:
        for who in whom:
            try:
                self._check(who)
            except BaseException:
                self.broken = True
                raise

    def _check(self, who: int) -> None:
        visible = self.visible(who)
        for path in self.paths:
            kind = path[-1][0]
            held = at(self.replicas[who], path)
            actual, said = held.value(), self._said(path, related(visible, path))
            self._expect(who, path, actual, said.value, "reads")
            self._expect(who, path, actual, said.textbook, "by the textbook reads")
            if said.conflicts is not None:
                kept = held.conflicts  # type: ignore[attr-defined]
                kept = {k: list(map(repr, v)) for k, v in kept.items()} if kind == "lwwmap" else list(map(repr, kept))
                assert kept == said.conflicts, f"{NAMES[who]} keeps {kept} of {path}, not {said.conflicts}"
            if who == 0 and self.open is None and kind != "ormap":
                told = self.mirror.read(path)
                assert told == plain(actual, kind), f"{path} reads as {actual!r}, changes told of made it {told!r}"

    def _said(self, path: Path, ops: Ops) -> "Said":
        said = self._known.get((path, ops))
        if said is None:
            spec = spec_of(path)
            said = self._known[path, ops] = Said(
                spec.value(ops, path),
                spec.value(ops, path, closed=True) if is_closed(ops, path) else UNKNOWN,
                spec.conflicts(ops, path) if isinstance(spec, LastWriter) else None,
            )
        return said

    def _expect(self, who: int, path: Path, actual: Any, expected: Any, what: str) -> None:
        assert agree(path[-1][0], actual, expected), f"{NAMES[who]} {what} {path} as {actual!r}, not {expected!r}"

    # ---- writing

    def operate(self, who: int, operation: Operation) -> None:
        self.seconds += 0.001
        op, delta = self._call(who, *operation)
        if op is not None:
            self.units.append([op])
        self.send(delta)
        self.check(who)

    def _call(self, who: int, path: Path, name: str, args: tuple[Any, ...]) -> tuple[Op | None, Delta]:
        replica, clock, spec = self.replicas[who], self.clocks[who], spec_of(path)
        seen = self.visible(who)
        following = replica.store.kernel.context.last(replica.replica_id) + 1
        clock.given = None
        dated = isinstance(spec, LastWriter) and len(args) > (2 if "map" in path[-1][0] else 1)
        given = stamp_at(args[-1]) if dated else None
        attempt = Op(replica.replica_id, range(following, following + 1), path, name, args, seen, given or 0)
        try:
            delta = getattr(at(replica, path), name)(*args)
        except InsufficientRights:
            assert not spec.allows(attempt), f"{NAMES[who]} was refused {name}{args}"
            return None, NOTHING
        assert spec.allows(attempt), f"{NAMES[who]} should have been refused {name}{args}"
        stop = replica.store.kernel.context.last(replica.replica_id) + 1
        if stop == following:
            assert not delta
            self._check_nothing_was_left_to_do(who, attempt)
            return None, delta
        if clock.given is not None:
            self.stamp = clock.given
        stamp = self.stamp if given is None else given
        op = Op(replica.replica_id, range(following, stop), path, name, args, seen, stamp)
        if isinstance(spec, LastWriter) and clock.given is not None:
            self._check_stamp(op)
        return op, delta

    def _check_nothing_was_left_to_do(self, who: int, attempt: Op) -> None:
        """What made no event must not have been to make a difference."""
        spec, path = spec_of(attempt.path), attempt.path
        before, after = spec.value(attempt.seen, path), spec.value(attempt.seen | {attempt}, path)
        if not isinstance(before, Between):
            assert before == after, f"{NAMES[who]} did not write {attempt.name}{attempt.args}"

    def _check_stamp(self, op: Op) -> None:
        """A stamp of the clock is later than all that it replaces, but for those no clock follows."""
        spec = spec_of(op.path)
        assert isinstance(spec, LastWriter)
        for other in spec.standing(op.seen, op.path, op.args[0] if op.path[-1][0] == "lwwmap" else None):
            assert op.stamp > other.stamp or other.stamp > stamp_at(self.seconds + 70), "the clock does not follow"

    def transact(self, who: int, operations: list[Operation], ending: str) -> None:
        """``ending``: commit; raise, which leaves no trace; or an inner block that is undone alone."""
        replica = self.replicas[who]
        before = trace(replica)
        calls = self.mirror.calls
        self.seconds += 0.001
        self.open = []
        try:
            with replica.transaction() as done:
                for operation in operations[1:] if ending == "inner" else operations:
                    self._call_inside(who, operation)
                if ending == "inner":
                    self._try_inside(who, operations[0])
                if ending == "raise":
                    raise Stopped
        except Stopped:
            self.open = None
            assert trace(replica) == before, "a transaction that was undone has left a trace"
            assert self.mirror.calls == calls, "a transaction that was undone was told of"
        else:
            unit, self.open = self.open, None
            if unit:
                self.units.append(unit)
            assert bool(unit) == bool(done.delta)
            assert self.mirror.calls - calls <= 1, "a transaction was told of in parts"
            self.send(done.delta)
        finally:
            self.open = None
        self.check(who)

    def _call_inside(self, who: int, operation: Operation) -> None:
        op, delta = self._call(who, *operation)
        assert not delta, "a delta of what may yet be undone"
        if op is not None and self.open is not None:
            self.open.append(op)
        self.check(who)

    def _try_inside(self, who: int, operation: Operation) -> None:
        outer = list(self.open or ())
        before = trace(self.replicas[who])
        try:
            with self.replicas[who].transaction():
                self._call_inside(who, operation)
                raise Stopped
        except Stopped:
            self.open = outer
        assert trace(self.replicas[who]) == before, "a block that was undone has left a trace"
        self.check(who)

    # ---- exchanging

    def send(self, delta: Delta) -> None:
        if delta:
            data = encode(delta)
            again = decode(data)
            assert again == delta
            assert encode(again) == data
            self.mail.append(data)

    def deliver(self, whom: int, which: int) -> None:
        if self.mail:
            self.replicas[whom].merge(decode(self.mail[-1 - which % len(self.mail)]))
            self.check(whom)

    def pull(self, who: int, whom: int, budget: int, pieces: int | None, *, by_mail: bool = False) -> None:
        """``whom`` gets some pieces of what it lacks of ``who``: now, or whenever they arrive."""
        try:
            for delta in islice(self._pieces(who, whom, budget), pieces):
                if by_mail:
                    self.send(delta)
                else:
                    self.replicas[whom].merge(decode(encode(delta)))
                    self.check(whom)
        except LogTrimmed:
            self.pull_state(who, whom, by_mail=by_mail)

    def _pieces(self, who: int, whom: int, budget: int) -> Iterator[Delta]:
        return self.replicas[who].deltas_since(self.replicas[whom].context, budget)

    def pull_state(self, who: int, whom: int, *, by_mail: bool = False) -> None:
        state = self.replicas[who].store.kernel.state()
        if by_mail:
            self.send(state)
        else:
            self.replicas[whom].merge(decode(encode(state)))
            self.check(whom)

    def merge(self, who: int, whom: int) -> None:
        before = self.replicas[who].store.kernel.state()
        self.replicas[whom].merge(self.replicas[who])
        assert self.replicas[who].store.kernel.state() == before, "merging has changed what was merged"
        self.check(whom)

    def trim(self, who: int, limit: int) -> None:
        self.replicas[who].trim_log(limit)
        self.check(who)

    def reconcile(self, who: int, whom: int, messages: int | None, max_bytes: int) -> None:
        sides = (self.replicas[who].reconcile(max_bytes=max_bytes), self.replicas[whom].reconcile(max_bytes=max_bytes))
        exchange = self._advance(Exchange((who, whom), sides, 1, sides[0].start()), messages)
        if exchange is not None:
            self.exchanges.append(exchange)
        elif self.retirer is None:
            assert self.replicas[who].context == self.replicas[whom].context
            assert self.replicas[who].fingerprint == self.replicas[whom].fingerprint

    def resume(self, which: int, messages: int | None, *, answer_was_lost: bool) -> None:
        exchange = self.exchanges.pop(which % len(self.exchanges))
        side, other = exchange.sides[exchange.turn], exchange.sides[1 - exchange.turn]
        if answer_was_lost and side._sent is not None:
            assert other.receive(side.resume()) == exchange.message
        rest = self._advance(exchange._replace(message=other.resume()), messages)
        if rest is not None:
            self.exchanges.append(rest)

    def _advance(self, exchange: Exchange, messages: int | None) -> Exchange | None:
        """Deliver so many messages; None if that was all there was to say."""
        left = 10_000 if messages is None else messages
        while left:
            answer = exchange.sides[exchange.turn].receive(exchange.message)
            self.check(exchange.members[exchange.turn])
            if answer is None:
                # What goes beyond the end of a retired writer is not joined, and that is not called finished.
                assert self.retirer is not None or all(side.finished for side in exchange.sides)
                return None
            exchange = exchange._replace(turn=1 - exchange.turn, message=answer)
            left -= 1
        assert messages is not None, "a reconciliation that does not end"
        return exchange

    # ---- retiring

    def retire(self, by: int, *, graceful: bool, marked_by: int | None = None) -> None:
        """The last replica stops; what only it had is lost, unless it says a last word to the one that retires it.

        ``marked_by``: who marks it before, or at the same time.
        """
        if graceful:
            self.merge(LEAVER, by)
        if not self.replicas[by].context.last(NAMES[LEAVER]):
            return
        self.retirer = by
        for peer in self.alive:
            if peer != by:  # whoever retires must have heard of everybody, however little
                self.replicas[by].report(NAMES[peer], Context())
        self.exchanges = [exchange for exchange in self.exchanges if LEAVER not in exchange.members]
        if marked_by is not None and self.replicas[marked_by].context.last(NAMES[LEAVER]):
            self.send(self.replicas[marked_by].mark(NAMES[LEAVER]))
            self.check(marked_by)
        self.send(self.replicas[by].retire(NAMES[LEAVER]))
        self.check(by)

    def report(self, peer: int) -> None:
        if self.retirer is not None and peer != self.retirer:
            self.send(self.replicas[self.retirer].report(NAMES[peer], self.replicas[peer].context))
            self.check(self.retirer)

    # ---- the end

    def settle(self) -> None:
        """Everybody exchanges with everybody until all have everything; then all must be equal."""
        alive = [self.replicas[i] for i in self.alive]
        for _ in range(6):
            before = [replica.store.kernel.processed for replica in alive]
            for i, who in enumerate(self.alive):
                for k, whom in enumerate(self.alive):
                    if who != whom:
                        (self._settle_by_merging, self._settle_by_pieces, self._settle_by_reconciling)[(i + k) % 3](
                            who, whom
                        )
                        if whom == self.retirer:
                            self.report(who)
            if before == [replica.store.kernel.processed for replica in alive]:
                break
        self._check_equal(alive)
        made = frozenset(op for unit in self.units for op in unit)
        for path in self.paths:
            spec_of(path).check_for_good(made, path)

    def _settle_by_merging(self, who: int, whom: int) -> None:
        self.merge(who, whom)

    def _settle_by_pieces(self, who: int, whom: int) -> None:
        self.pull(who, whom, 200, None)

    def _settle_by_reconciling(self, who: int, whom: int) -> None:
        self.reconcile(who, whom, None, 600)

    def _check_equal(self, alive: list[Replica]) -> None:
        first = alive[0]
        lost = NAMES[LEAVER] if self.retirer is not None else ""
        for replica in alive:
            kernel = replica.store.kernel
            assert replica.context == first.context, "contexts differ in the end"
            assert replica.fingerprint == first.fingerprint, "contents differ in the end"
            assert not {*kernel.prekilled} - {lost}, "a pre-killed dot is left"
            assert encode(kernel.state()) == encode(first.store.kernel.state()), "encoded states differ in the end"
            assert replica.retired == first.retired
            for path in self.paths:
                assert repr_of(at(replica, path).value()) == repr_of(at(first, path).value())
        if self.retirer is None:
            everything = sum(len(op.seqs) for unit in self.units for op in unit)
            assert len(first.store.kernel.context) == everything, "something never arrives"
        else:
            context = alive[self.alive.index(self.retirer)].store.kernel.context
            complete = context.prefix(lost) == context.last(lost)
            assert (lost in first.retired) == complete, "a writer is retired when all have all of it, and only then"


class Mirror:
    """What somebody knows who hears of changes and never reads."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, tuple[Any, ...]], tuple[Any, Any]] = {}
        self.calls = 0

    def hear(self, changes: list[Change]) -> None:
        self.calls += 1
        assert changes, "told of nothing"
        for change in changes:
            if change.kind == "bounded_counter" and change.keyed:  # whose rights, told of only where the value stays
                assert change.before != change.after
                continue
            place = change.kind, tuple([repr(part) for part in change.path])
            known = self.known[place][1] if place in self.known else initial(change.kind)
            assert repr(change.before) == repr(known), f"{change} follows {known!r}"
            assert repr(change.after) != repr(known), f"{change} is no change"
            self.known[place] = change.path, change.after

    def read(self, path: Path) -> Any:
        """What `specs.plain` makes of the value of this object."""
        kind, names = path[-1][0], tuple([name for _, name in path])
        here = {p[-1]: after for (k, _), (p, after) in self.known.items() if k == kind and p[:-1] == names}
        if kind in ("gset", "orset", "rwset"):
            return {repr(element) for element, is_in in self._items(kind, names) if is_in}
        if kind == "lwwmap":
            return {key: repr(value) for key, value in here.items() if value is not None}
        whole = [after for (k, _), (p, after) in self.known.items() if k == kind and p == names]
        return plain(whole[0] if whole else initial(kind), kind)

    def _items(self, kind: str, names: tuple[str, ...]) -> list[tuple[Any, Any]]:
        return [(p[-1], after) for (k, _), (p, after) in self.known.items() if k == kind and p[:-1] == names]


def initial(kind: str) -> Any:
    """What `Change.before` says of a place where there was nothing."""
    if kind in ("gset", "orset", "rwset", "ewflag"):
        return False
    if kind == "bounded_counter":
        return LOWER
    if kind == "dwflag":
        return True
    if kind == "mvregister":
        return []
    return None if kind in ("register", "lwwmap") else 0


def at(replica: Replica, path: Path) -> Crdt:
    held: Any = replica
    for kind, name in path:
        held = held.bounded_counter(name, LOWER) if kind == "bounded_counter" else getattr(held, kind)(name)
    return held  # type: ignore[no-any-return]


def trace(replica: Replica) -> tuple[bytes, Context, str, int]:
    kernel = replica.store.kernel
    values = repr([(held.kind, held.name, repr_of(held.value())) for held in replica.objects()])
    return encode(kernel.state()), kernel.context.copy(), values, kernel.log.size


def repr_of(value: Any) -> Any:
    """Of a value, without the order of elements and keys."""
    if isinstance(value, dict):
        return sorted((key, repr_of(item)) for key, item in value.items())
    return sorted(map(repr, value)) if hasattr(value, "isdisjoint") else repr(value)


# ---- what is called on what

ELEMENTS: Final = st.sampled_from(["x", "y", 1, True])
AMOUNTS: Final = st.sampled_from([1, 2, 3, 5, 0])
TIMES: Final = st.sampled_from([1.0, 2.0, START + 5, 4e9])
"""Given times: long ago, about now, and too far ahead for any clock to follow."""


def calls(name: str, *args: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, tuple[Any, ...]]]:
    return st.tuples(st.just(name), st.tuples(*args))


CALLS: Final[dict[str, st.SearchStrategy[tuple[str, tuple[Any, ...]]]]] = {
    "gset": calls("add", ELEMENTS | st.integers(0, 20)),
    "orset": calls("add", ELEMENTS) | calls("remove", ELEMENTS) | calls("add", ELEMENTS) | calls("clear"),
    "rwset": calls("add", ELEMENTS) | calls("remove", ELEMENTS) | calls("clear") | calls("purge"),
    "ewflag": calls("enable") | calls("disable"),
    "dwflag": calls("enable") | calls("disable"),
    "gcounter": calls("increment", AMOUNTS) | calls("increment") | calls("reset"),
    "counter": calls("increment", AMOUNTS) | calls("decrement", AMOUNTS) | calls("reset"),
    "bounded_counter": st.one_of(
        calls("increment", AMOUNTS),
        calls("decrement", AMOUNTS),
        calls("transfer", st.sampled_from([*NAMES, "nobody"]), AMOUNTS),
    ),
    "register": calls("set", st.sampled_from("uvw")) | calls("set", st.sampled_from("uvw"), TIMES),
    "mvregister": calls("set", st.sampled_from(["u", "v", 1, True, 1.0])),
    "lwwmap": st.one_of(
        calls("set", st.sampled_from("kl"), st.sampled_from("uvw")),
        calls("set", st.sampled_from("kl"), st.sampled_from("uvw"), TIMES),
        calls("delete", st.sampled_from("kl")),
    ),
    "ormap": calls("delete", st.sampled_from(["k", "l"]))
    | calls("delete", st.sampled_from(["k", "l"]))
    | calls("clear"),
}
RESET: Final = calls("reset")

ALONE: Final[dict[str, list[Path]]] = {kind: [((kind, "x"),)] for kind in CALLS if kind != "ormap"}
IN_MAPS: Final[list[Path]] = [
    (("ormap", "m"),),
    (("ormap", "m"), ("ormap", "k")),
    *((("ormap", "m"), (kind, key)) for kind, key in zip(sorted(set(CALLS) - {"ormap"}), "klklklklkkl", strict=True)),
    (("ormap", "m"), ("ormap", "k"), ("counter", "k")),
    (("ormap", "m"), ("ormap", "k"), ("orset", "l")),
]
COUNTERS_IN_MAPS: Final[list[Path]] = [
    (("ormap", "m"),),
    *((("ormap", "m"), (kind, "k")) for kind in ("gcounter", "counter", "bounded_counter")),
]


def operations(paths: Sequence[Path], *, resets: bool = True) -> st.SearchStrategy[Operation]:
    """Calls on these objects, with resets of bounded counters or without."""
    return st.one_of(
        *(
            st.tuples(
                st.just(path),
                CALLS[path[-1][0]] | RESET if resets and path[-1][0] == "bounded_counter" else CALLS[path[-1][0]],
            ).map(lambda call: (call[0], *call[1]))
            for path in paths
        )
    )


# ---- the hypothesis machine

WHO: Final = st.integers(0, len(NAMES) - 1)
OPERATION: Final[st.SearchStrategy[Operation]] = st.runner().flatmap(lambda machine: machine.operations)
SOME: Final = st.lists(OPERATION, min_size=2, max_size=4)


class Machine(RuleBasedStateMachine):
    """Replicas that call `operations` on the objects at `paths`; see `machine_of`."""

    paths: ClassVar[Sequence[Path]]
    operations: ClassVar[st.SearchStrategy[Operation]]

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.paths)

    @rule(who=WHO, operation=OPERATION)
    def operate(self, who: int, operation: Operation) -> None:
        self.world.operate(self.world.nth_alive(who), operation)

    @rule(who=WHO, others=st.lists(WHO, max_size=2), operation=OPERATION)
    def operate_and_send(self, who: int, others: list[int], operation: Operation) -> None:
        self.world.operate(self.world.nth_alive(who), operation)
        for other in others:
            self.world.deliver(self.world.nth_alive(other), 0)

    @rule(who=WHO, some=SOME, other=WHO)
    def operate_on_both_sides(self, who: int, some: list[Operation], other: int) -> None:
        for i, operation in enumerate(some):
            self.world.operate(self.world.nth_alive(other if i % 2 else who), operation)

    @rule(
        who=WHO,
        some=SOME,
        ending=st.sampled_from(["commit", "commit", "raise", "inner"]),
    )
    def transact(self, who: int, some: list[Operation], ending: str) -> None:
        self.world.transact(self.world.nth_alive(who), some, ending)

    @rule(whom=WHO, which=st.integers(0, 20))
    def deliver(self, whom: int, which: int) -> None:
        self.world.deliver(self.world.nth_alive(whom), which)

    @rule(
        pair=st.tuples(WHO, WHO),
        budget=st.sampled_from(BUDGETS),
        pieces=st.none() | st.integers(1, 5),
        by_mail=st.booleans(),
    )
    def pull(self, pair: tuple[int, int], budget: int, pieces: int | None, by_mail: bool) -> None:
        self.world.pull(*map(self.world.nth_alive, pair), budget, pieces, by_mail=by_mail)

    @rule(pair=st.tuples(WHO, WHO), by_mail=st.booleans())
    def pull_state(self, pair: tuple[int, int], by_mail: bool) -> None:
        self.world.pull_state(*map(self.world.nth_alive, pair), by_mail=by_mail)

    @rule(pair=st.tuples(WHO, WHO), both_ways=st.booleans())
    def merge(self, pair: tuple[int, int], both_ways: bool) -> None:
        who, whom = map(self.world.nth_alive, pair)
        self.world.merge(who, whom)
        if both_ways:
            self.world.merge(whom, who)

    @rule(who=WHO, limit=st.integers(0, 3))
    def trim(self, who: int, limit: int) -> None:
        self.world.trim(self.world.nth_alive(who), limit)

    @rule(
        pair=st.tuples(WHO, WHO),
        messages=st.none() | st.integers(0, 5),
        max_bytes=st.sampled_from([512, 700, 65_536]),
    )
    def reconcile(self, pair: tuple[int, int], messages: int | None, max_bytes: int) -> None:
        who, whom = map(self.world.nth_alive, pair)
        if who != whom:
            self.world.reconcile(who, whom, messages, max_bytes)

    @precondition(lambda self: self.world.exchanges)
    @rule(which=st.integers(0, 3), messages=st.none() | st.integers(0, 3), answer_was_lost=st.booleans())
    def resume(self, which: int, messages: int | None, answer_was_lost: bool) -> None:
        self.world.resume(which, messages, answer_was_lost=answer_was_lost)

    @precondition(lambda self: self.world.retirer is None and len(self.world.units) > 8)
    @rule(by=st.integers(0, LEAVER - 1), graceful=st.booleans(), marked_by=st.none() | st.integers(0, LEAVER - 1))
    def retire(self, by: int, graceful: bool, marked_by: int | None) -> None:
        self.world.retire(by, graceful=graceful, marked_by=marked_by)

    @precondition(lambda self: self.world.retirer is not None)
    @rule(peer=st.integers(0, LEAVER - 1))
    def report(self, peer: int) -> None:
        self.world.report(peer)

    def teardown(self) -> None:
        if not self.world.broken:
            self.world.settle()


def machine_of(paths: Sequence[Path], operations: st.SearchStrategy[Operation]) -> type[Machine]:
    """A machine whose replicas call ``operations`` on the objects at ``paths``."""
    return type("Machine", (Machine,), {"paths": paths, "operations": operations})
