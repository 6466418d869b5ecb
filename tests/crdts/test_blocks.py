"""Whose writes a transaction takes in, whoever waits or yields in its block; also compared with a model."""

import asyncio
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from random import Random
from threading import Thread
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crdts import Context, Delta, InTransaction, Replica

from .oracle import assert_equal, replica, sent

Content = tuple[frozenset[int], int, dict[str, int], int]


class FailureInside(Exception):
    """What makes a block fail."""


MUTATIONS: Final[dict[str, Callable[[Replica], object]]] = {
    "gset.add": lambda r: r.gset("g").add(2),
    "orset.add": lambda r: r.orset("s").add(2),
    "orset.remove": lambda r: r.orset("s").remove(1),
    "orset.clear": lambda r: r.orset("s").clear(),
    "rwset.add": lambda r: r.rwset("w").add(2),
    "rwset.remove": lambda r: r.rwset("w").remove(1),
    "rwset.clear": lambda r: r.rwset("w").clear(),
    "rwset.purge": lambda r: r.rwset("w").purge(),
    "ewflag.enable": lambda r: r.ewflag("e").enable(),
    "ewflag.disable": lambda r: r.ewflag("e").disable(),
    "dwflag.enable": lambda r: r.dwflag("d").enable(),
    "dwflag.disable": lambda r: r.dwflag("d").disable(),
    "register.set": lambda r: r.register("r").set(2),
    "register.set at a time": lambda r: r.register("r").set(2, timestamp=4e9),
    "mvregister.set": lambda r: r.mvregister("v").set(2),
    "mvregister.set_all": lambda r: r.mvregister("v").set_all([2, 3]),
    "lwwmap.set": lambda r: r.lwwmap("m").set("k", 2),
    "lwwmap.delete": lambda r: r.lwwmap("m").delete("k"),
    "gcounter.increment": lambda r: r.gcounter("c").increment(),
    "gcounter.reset": lambda r: r.gcounter("c").reset(),
    "counter.increment": lambda r: r.counter("c").increment(),
    "counter.decrement": lambda r: r.counter("c").decrement(),
    "counter.reset": lambda r: r.counter("c").reset(),
    "bounded_counter.increment": lambda r: r.bounded_counter("b").increment(5),
    "bounded_counter.decrement": lambda r: r.bounded_counter("b").decrement(2),
    "bounded_counter.transfer": lambda r: r.bounded_counter("b").transfer("z", 2),
    "bounded_counter.reset": lambda r: r.bounded_counter("b").reset(),
    "ormap.delete": lambda r: r.ormap("o").delete("k"),
    "ormap.clear": lambda r: r.ormap("o").clear(),
    "retire": lambda r: r.retire("other"),
}
"""Every way to change something."""


def furnished() -> Replica:
    """One in which each of them has something to change."""
    one, other = replica("a"), replica("other")
    for each in (one, other):
        each.orset("s").add(1)
        each.rwset("w").add(1)
        each.rwset("w").remove(3)
        each.counter("c").increment(7)
        each.gcounter("c").increment(7)
        each.bounded_counter("b").increment(9)
        each.lwwmap("m").set("k", 1)
        each.ormap("o").counter("k").increment()
        each.ormap("o").register("k").set(1)
        each.ewflag("e").enable()
        each.dwflag("d").disable()
    return one.merge(other)


def content(one: Replica) -> dict[Any, Any]:
    return {(held.kind, held.name): repr(held.value()) for held in one.objects()}


def everything(one: Replica) -> None:
    for change in list(MUTATIONS.values())[:-1]:
        change(one)


def left_open(one: Replica, change: Callable[[Replica], object] = everything) -> Generator[str, None, None]:
    """A generator that yields in its block."""
    with one.transaction():
        change(one)
        yield "in the block"
        change(one)


# ---- whatever is done elsewhere


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_write_from_elsewhere_stands_alone_as_if_the_block_had_never_been(name: str) -> None:
    one, same = furnished(), furnished()
    waiting = left_open(one)
    next(waiting)
    MUTATIONS[name](one)
    MUTATIONS[name](same)
    assert (content(one), one.context) == (content(same), same.context)
    with pytest.raises(InTransaction, match="undone"):
        next(waiting)
    assert (content(one), one.context) == (content(same), same.context)
    assert_equal(one, replica("fresh").merge(one))


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_block_that_was_undone_is_refused_every_further_write(name: str) -> None:
    one = furnished()

    def waits() -> Iterator[None]:
        with one.transaction():
            one.orset("s").add("never")
            yield
            with pytest.raises(InTransaction):
                MUTATIONS[name](one)
            with pytest.raises(InTransaction), one.transaction():
                pass

    waiting = waits()
    next(waiting)
    one.orset("s").add("plain")
    before = content(one)
    if name == "retire":  # no write of the block's: it may be done where nothing is open
        waiting.close()
    else:
        with pytest.raises(InTransaction, match="waited or yielded"):
            next(waiting)
    assert content(one) == before


def test_what_is_merged_or_handed_out_elsewhere_does_not_have_what_may_be_undone() -> None:
    other = replica("other")
    news = other.orset("s").add("news")
    acts: list[Callable[[Replica], object]] = [
        lambda r: r.merge(news),
        lambda r: r.merge(other),
        lambda r: replica("c").merge(r.delta_since(Context())),
        lambda r: [replica("c").merge(delta) for delta in r.deltas_since(Context(), 1)],
        lambda r: replica("c").merge(r),
    ]
    for act in acts:
        one = furnished()
        before = one.context
        waiting = left_open(one)
        next(waiting)
        act(one)
        assert one.context.last("a") == before.last("a")
        with pytest.raises(InTransaction):
            next(waiting)


def test_reading_elsewhere_undoes_nothing() -> None:
    one = replica("a")
    for _ in left_open(one, lambda r: r.counter("c").increment()):
        assert one.counter("c").value() == 1
    assert one.counter("c").value() == 2


# ---- who is running


def test_what_is_called_from_the_block_is_of_the_block() -> None:
    one, told = replica("a"), list[Any]()
    one.on_write(told.append)

    def writes(n: int) -> Iterator[int]:
        one.orset("s").add(n)
        yield n

    with one.transaction():
        assert [*writes(1), *writes(2)] == [1, 2]
        list(map(one.orset("s").add, [3, 4]))
    assert [len(events) for events in told] == [4]


def test_two_generators_that_yield_in_their_blocks_undo_each_other_in_turn() -> None:
    one = replica("a")
    first, second, third = (left_open(one, lambda r, n=n: r.orset("s").add(n)) for n in (1, 2, 3))  # type: ignore[misc]
    next(first), next(second), next(third)
    for undone in (first, second):
        with pytest.raises(InTransaction):
            next(undone)
    assert list(third) == []
    assert one.orset("s").get_elements() == {3}


def test_a_block_left_open_inside_a_running_one_is_undone_alone() -> None:
    one, other = replica("a"), replica("b")
    with one.transaction() as done:
        one.orset("s").add("outer")
        waiting = left_open(one, lambda r: r.orset("s").add("inner"))
        next(waiting)
        one.orset("s").add("outer, too")
        with pytest.raises(InTransaction):
            next(waiting)
        left = left_open(one, lambda r: r.orset("s").add("left"))
        next(left)
    assert other.merge(sent(done.delta)).orset("s").get_elements() == {"outer", "outer, too"}
    assert_equal(one, other)


@pytest.mark.parametrize("writes_on", [True, False], ids=["writes on", "just ends"])
def test_a_block_that_goes_on_while_the_one_around_it_waits_is_undone_with_it_and_told(writes_on: bool) -> None:
    one = replica("a")

    def inner() -> Iterator[None]:
        with one.transaction():
            one.orset("s").add("inner")
            yield
            if writes_on:
                one.orset("s").add("inner, too")

    def outer() -> Iterator[Iterator[None]]:
        with one.transaction():
            inside = inner()
            next(inside)
            yield inside

    waiting = outer()
    inside = next(waiting)
    for each in (inside, waiting):
        with pytest.raises(InTransaction, match="undone"):
            next(each)
    assert one.context == Context()


def test_a_generator_that_is_thrown_away_takes_just_its_own_block_along() -> None:
    one = replica("a")
    waiting = left_open(one)
    next(waiting)
    del waiting
    assert not one.store.begun
    assert one.context == Context()


def test_a_context_manager_may_begin_a_block_for_whoever_uses_it() -> None:
    one, told = replica("a"), list[Any]()
    one.on_write(told.append)

    @contextmanager
    def stamped(by: str) -> Iterator[None]:
        with one.transaction():
            yield
            one.register("by").set(by)

    @contextmanager
    def outer() -> Iterator[None]:
        with stamped("me"):
            yield

    class Editing:
        def __enter__(self) -> None:
            self.block = one.transaction()
            self.block.__enter__()

        def __exit__(self, *error: object) -> None:
            self.block.__exit__(*error)

    with outer():
        one.orset("s").add(1)
    with Editing():
        one.orset("s").add(2)
        one.orset("s").add(3)
    with ExitStack() as stack:
        stack.enter_context(one.transaction())
        stack.enter_context(stamped("you"))
        one.orset("s").add(4)
    assert [len(events) for events in told] == [2, 2, 2]


def test_a_function_that_leaves_a_block_open_has_begun_it_for_its_caller() -> None:
    one = replica("a")

    def begun() -> Any:
        block = one.transaction()
        block.__enter__()
        one.orset("s").add(1)
        return block

    block = begun()
    one.orset("s").add(2)
    block.__exit__(None, None, None)
    assert len(block.delta) == 2


def test_tasks_of_an_event_loop_do_not_write_into_each_others_blocks() -> None:
    one, heard = replica("a"), list[str]()

    async def helper() -> None:
        one.counter("c").increment()

    async def waits() -> None:
        try:
            with one.transaction():
                await helper()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                await helper()
        except InTransaction:
            heard.append("undone")

    async def main() -> None:
        with one.transaction():
            await helper()
            child = asyncio.get_running_loop().create_task(waits())  # with a copy of this context
            await helper()
        await asyncio.sleep(0)
        one.orset("s").add("plain")
        await child

    asyncio.run(main())
    assert (one.counter("c").value(), one.orset("s").get_elements(), heard) == (2, {"plain"}, ["undone"])


def test_another_thread_is_elsewhere() -> None:
    one = replica("a")
    with suppress(InTransaction), one.transaction():
        one.orset("s").add("in the block")
        thread = Thread(target=one.orset("s").add, args=["in the thread"])
        thread.start()
        thread.join()
    assert one.orset("s").get_elements() == {"in the thread"}


def test_a_refused_caller_undoes_nothing() -> None:
    one, refused = replica("a"), list[bool]()

    def check() -> None:
        if refused:
            raise PermissionError

    one.store.guard_blocks(check)
    with one.transaction():
        one.orset("s").add(1)
        refused.append(True)
        thread_errors: list[BaseException] = []

        def elsewhere() -> None:
            for act in (lambda: one.orset("s").add(2), one.transaction().__enter__):
                try:
                    act()
                except PermissionError as error:
                    thread_errors.append(error)

        thread = Thread(target=elsewhere)
        thread.start()
        thread.join()
        refused.clear()
    assert len(thread_errors) == 2
    assert one.orset("s").get_elements() == {1}


def test_a_block_is_begun_once() -> None:
    one = replica("a")
    with one.transaction() as done, pytest.raises(InTransaction, match="open already"), done:
        pass
    assert not one.store.begun


# ---- any interleaving


def served(one: Replica) -> Generator[str, Any, None]:
    """Does what it is sent: a write, or something with blocks of its own; answers what became of it."""
    answer = "done"
    while True:
        what = yield answer
        if what == "end":
            return
        if what == "fail":
            raise FailureInside
        try:
            if what == "begin":
                with one.transaction():
                    yield from served(one)
                answer = "kept"
            else:
                answer = what() or "done"
        except InTransaction:
            answer = "refused"
        except FailureInside:
            answer = "failed"


class Begun:
    """A block in the model."""

    def __init__(self, task: int, before: Content) -> None:
        self.task, self.before, self.undone = task, before, False


class Interleaving:
    """Three generators with blocks in blocks, one that may run another, plain writes, and a peer that is told all."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.one, self.peer = replica("a"), replica("peer")
        self.told: list[Delta] = []
        self.one.on_write(lambda events: self.told.append(Delta(events)))
        self.tasks = [served(self.one) for _ in range(3)]
        for task in self.tasks:
            next(task)
        self.model: Content = (frozenset(), 0, {}, 0)
        self.open: list[Begun] = []
        self.blocks: list[list[Begun]] = [[], [], []]
        self.count = 0

    # the model

    def innermost(self, chain: list[int]) -> Begun | None:
        return next((self.blocks[task][-1] for task in reversed(chain) if self.blocks[task]), None)

    def undo(self, first: int) -> None:
        if first < len(self.open):
            self.model = self.open[first].before
            for begun in self.open[first:]:
                begun.undone = True
            del self.open[first:]

    def settles(self, chain: list[int]) -> bool:
        """What is open and not running is undone; False if the caller is refused."""
        innermost = self.innermost(chain)
        if innermost is not None and innermost.undone:
            return False
        self.undo(next((at for at, begun in enumerate(self.open) if begun.task not in chain), len(self.open)))
        return innermost is None or not innermost.undone

    def expected(self, chain: list[int], what: str) -> str:
        if what in ("end", "fail"):
            begun = self.blocks[chain[-1]].pop()
            if what == "end" and not begun.undone:
                outer = self.open[: self.open.index(begun)]
                self.undo(next((at for at, each in enumerate(outer) if each.task not in chain), len(self.open)))
            if not begun.undone:
                at = self.open.index(begun)
                self.undo(at + 1)
                if what == "fail":
                    self.undo(at)
                else:
                    self.open.pop()
            return "failed" if what == "fail" else "refused" if begun.undone else "kept"
        if not self.settles(chain):
            return "refused"
        if what == "begin":
            begun = Begun(chain[-1], self.model)
            self.open.append(begun)
            self.blocks[chain[-1]].append(begun)
        else:
            elements, total, values, rights = self.model
            n = self.count
            if what == "clear":
                elements = frozenset()
            else:
                elements |= {n}
            self.model = elements, total + n, {**values, str(n % 3): n}, rights + n
        return "done"

    def write(self, clear: bool, n: int) -> None:
        if clear:
            self.one.orset("s").clear()
        else:
            self.one.orset("s").add(n)
        self.one.counter("c").increment(n)
        self.one.lwwmap("m").set(str(n % 3), n)
        self.one.bounded_counter("b").increment(n)

    # what happens

    def happens(self, chain: list[int], what: str) -> None:
        """The first of the chain runs the second from where it is, and so on; the last does it. None: plain code."""
        if what in ("begin", "end", "fail") and (not chain or (what != "begin" and not self.blocks[chain[-1]])):
            return
        self.count += 1
        n = self.count
        act: Any = what if what in ("begin", "end", "fail") else partial(self.write, what == "clear", n)
        for task in reversed(chain):
            act = partial(self.tasks[task].send, act)
        try:
            answer = act() or "done"
        except InTransaction:
            answer = "refused"
        assert answer == self.expected(chain, what)

    def is_merged_elsewhere(self) -> None:
        self.settles([])
        self.one.merge(self.peer.gset("of the peer").add(self.count))

    def is_handed_out(self) -> None:
        self.settles([])
        assert_equal(replica("fresh").merge(self.one.delta_since(Context())), self.one)

    def the_peer_reads_the_same(self) -> None:
        for delta in self.told:
            self.peer.merge(delta)
        self.one.merge(self.peer)
        assert_equal(self.one, self.peer)

    def check(self) -> None:
        """The replica holds what is kept and what is open, and nothing else."""
        one = self.one
        elements, values = frozenset(one.orset("s")), one.lwwmap("m").value()
        assert (elements, one.counter("c").value(), values, one.bounded_counter("b").value()) == self.model
        assert one.store.in_transaction == bool(self.open)
        assert len(one.store.begun) == sum(map(len, self.blocks))

    def walk(self, steps: int) -> None:
        rng = self.rng
        for _ in range(steps):
            if rng.random() < 0.03:
                rng.choice((self.is_merged_elsewhere, self.is_handed_out))()
            else:
                chain = rng.sample(range(3), rng.choice((0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3)))
                self.happens(chain, rng.choice(("write", "write", "clear", "begin", "begin", "end", "end", "fail")))
            self.check()
            if not self.open and rng.random() < 0.3:
                self.the_peer_reads_the_same()
        for task in self.tasks:
            task.close()
        self.undo(0)
        self.blocks = [[], [], []]
        self.check()
        self.the_peer_reads_the_same()


@settings(max_examples=100)
@given(st.integers(0, 1 << 32).map(Random))
def test_in_any_interleaving_each_block_is_kept_whole_or_undone_and_told_and_all_else_stands(rng: Random) -> None:
    Interleaving(rng).walk(60)


@pytest.mark.soak
@settings(max_examples=10_000, derandomize=False)
@given(st.integers(0, 1 << 32).map(Random))
def test_in_any_interleaving_in_the_long_run(rng: Random) -> None:
    Interleaving(rng).walk(100)
