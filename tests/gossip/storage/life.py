"""A replica's life as random as it gets, written down as a node does it: for tests of what a disk gives back."""

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from crdts import (
    Context,
    CrdtError,
    Delta,
    Dot,
    Event,
    HybridClock,
    LogTrimmed,
    Replica,
    decode_context,
    encode_context,
)
from crdts.delta import events_delta
from crdts.schema import Limit
from gossip import Config
from gossip.protocol import Identity, Persist, seal_for
from gossip.protocol.output import Output

OTHERS: Final = ("b", "c", "d")
KEYS: Final = tuple("klmnop")


class Abandoned(Exception):
    """What undoes a transaction."""


class Life:
    """The replica ``mine`` among others. Whatever is applied to it comes out of `batches`, as a disk is given it."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._ticks = 1_700_000_000
        self.others = [self.replica(name) for name in OTHERS]
        self.told_dead = Context()
        self.readers: list[Replica] = []
        """Replicas that are given everything that comes to ``mine`` from now on."""
        self.begin(self.replica("a"))

    def begin(self, mine: Replica) -> None:
        """Go on as this replica."""
        self.mine = mine
        identity = Identity.fresh("a", self.rng)
        self._output = Output(identity, Config.local(), self.rng, mine, seal_for(None, "test"))
        mine.on_write(self._output.unsaved)
        mine.on_write(lambda events: self._tell(events_delta(events)))
        self.readers = []

    def replica(self, name: str) -> Replica:
        return Replica(name, clock=HybridClock(self._now), log_limit=self.rng.choice([4, 1000]))

    def _now(self) -> float:
        self._ticks += 1
        return self._ticks

    def batches(self) -> list[Persist]:
        """What was applied since the last call."""
        self._output.save()
        return [effect for effect in self._output.drain() if isinstance(effect, Persist)]

    def step(self) -> None:
        """One thing that may happen to any of them."""
        moves: list[tuple[int, Callable[[], object]]] = [
            (6, lambda: self.write(self.mine)),
            (6, lambda: self.write(self.rng.choice(self.others))),
            (2, lambda: self.transact(self.rng.choice([self.mine, *self.others]))),
            (5, lambda: self.give(self.rng.choice(self.others), self.mine)),
            (3, lambda: self.give(self.mine, self.rng.choice(self.others))),
            (2, lambda: self.give(*self.rng.sample(self.others, 2))),
            (1, lambda: self.retire(self.rng.choice([self.mine, *self.others]))),
            (1, lambda: self.cut()),
        ]
        weights = [weight for weight, _ in moves]
        self.rng.choices([move for _, move in moves], weights)[0]()

    def write(self, who: Replica) -> None:
        rng, key = self.rng, self.rng.choice(KEYS)
        writes: list[Callable[[], object]] = [
            lambda: who.orset("set").add(key),
            lambda: who.orset("set").remove(key),
            lambda: who.lwwmap("map").set(key, rng.randrange(9)),
            lambda: who.lwwmap("map").delete(key),
            lambda: who.counter("count").increment(rng.randrange(1, 9)),
            lambda: who.mvregister("values").set(rng.randrange(9)),
            lambda: who.register(key).set(rng.randbytes(rng.randrange(200))),
            lambda: who.ormap("nested").orset(key).add(rng.randrange(3)),
        ]
        self._quietly(rng.choice(writes))

    def transact(self, who: Replica) -> None:
        def block() -> None:
            with who.transaction():
                for _ in range(self.rng.randrange(1, 5)):
                    self.write(who)
                if self.rng.random() < 0.3:
                    raise Abandoned

        self._quietly(block)

    def give(self, giver: Replica, taker: Replica) -> None:
        """Some or all of what the taker lacks, late or twice, as events or as a state."""
        for delta in self._deltas(giver, taker):
            self._merge(taker, delta)
        self._quietly(lambda: taker.report(giver.replica_id, giver.context))

    def _deltas(self, giver: Replica, taker: Replica) -> Iterator[Delta]:
        rng = self.rng
        if rng.random() < 0.15:
            yield giver.store.kernel.state()
            return
        try:
            pieces = list(giver.deltas_since(taker.context, rng.choice([1, 200, 10_000])))
        except LogTrimmed:
            yield giver.delta_since(taker.context)
            return
        if rng.random() < 0.4:
            rng.shuffle(pieces)
        yield from pieces[: rng.choice([1, 2, len(pieces)])]

    def _merge(self, taker: Replica, delta: Delta) -> None:
        if taker is not self.mine:
            taker.merge(delta)
            return
        if delta.is_state:
            self._output.join(0.0, delta, b"")
        else:
            self._output.unsaved(self._output.merge(0.0, delta, b""))
        self.told_dead.update(Context.of(delta.runs))
        self._tell(delta)

    def retire(self, who: Replica) -> None:
        other = self.rng.choice([*OTHERS, "nobody", "stranger"])
        self._quietly(lambda: who.forbid(other) if other in ("nobody", "stranger") else who.retire(other))

    def cut(self) -> None:
        self.rng.choice([self.mine, *self.others]).trim_log(self.rng.randrange(4))

    def meet(self) -> None:
        """Everybody gives everything to everybody."""
        for _ in range(3):
            for giver in [self.mine, *self.others]:
                for taker in [self.mine, *self.others]:
                    if giver is not taker:
                        self._merge(taker, giver.delta_since(taker.context))

    def _tell(self, delta: Delta) -> None:
        for reader in self.readers:
            reader.merge(delta)

    @staticmethod
    def _quietly(move: Callable[[], object]) -> None:
        with suppress(CrdtError, Abandoned):  # of a writer that is retired: refused, and nothing has happened
            move()


class Picture(NamedTuple):
    """All that two replicas of equal content have in common, but for what they are called."""

    fingerprint: int
    context: bytes
    waiting: tuple[Dot, ...]
    """Dots that were killed before they came."""
    limits: tuple[tuple[str, Limit], ...]
    events: tuple[Event, ...]

    def settled(self, told_dead: Context) -> "Picture":
        """The same as if all dots that others have told of as dead, and that are, had been processed.

        They count once what killed them is known: with what is read in one go, that is sooner.
        """
        context = decode_context(self.context)
        for dot in self.waiting:
            if dot in told_dead:
                context.add(*dot)
        waiting = tuple(dot for dot in self.waiting if dot not in context)
        return self._replace(context=encode_context(context), waiting=waiting)


def picture(replica: Replica) -> Picture:
    kernel = replica.store.kernel
    waiting = sorted((writer, seq) for writer in kernel.prekilled for seq in kernel.prekilled[writer])
    limits = tuple(sorted(kernel.limits.items()))
    context = encode_context(replica.context)
    return Picture(replica.fingerprint, context, tuple(waiting), limits, kernel.state().events)
