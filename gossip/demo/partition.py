"""Second act: the cluster is cut in two, both sides go on writing, and the cut heals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import trio

from .cluster import DemoError, Worker, ask_all, await_alive

LEFT_SIZE: Final = 2
"""Nodes on the smaller side."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one node writes during the cut: to a set, to a counter, and to one and the same key of a map."""

    task: str
    hours: int
    note: str


WORK: Final = (
    Work("fix the build", 1, "a was here"),
    Work("review the docs", 2, "b was here"),
    Work("cut a release", 3, "c was here"),
    Work("renew the key", 4, "d was here"),
    Work("order new disks", 5, "e was here"),
)


@dataclass(frozen=True, slots=True)
class View:
    """What every node of a group reads, and the members it sees alive, itself included."""

    members: list[str]
    tasks: list[str]
    hours: int
    note: str


@dataclass(frozen=True, slots=True)
class CutFigures:
    """The two sides while they were apart."""

    left: View
    right: View
    noticed_seconds: float
    """From the cut until every node saw the other side as failed."""


@dataclass(frozen=True, slots=True)
class HealFigures:
    """All nodes after the cut healed."""

    everywhere: View
    converged_seconds: float
    """From the healing until every node had read everything written on either side."""
    reunited_seconds: float
    """From the healing until every node saw all others alive."""


async def cut_and_write(workers: Sequence[Worker]) -> tuple[CutFigures, list[str]]:
    """Cut the cluster in two and let every node write; returns also what they wrote, as causal tokens.

    Raises `DemoError` if a node sees anything else than the writes of its side.
    """
    left, right = sides(workers)
    start = trio.current_time()
    await ask_all(left, "cut", addresses=[worker.address for worker in right])
    await ask_all(right, "cut", addresses=[worker.address for worker in left])
    versions = await _work(left, WORK[:LEFT_SIZE]) + await _work(right, WORK[LEFT_SIZE:])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(await_alive, left)
        nursery.start_soon(await_alive, right)
    noticed = trio.current_time() - start
    here, there = await _common_view(left, WORK[:LEFT_SIZE]), await _common_view(right, WORK[LEFT_SIZE:])
    return CutFigures(here, there, noticed), versions


async def heal(workers: Sequence[Worker], versions: Sequence[str]) -> HealFigures:
    """Heal the cut; raises `DemoError` unless every node then has what was written on both sides."""
    start = trio.current_time()
    await ask_all(workers, "cut", addresses=[])
    await ask_all(workers, "wait", versions=list(versions))
    converged = trio.current_time() - start
    await await_alive(workers)
    reunited = trio.current_time() - start
    return HealFigures(await _common_view(workers, WORK), converged, reunited)


def sides(workers: Sequence[Worker]) -> tuple[Sequence[Worker], Sequence[Worker]]:
    """The two sides of the cut."""
    return workers[:LEFT_SIZE], workers[LEFT_SIZE:]


async def _work(side: Sequence[Worker], works: Sequence[Work]) -> list[str]:
    """Let each node of a side write, and wait until that side has it all; returns the versions."""
    versions: list[str] = []
    for worker, work in zip(side, works, strict=True):
        answer = await worker.ask("work", task=work.task, hours=work.hours, note=work.note)
        versions.append(answer["version"])
    await ask_all(side, "wait", versions=versions)
    return versions


async def _common_view(group: Sequence[Worker], works: Sequence[Work]) -> View:
    """What all of ``group`` see, after those ``works`` and no other; raises `DemoError` if they see anything else."""
    looks = await ask_all(group, "look")
    for worker, look in zip(group, looks, strict=True):
        _check(worker.name, look, works)
        if (look["fingerprint"], look["note"]) != (looks[0]["fingerprint"], looks[0]["note"]):
            raise DemoError(f"nodes {group[0].name} and {worker.name} have the same writes and another content")
    members = [worker.name for worker in group]
    return View(members, looks[0]["tasks"], looks[0]["hours"], looks[0]["note"])


def _check(name: str, look: dict[str, Any], works: Sequence[Work]) -> None:
    tasks = sorted(work.task for work in works)
    hours = sum(work.hours for work in works)
    if look["tasks"] != tasks or look["hours"] != hours or look["note"] not in [work.note for work in works]:
        raise DemoError(
            f"node {name} sees {look['tasks']}, {look['hours']} hours and {look['note']!r}: not what was written"
        )
