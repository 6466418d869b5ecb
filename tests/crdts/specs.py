"""What every type means: its value as a function of the operations that are visible, and of nothing else.

An operation knows who made it, what was asked, and which operations its replica could see at that moment (``seen``).
No dots that it replaced, no payloads, no generations: those are how the library does it. What is visible need not be
causally closed, as deltas arrive late and in any order; so "observed" means what stood in the view of an operation.
In a closed view that is the same as the textbook's "seen at all", and where a view is closed the machine asks for both.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

Path: TypeAlias = tuple[tuple[str, str], ...]
"""(accessor, name) of an object, behind those of the maps that it is in, outermost first."""


@dataclass(frozen=True, eq=False, slots=True)
class Op:
    """One call of a mutator that took effect."""

    replica: str
    seqs: range
    """Of the events it made."""
    path: Path
    name: str
    args: tuple[Any, ...]
    seen: "Ops" = field(repr=False)
    stamp: int = 0
    """What the clock gave, or was given, for types that the last writer wins."""
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def rank(self) -> tuple[int, str, int]:
        return self.stamp, self.replica, self.seqs.stop


Ops: TypeAlias = frozenset[Op]


@dataclass(frozen=True)
class Between:
    """All that can be said of a counter while operations are missing that others build on."""

    low: int
    high: int


class Unknown:
    """Nothing can be said yet."""


UNKNOWN: Final = Unknown()


def meaning(op: Op, path: Path) -> tuple[str, tuple[Any, ...]] | None:
    """What ``op`` is to the object at ``path``: itself, a reset if it took away a map's key above, or nothing."""
    if op.path == path:
        return op.name, op.args
    depth = len(op.path)
    if depth < len(path) and path[:depth] == op.path and (op.name == "clear" or op.args[0] == path[depth][1]):
        return "reset", ()
    return None


def concerns(op: Op, path: Path) -> bool:
    """Whether ``op`` has to do with the object at ``path``, or anything below it."""
    return op.path[: len(path)] == path or meaning(op, path) is not None


def related(ops: Iterable[Op], path: Path) -> Ops:
    """Those of ``ops`` that the object at ``path`` depends on."""
    return frozenset([op for op in ops if concerns(op, path)])


def is_closed(ops: Ops, path: Path) -> bool:
    """Whether all that the operations on the object at ``path`` had seen of it is there too."""
    for op in related(ops, path):
        if ("related", path) not in op.memo:
            op.memo["related", path] = related(op.seen, path)
        if not op.memo["related", path] <= ops:
            return False
    return True


class Spec:
    """Of one type."""

    def value(self, ops: Ops, path: Path, *, closed: bool = False) -> Any:
        """``closed``: take "observed" as the textbooks do."""
        raise NotImplementedError

    def is_there(self, ops: Ops, path: Path) -> bool | None:
        """Whether a map that the object is in has its key; None if that cannot be said."""
        raise NotImplementedError

    def allows(self, op: Op) -> bool:
        """Whether the operation must be possible (True) or be refused (False)."""
        return True

    def check_for_good(self, made: Ops, path: Path) -> None:
        """Raise AssertionError if what all replicas together have been allowed to do is too much."""


# ---- types that are read place by place


class Placed(Spec):
    """An operation does away with what stood in its view at each place it touches, and may leave something itself."""

    def places(self, ops: Ops, path: Path) -> dict[Any, Any]:
        return {None: None}

    def touches(self, op: Op, path: Path, place: Any) -> bool | None:
        """None: it has nothing to do with that place. Else whether it leaves something there."""
        raise NotImplementedError

    def standing(self, ops: Ops, path: Path, place: Any, *, closed: bool = False) -> list[Op]:
        touching = {op: leaves for op in ops if (leaves := self.touches(op, path, place)) is not None}
        gone: set[Op] = set()
        for op in touching:
            gone |= op.seen if closed else self.observed(op, path, place)
        return [op for op, leaves in touching.items() if leaves and op not in gone]

    def observed(self, op: Op, path: Path, place: Any) -> set[Op]:
        if (path, place) not in op.memo:
            op.memo[path, place] = set(self.standing(op.seen, path, place))
        held: set[Op] = op.memo[path, place]
        return held

    def is_there(self, ops: Ops, path: Path) -> bool | None:
        return any(self.standing(ops, path, place) for place in self.places(ops, path))


class AddWins(Placed):
    """x is in if there is an add that no remove (or clear, or reset, or later add) has observed."""

    def places(self, ops: Ops, path: Path) -> dict[Any, Any]:
        asked = [meaning(op, path) for op in ops]
        return {repr(call[1][0]): call[1][0] for call in asked if call is not None and call[1]}

    def touches(self, op: Op, path: Path, place: Any) -> bool | None:
        call = meaning(op, path)
        if call is None or (call[1] and repr(call[1][0]) != place):
            return None
        return call[0] == "add"

    def value(self, ops: Ops, path: Path, *, closed: bool = False) -> Any:
        return {p for p in self.places(ops, path) if self.standing(ops, path, p, closed=closed)}


class RemoveWins(AddWins):
    """x is in if it was added and every remove of it has been observed by a later add."""

    def touches(self, op: Op, path: Path, place: Any) -> bool | None:
        call = meaning(op, path)
        if call is None or (call[1] and repr(call[1][0]) != place):
            return None
        if call[0] == "clear":  # removes what is in
            return True if self.was_in(op, path, place) else None
        if call[0] == "purge":  # forgets what is not
            return None if self.was_in(op, path, place) else False
        return call[0] in ("add", "remove")

    def was_in(self, op: Op, path: Path, place: Any) -> bool:
        if ("in", path, place) not in op.memo:
            op.memo["in", path, place] = self.contains(op.seen, path, place)
        held: bool = op.memo["in", path, place]
        return held

    def contains(self, ops: Ops, path: Path, place: Any, *, closed: bool = False) -> bool:
        said = self.standing(ops, path, place, closed=closed)
        return bool(said) and all(op.path == path and op.name == "add" for op in said)

    def value(self, ops: Ops, path: Path, *, closed: bool = False) -> Any:
        return {p for p in self.places(ops, path) if self.contains(ops, path, p, closed=closed)}

    def is_there(self, ops: Ops, path: Path) -> bool | None:
        return bool(self.value(ops, path))


class Flag(Placed):
    """``wins``: the call that is remembered, and wins over the other one where neither has seen the other."""

    def __init__(self, wins: str) -> None:
        self.wins = wins

    def touches(self, op: Op, path: Path, place: Any) -> bool | None:
        call = meaning(op, path)
        return None if call is None else call[0] == self.wins

    def value(self, ops: Ops, path: Path, *, closed: bool = False) -> Any:
        return bool(self.standing(ops, path, None, closed=closed)) == (self.wins == "enable")


class MultiValue(Placed):
    """Every value whose write no later write has observed."""

    def touches(self, op: Op, path: Path, place: Any) -> bool | None:
        call = meaning(op, path)
        return None if call is None else call[0] == "set"

    def value(self, ops: Ops, path: Path, *, closed: bool = False) -> Any:
        return sorted({repr(op.args[0]) for op in self.standing(ops, path, None, closed=closed)})


class LastWriter(Placed):
    """Of the writes that no later write has observed the one with the highest (stamp, replica id, seq).

    A write under a given time that is beaten by what its writer saw is none.
    """

    def touches(self, op: Op, path: Path, place: Any) -> bool | None:
        call = meaning(op, path)
        if call is None or self.place_of(call) not in (place, "everywhere"):
            return None
        return (True if self.counts(op, path, place) else None) if call[0] == "set" else False

    @staticmethod
    def place_of(call: tuple[str, tuple[Any, ...]]) -> Any:
        return "everywhere" if call[0] == "reset" else None

    def counts(self, op: Op, path: Path, place: Any) -> bool:
        given = len(op.args) > (2 if op.path[-1][0] == "lwwmap" else 1)
        return not given or all(
            other.rank[:2] <= (op.stamp, op.replica) for other in self.standing(op.seen, path, place)
        )

    def ranked(self, ops: Ops, path: Path, place: Any, *, closed: bool = False) -> list[Op]:
        return sorted(self.standing(ops, path, place, closed=closed), key=lambda op: op.rank, reverse=True)

    def value(self, ops: Ops, path: Path, *, closed: bool = False) -> Any:
        ranked = self.ranked(ops, path, None, closed=closed)
        return repr(ranked[0].args[0]) if ranked else "None"

    def conflicts(self, ops: Ops, path: Path) -> Any:
        return [repr(op.args[0]) for op in self.ranked(ops, path, None)[1:]]


class LastWriterMap(LastWriter):
    """The same for each key."""

    @staticmethod
    def place_of(call: tuple[str, tuple[Any, ...]]) -> Any:
        return call[1][0] if call[1] else "everywhere"

    def places(self, ops: Ops, path: Path) -> dict[Any, Any]:
        return {op.args[0]: None for op in ops if op.path == path}

    def value(self, ops: Ops, path: Path, *, closed: bool = False) -> Any:
        ranked = {key: self.ranked(ops, path, key, closed=closed) for key in self.places(ops, path)}
        return {key: repr(writes[0].args[1]) for key, writes in ranked.items() if writes}

    def conflicts(self, ops: Ops, path: Path) -> Any:
        ranked = {key: self.ranked(ops, path, key) for key in self.places(ops, path)}
        return {key: [repr(op.args[1]) for op in writes[1:]] for key, writes in ranked.items() if len(writes) > 1}


# ---- counters


class Counting(Spec):
    """The sum of the moves that no reset has observed.

    Who sees a move of a writer has seen its earlier ones, for each goes on from the one before, unless its writer had
    seen that one reset.
    """

    @staticmethod
    def moves(ops: Iterable[Op], path: Path) -> list[Op]:
        return [op for op in ops if op.path == path and op.name != "reset"]

    @staticmethod
    def resets(ops: Iterable[Op], path: Path) -> list[Op]:
        return [op for op in ops if (call := meaning(op, path)) is not None and call[0] == "reset"]

    def carried(self, op: Op, path: Path) -> Ops:
        """The earlier moves that come with this one."""
        if ("carried", path) not in op.memo:
            mine = [move for move in self.moves(op.seen, path) if move.replica == op.replica]
            last = max(mine, key=lambda move: move.seqs.stop, default=None)
            lost = last is None or any(last in self.undone(reset, path) for reset in self.resets(op.seen, path))
            op.memo["carried", path] = frozenset() if lost else self.carried(last, path) | {last}
        held: Ops = op.memo["carried", path]
        return held

    def known(self, ops: Ops, path: Path) -> Ops:
        moves = self.moves(ops, path)
        return frozenset(moves).union(*(self.carried(move, path) for move in moves))

    def undone(self, reset: Op, path: Path) -> Ops:
        if ("undone", path) not in reset.memo:
            reset.memo["undone", path] = self.known(reset.seen, path)
        held: Ops = reset.memo["undone", path]
        return held

    def counted(self, ops: Ops, path: Path) -> Ops:
        return self.known(ops, path).difference(*(self.undone(reset, path) for reset in self.resets(ops, path)))

    def value(self, ops: Ops, path: Path, *, closed: bool = False) -> Any:
        if not is_closed(ops, path):
            return self.about(ops, path)
        return total(self.counted(ops, path))

    def about(self, ops: Ops, path: Path) -> Between:
        """No move is counted that was not made, and none is lost that nobody has reset."""
        moves = self.moves(ops, path)
        everything = ops.union(*(op.seen for op in ops))
        perhaps = frozenset(moves).union(*(self.moves(own(op), path) for op in moves))
        surely = frozenset(moves).difference(*(self.undone(reset, path) for reset in self.resets(everything, path)))
        up = [op for op in perhaps if op.name == "increment"], [op for op in surely if op.name == "increment"]
        down = [op for op in perhaps if op.name == "decrement"], [op for op in surely if op.name == "decrement"]
        return Between(total(up[1]) + total(down[0]), total(up[0]) + total(down[1]))

    def is_there(self, ops: Ops, path: Path) -> bool | None:
        return bool(self.counted(ops, path)) if is_closed(ops, path) else None


def own(op: Op) -> list[Op]:
    """What its writer had done before."""
    return [other for other in op.seen if other.replica == op.replica]


def total(moves: Iterable[Op]) -> int:
    return sum(amount_of(op) * (-1 if op.name == "decrement" else 1) for op in moves)


def amount_of(op: Op) -> int:
    amount: int = op.args[-1] if op.args else 1
    return amount


class Bounded(Counting):
    """Each holder's rights: what it was granted and given, less what it spent and gave away, less what resets took.

    A reset takes of each holder the rights that it sees, which is counted once where several resets see the same; so
    of those that a holder is told of, the one that took the most counts. The value is the sum of all rights.
    """

    def __init__(self, lower: int) -> None:
        self.lower = lower

    def known(self, ops: Ops, path: Path) -> Ops:
        moves = self.moves(ops, path)
        return frozenset(moves).union(*(self.moves(own(op), path) for op in moves))

    def rights(self, ops: Ops, path: Path) -> dict[str, int]:
        rights: dict[str, int] = {}
        for op in self.known(ops, path):
            amount = amount_of(op)
            sign = 1 if op.name == "increment" else -1
            rights[op.replica] = rights.get(op.replica, 0) + sign * amount
            if op.name == "transfer":
                rights[op.args[0]] = rights.get(op.args[0], 0) + amount
        for holder in {*rights, *self.taken(ops, path)}:
            rights[holder] = rights.get(holder, 0) - self.taken(ops, path).get(holder, (0, 0))[0]
        return rights

    def taken(self, ops: Ops, path: Path) -> dict[str, tuple[int, int]]:
        """Of each holder, how much was taken by resets, and up to which of its moves they had seen it."""
        most: dict[str, tuple[int, int]] = {}
        for reset in self.resets(ops, path):
            for holder, (amount, last) in self.taken_by(reset, path).items():
                before = most.get(holder, (0, 0))
                most[holder] = (max(before[0], amount), max(before[1], last))
        return most

    def taken_by(self, reset: Op, path: Path) -> dict[str, tuple[int, int]]:
        if ("taken", path) not in reset.memo:
            before, rights = self.taken(reset.seen, path), self.rights(reset.seen, path)
            last = self.last_moves(reset.seen, path)
            now: dict[str, tuple[int, int]] = {}
            for holder in rights:
                amount, until = before.get(holder, (0, 0))
                if rights[holder] > 0 or last.get(holder, 0) > until:  # else it has nothing to say of that holder
                    now[holder] = (amount + max(0, rights[holder]), max(until, last.get(holder, 0)))
            reset.memo["taken", path] = now
        held: dict[str, tuple[int, int]] = reset.memo["taken", path]
        return held

    def last_moves(self, ops: Ops, path: Path) -> dict[str, int]:
        last: dict[str, int] = {}
        for op in self.moves(ops, path):
            last[op.replica] = max(last.get(op.replica, 0), op.seqs.stop)
        return last

    def value(self, ops: Ops, path: Path, *, closed: bool = False) -> Any:
        value = self.lower + sum(max(0, amount) for amount in self.rights(ops, path).values())
        if closed:
            most = self.lower + total(op for op in self.known(ops, path) if op.name != "transfer")
            assert self.lower <= value <= most, "more than was granted and not spent"
            if not self.resets(ops, path):
                return most
        return value

    def is_there(self, ops: Ops, path: Path) -> bool | None:
        taken = self.taken(ops, path)
        return any(last > taken.get(holder, (0, 0))[1] for holder, last in self.last_moves(ops, path).items())

    def allows(self, op: Op) -> bool:
        if op.name not in ("decrement", "transfer"):
            return True
        return amount_of(op) <= max(0, self.rights(op.seen, op.path).get(op.replica, 0))

    def check_for_good(self, made: Ops, path: Path) -> None:
        assert total(op for op in self.moves(made, path) if op.name != "transfer") >= 0, "more was spent than granted"


# ---- maps of objects


class Nested(dict[str, Any]):
    """What a map of objects must read as: (kind, value) by key, or `UNKNOWN` where nothing can be said."""


class ObjectMap(Spec):
    """A key is there while anything below it is; a delete is a reset of all that its view holds below."""

    def children(self, ops: Ops, path: Path) -> dict[str, list[Path]]:
        depth = len(path)
        below = sorted({op.path[: depth + 1] for op in ops if len(op.path) > depth and op.path[:depth] == path})
        children: dict[str, list[Path]] = {}
        for child in below:
            children.setdefault(child[-1][1], []).append(child)
        return children

    def value(self, ops: Ops, path: Path, *, closed: bool = False) -> Any:
        content = Nested()
        for name, children in self.children(ops, path).items():
            there = {child: spec_of(child).is_there(ops, child) for child in children}
            if None in there.values():
                content[name] = UNKNOWN
                continue
            values = {c[-1][0]: (c[-1][0], spec_of(c).value(ops, c, closed=closed)) for c in children if there[c]}
            if values:
                content[name] = ("ormap", Nested(values)) if len(values) > 1 else next(iter(values.values()))
        return content

    def is_there(self, ops: Ops, path: Path) -> bool | None:
        there = [
            spec_of(child).is_there(ops, child) for children in self.children(ops, path).values() for child in children
        ]
        return True if any(there) else None if None in there else False


LOWER: Final = 2
"""The bound of all bounded counters in these tests."""

SPECS: Final[dict[str, Spec]] = {
    "gset": AddWins(),
    "orset": AddWins(),
    "rwset": RemoveWins(),
    "ewflag": Flag("enable"),
    "dwflag": Flag("disable"),
    "gcounter": Counting(),
    "counter": Counting(),
    "bounded_counter": Bounded(LOWER),
    "register": LastWriter(),
    "mvregister": MultiValue(),
    "lwwmap": LastWriterMap(),
    "ormap": ObjectMap(),
}


def spec_of(path: Path) -> Spec:
    return SPECS[path[-1][0]]


def agree(kind: str, actual: Any, expected: Any) -> bool:
    """Whether the ``value()`` of an object of this kind is what the specification says of it."""
    if expected is UNKNOWN:
        return True
    if isinstance(expected, Between):
        return expected.low <= actual <= expected.high
    if isinstance(expected, Nested):
        return isinstance(actual, dict) and all(_agree_at(key, actual, expected) for key in {*actual, *expected})
    return bool(plain(actual, kind) == expected)


def _agree_at(key: str, actual: dict[str, Any], expected: Nested) -> bool:
    said = expected.get(key)
    if said is UNKNOWN:
        return True
    return said is not None and key in actual and agree(said[0], actual[key], said[1])


def plain(value: Any, kind: str) -> Any:
    """A value in the form in which specifications give it: 1, True and 1.0 are three things."""
    if kind in ("gset", "orset", "rwset"):
        return {repr(element) for element in value}
    if kind == "mvregister":
        return sorted(map(repr, value))
    if kind == "lwwmap":
        return {key: repr(item) for key, item in value.items()}
    return repr(value) if kind == "register" else value
