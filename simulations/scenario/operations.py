"""What a workload does to a replica: named operations, each a function of the replica and one number."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeAlias

from crdts import InsufficientRights, Replica, Value, WriterRetired
from gossip.demo.history import Step, load_history
from gossip.protocol.errors import NodeRetired, NotRunning
from gossip.storage.errors import DiskFailed

Operation: TypeAlias = Callable[[Replica, int], object]


def _claim(replica: Replica, n: int) -> object:
    """An agent takes the task whose turn it is, of those that it sees and that nobody has taken as far as it knows."""
    owners = replica.lwwmap("owners")
    free = sorted(task for task in replica.orset("tasks") if task not in owners)
    return free and owners.set(free[n % len(free)], replica.replica_id)


def _complete(replica: Replica, n: int) -> object:
    """An agent is done with a task of its own: off the board, and counted, in one transaction."""
    owners = replica.lwwmap("owners")
    mine = sorted(task for task in replica.orset("tasks") if owners.get(task) == replica.replica_id)
    if not mine:
        return None
    task = mine[n % len(mine)]
    with replica.transaction():
        replica.orset("tasks").remove(task)
        owners.delete(task)
        replica.counter("done").increment()
    return task


def _transfer(replica: Replica, n: int) -> object:
    """Half of the own rights go to another holder."""
    budget = replica.bounded_counter("budget")
    others = [writer for writer in replica.context.replicas() if writer != replica.replica_id]
    rights = budget.rights() // 2
    return budget.transfer(others[n % len(others)], rights) if others and rights else None


def _several(replica: Replica, n: int) -> object:
    with replica.transaction() as done:
        replica.lwwmap("map").set(f"k{n}", n)
        replica.orset("set").add(n)
        replica.orset("set").remove(n + 1)
        replica.counter("counter").increment(n)
    return done


@cache
def history() -> list[Step]:
    """The steps of a real project's history."""
    return load_history()


def _step(replica: Replica, n: int) -> object:
    """All that one author changed at once, as one transaction."""
    steps = history()
    files = replica.lwwmap("files")
    with replica.transaction() as done:
        for edit in steps[n % len(steps)].edits:
            files.delete(edit.path) if edit.blob is None else files.set(edit.path, edit.blob)
    return done


def _many(replica: Replica, n: int) -> object:
    """A transaction larger than a datagram."""
    with replica.transaction() as done:
        for i in range(40):
            replica.lwwmap("map").set(f"k{n} {i % 20}", f"the {n}th time that this is set")
    return done


_RIVALS: Final[tuple[Callable[[Replica, Value], object], ...]] = (
    lambda replica, value: replica.register("leader").set(value),
    lambda replica, value: replica.lwwmap("plan").set("when", value),
    lambda replica, value: replica.lwwmap("plan").set("where", value),
    lambda replica, value: replica.ormap("board").register("status").set(value),
    lambda replica, value: replica.ormap("board").lwwmap("notes").set("why", value),
)
"""Writes to last-writer-wins places of every kind. Their number is a prime, so that every step in `_rivals` works."""


def _rivals(replica: Replica, n: int) -> object:
    """Set three to five places in one transaction. The number ``n`` decides which ones, and in which order."""
    places = len(_RIVALS)
    first, step, count = n % places, 1 + n // places % (places - 1), 3 + n // (places * (places - 1)) % 3
    with replica.transaction() as done:
        for i in range(count):
            _RIVALS[(first + i * step) % places](replica, [replica.replica_id, n])
    return done


OPERATIONS: Final[dict[str, Operation]] = {
    "set.add": lambda replica, n: replica.orset("set").add(n),
    "set.remove": lambda replica, n: replica.orset("set").remove(n),
    "set.clear": lambda replica, _: replica.orset("set").clear(),
    "map.set": lambda replica, n: replica.lwwmap("map").set(f"k{n}", n),
    "map.delete": lambda replica, n: replica.lwwmap("map").delete(f"k{n}"),
    "counter.add": lambda replica, n: replica.counter("counter").increment(n),
    "counter.reset": lambda replica, _: replica.counter("counter").reset(),
    "register.set": lambda replica, n: replica.register("register").set([n, "x" * (n * 37 % 1500)]),
    "conflicts.set": lambda replica, n: replica.mvregister("conflicts").set(n),
    "nested.add": lambda replica, n: replica.ormap("nested").orset(f"s{n % 3}").add(n),
    "nested.delete": lambda replica, n: replica.ormap("nested").delete(f"s{n % 3}"),
    "flag.enable": lambda replica, _: replica.ewflag("flag").enable(),
    "flag.disable": lambda replica, _: replica.ewflag("flag").disable(),
    "several": _several,
    "many": _many,
    "task.add": lambda replica, n: replica.orset("tasks").add(f"task {n}"),
    "task.claim": _claim,
    "task.complete": _complete,
    "budget.grant": lambda replica, n: replica.bounded_counter("budget").increment(n + 1),
    "budget.spend": lambda replica, n: replica.bounded_counter("budget").decrement(n + 1),
    "budget.transfer": _transfer,
    "log.add": lambda replica, n: replica.gset("log").add(n),
    "history.step": _step,
    "rivals.set": _rivals,
    "rivals.one": lambda replica, n: _RIVALS[n % len(_RIVALS)](replica, n),
}
"""By the name that stands in scenario files."""


@dataclass(frozen=True, slots=True)
class Write:
    """One operation of a workload: when, at which node, what."""

    at: float
    node: int
    operation: str
    number: int


def perform(replica: Replica, write: Write) -> bool:
    """Do it, and say whether it was done; False if the replica refuses, as a user's program would have to accept."""
    try:
        OPERATIONS[write.operation](replica, write.number)
    except (InsufficientRights, WriterRetired, NodeRetired, NotRunning, DiskFailed):
        return False
    return True
