"""Replicas of all types, and an oracle that remembers every event ever made and judges them by the model.

The oracle keeps every event that any replica has made. For a replica, X are the dots it says it has processed, and

    live(X) = { d in X with an entry : no event of X kills d }

The pre-killed dots are those that X kills and does not have. Of a transaction X has all, or nothing that has an effect.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from random import Random
from typing import Any, Final

from crdts import Context, Delta, Dot, Event, HybridClock, InsufficientRights, Replica, WriterRetired, decode, encode
from crdts.entries import entry_hash
from crdts.kernel import Kernel
from crdts.livemap import LiveMap

ELEMENTS: Final = ["x", "y", 1, (1, "z")]


def replica(name: str, *, log_limit: int = 1000) -> Replica:
    """A replica whose clock stands still, so that stamps depend on what happens and on nothing else."""
    return Replica(name, clock=HybridClock(lambda: 1_700_000_000.0), log_limit=log_limit)


def _spend(one: Replica, n: int) -> None:
    rights = one.bounded_counter("b").rights()
    if rights:
        one.bounded_counter("b").decrement(min(rights, n % 3 + 1))


def _transfer(one: Replica, n: int) -> None:
    rights = one.bounded_counter("b").rights()
    if rights:
        one.bounded_counter("b").transfer("abcde"[n % 5], 1)


Operation = Callable[[Replica, int], Any]
OPERATIONS: Final[list[Operation]] = [
    lambda r, n: r.gset("a").add(n),
    lambda r, n: r.orset("s").add(ELEMENTS[n % 4]),
    lambda r, n: r.orset("s").remove(ELEMENTS[n % 4]),
    lambda r, n: r.orset("s").clear(),
    lambda r, n: r.rwset("w").add(ELEMENTS[n % 4]),
    lambda r, n: r.rwset("w").remove(ELEMENTS[n % 4]),
    lambda r, n: r.rwset("w").clear(),
    lambda r, n: r.rwset("w").purge(),
    lambda r, n: r.ewflag("e").enable(),
    lambda r, n: r.ewflag("e").disable(),
    lambda r, n: r.dwflag("d").disable(),
    lambda r, n: r.dwflag("d").enable(),
    lambda r, n: r.register("r").set(n),
    lambda r, n: r.mvregister("v").set(n),
    lambda r, n: r.lwwmap("m").set("kl"[n % 2], n),
    lambda r, n: r.lwwmap("m").delete("kl"[n % 2]),
    lambda r, n: r.gcounter("g").increment(n + 1),
    lambda r, n: r.gcounter("g").reset(),
    lambda r, n: r.counter("c").decrement(n + 1),
    lambda r, n: r.counter("c").increment(2),
    lambda r, n: r.counter("c").reset(),
    lambda r, n: r.bounded_counter("b").increment(n + 2),
    _spend,
    _transfer,
    lambda r, n: r.bounded_counter("b").reset(),
    lambda r, n: r.ormap("o").orset("in").add(ELEMENTS[n % 4]),
    lambda r, n: r.ormap("o").ormap("deep").counter("in").increment(n + 1),
    lambda r, n: r.ormap("o").lwwmap("in").set("k", n),
    lambda r, n: r.ormap("o").delete(("in", "deep")[n % 2]),
    lambda r, n: r.ormap("o").clear(),
]
"""One or a few of every type, in places that they share."""


class Oracle:
    """Remembers what the replicas that it watches write, and judges them."""

    def __init__(self) -> None:
        self.made: dict[Dot, Event] = {}
        self.transactions: dict[tuple[str, tuple[int, int]], None] = {}

    def watch(self, one: Replica) -> Replica:
        one.on_write(self._record)
        return one

    def _record(self, events: tuple[Event, ...]) -> None:
        for event in events:
            assert event.dot not in self.made, "a dot was used twice"
            self.made[event.dot] = event
            assert event.batch == events[0].batch
        if len(events) > 1:
            assert events[0].batch == (events[0].seq, events[-1].seq + 1), "several events are no transaction"
            self.transactions[events[0].replica, events[0].batch] = None

    def live(self, processed: set[Dot]) -> set[Dot]:
        killed = self.killed_by(processed)
        return {dot for dot in processed if self.made[dot].payload is not None and dot not in killed}

    def killed_by(self, dots: Iterable[Dot]) -> set[Dot]:
        return {killed for dot in dots for killed in self.made[dot].kills}

    def check(self, one: Replica) -> None:
        """Raise AssertionError unless the replica is what the model makes of the dots it has processed."""
        kernel = one.store.kernel
        processed = dots_of(kernel.context)
        assert processed <= self.made.keys(), "dots were processed that nobody made"
        live = self.live(processed)
        assert set(flat(kernel.live)) == live, "live entries differ from live(X)"
        expected = {d for d in self.killed_by(processed) - processed if not is_beyond(kernel, d)}
        assert set(flat(kernel.prekilled)) == expected, "the pre-killed dots differ"
        self._check_transactions(processed, live)
        self._check_log(kernel, processed)
        check_structure(kernel, self.made)

    def _check_transactions(self, processed: set[Dot], live: set[Dot]) -> None:
        for writer, batch in self.transactions:
            dots = {(writer, seq) for seq in range(*batch)}
            here = dots & processed
            if here != dots:
                assert not any(dot in live or self.made[dot].kills for dot in here), "part of a transaction is visible"

    def _check_log(self, kernel: Kernel, processed: set[Dot]) -> None:
        floor = kernel.log.floor
        expected = {d: self.made[d].kills for d in processed if self.made[d].kills and d[1] > floor.get(d[0], 0)}
        logged = {(r, seq): kills for r, log in kernel.log.kills.items() for seq, kills in log.items()}
        assert logged == expected, "the log is not complete above its floor"
        for writer, batch in self.transactions:
            dots = [(writer, seq) for seq in range(*batch)]
            if any(dot in processed and dot[1] > floor.get(writer, 0) for dot in dots) and not one_sided(
                self, dots, processed
            ):
                assert kernel.log.batch_of(writer, batch[0]) == batch, "a transaction above the floor is forgotten"


def is_beyond(kernel: Kernel, dot: Dot) -> bool:
    """Whether an event of a closed writer will be refused."""
    limit = kernel.limits.get(dot[0])
    return limit is not None and limit.closed and dot[1] > limit.last


def one_sided(oracle: Oracle, dots: list[Dot], processed: set[Dot]) -> bool:
    """Whether nothing of a transaction matters: it is not all here, or all of it is dead and killed nothing."""
    live = oracle.live(processed)
    return not processed.issuperset(dots) or not any(dot in live or oracle.made[dot].kills for dot in dots)


def check_structure(kernel: Kernel, made: dict[Dot, Event]) -> None:
    """Raise AssertionError unless the parts of a kernel agree with each other."""
    entries = [event for seqs in kernel.live.values() for event in seqs.values()]
    assert sorted(entries) == sorted(made[event.dot]._replace(kills=(), batch=None) for event in entries)
    indexed = [event for obj in kernel.objects for held in kernel.places(obj).values() for event in held]
    assert sorted(indexed) == sorted(entries)
    for obj in kernel.objects:
        for key, held in kernel.places(obj).items():
            assert held
            assert {(event.obj, event.key) for event in held} == {(obj, key)}
    assert all(kernel.objects.values())
    assert kernel.fingerprint == sum(map(entry_hash, entries)) % 2**64
    if kernel._live_map is not None:
        assert kernel._live_map.chunks == LiveMap(kernel.live).chunks  # type: ignore[arg-type]
    log = kernel.log
    assert log.size == sum(map(len, log.batches.values())) + sum(
        len(k) for held in log.kills.values() for k in held.values()
    )


def dots_of(context: Context) -> set[Dot]:
    return {(replica, seq) for replica, start, stop in context.ranges() for seq in range(start, stop)}


def flat(seqs: dict[str, dict[int, Any]]) -> Iterator[Dot]:
    return ((replica, seq) for replica, held in seqs.items() for seq in held)


def operate(one: Replica, which: int, n: int) -> None:
    """One operation; nothing if the replica may not."""
    with suppress(InsufficientRights, WriterRetired):
        OPERATIONS[which % len(OPERATIONS)](one, n)


def sent(delta: Delta) -> Delta:
    """``delta`` as it comes out of the wire."""
    data = encode(delta)
    again = decode(data)
    assert again == delta
    return again


def read(one: Replica) -> dict[tuple[str, str], Any]:
    """All that there is to read, comparable."""
    return {(each.kind, each.name): repr(sorted_value(each.value())) for each in one.objects()}


def sorted_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: sorted_value(value[key]) for key in sorted(value)}
    if hasattr(value, "__contains__") and not isinstance(value, str | bytes | list | tuple):
        return sorted(map(repr, value))
    return value


def assert_equal(one: Replica, other: Replica) -> None:
    """Raise AssertionError unless two replicas hold the same."""
    ours, theirs = one.store.kernel, other.store.kernel
    assert ours.exported_context() == theirs.exported_context()
    assert set(flat(ours.live)) == set(flat(theirs.live))
    assert set(flat(ours.prekilled)) == set(flat(theirs.prekilled))
    assert ours.fingerprint == theirs.fingerprint
    assert read(one) == read(other)


def random_history(rng: Random, oracle: Oracle, replicas: list[Replica], steps: int) -> None:
    """Operations, transactions, deliveries of all kinds, in part and late, and trimmed logs."""
    mail: list[Delta] = []
    for one in replicas:
        one.on_write(lambda events: mail.append(Delta(tuple(sorted(events)))))
    for _ in range(steps):
        random_step(rng, replicas, mail)


def random_step(rng: Random, replicas: list[Replica], mail: list[Delta]) -> None:
    one, other = rng.choice(replicas), rng.choice(replicas)
    move = rng.random()
    if move < 0.4:
        operate(one, rng.randrange(99), rng.randrange(16))
    elif move < 0.55:
        with one.transaction():
            for _ in range(rng.randrange(1, 6)):
                operate(one, rng.randrange(99), rng.randrange(16))
    elif move < 0.75:
        if mail:
            other.merge(sent(mail[-1 - rng.randrange(min(20, len(mail)))]))
    elif move < 0.85:
        pull(one, other, rng.choice((1, 200, 400, 10_000)), rng.choice((1, 2, 3, 99)))
    elif move < 0.92:
        other.merge(sent(one.delta_since(other.context)))
    elif move < 0.96:
        mail.append(one.store.kernel.state())
    else:
        one.trim_log(rng.randrange(4))


def pull(source: Replica, target: Replica, max_bytes: int, pieces: int) -> None:
    """Some of what ``target`` lacks as events, or a state where the log does not reach back."""
    known = target.context
    if not source.store.kernel.log_reaches(known):
        target.merge(sent(source.store.kernel.state()))
        return
    for i, delta in enumerate(source.deltas_since(known, max_bytes)):
        if i == pieces:
            break
        target.merge(sent(delta))
