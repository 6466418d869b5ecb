"""Real nodes go on writing to their disks while very many writers of nobody are closed."""

from pathlib import Path

import pytest
import trio

from crdts import Replica
from crdts.delta import events_delta
from gossip import Node, open_node
from gossip.log import DISK_FAILED, DISK_SLOW
from gossip.protocol.errors import UnknownMember

from .live import FAST, Journal, acquainted

AT_ONCE = 2_000
WORST_WRITE = 1.0
"""Seconds that a write may take until it is saved."""


async def worst_write(node: Node, seconds: float) -> float:
    """The longest that a write took, of one after the other."""
    worst, number, end = 0.0, 0, trio.current_time() + seconds
    while trio.current_time() < end:
        begun, number = trio.current_time(), number + 1
        node.orset("honest").add(f"{begun} {number}")
        await node.flush()
        worst = max(worst, trio.current_time() - begun)
        await trio.sleep(0.05)
    return worst


async def bring(to: list[Node], count: int) -> None:
    """Have a member that keeps nothing bring one event of each of so many writers, and leave."""
    async with open_node("bringer", join=[to[0].address], config=FAST) as bringer:
        await acquainted(*to, bringer)
        for start in range(0, count, AT_ONCE):
            writers = [Replica(f"r{number:07x}") for number in range(start, min(start + AT_ONCE, count))]
            written = [event for each in writers for event in each.orset("s").add(each.replica_id).events]
            bringer.replica.merge(events_delta(written))
            await trio.sleep(0)
        while any(len(node.replica.store.kernel.open_writers()) < count for node in to):
            await trio.sleep(0.1)


@pytest.mark.parametrize(("count", "limit"), [(1_000, 30.0), pytest.param(130_000, 1800.0, marks=pytest.mark.soak)])
async def test_writes_are_saved_soon_while_very_many_writers_of_nobody_are_marked(
    count: int, limit: float, tmp_path: Path
) -> None:
    journal = Journal()
    with trio.fail_after(limit):
        async with (
            open_node("a", data_dir=tmp_path / "a", config=FAST, log=journal.logger) as a,
            open_node("b", data_dir=tmp_path / "b", join=[a.address], config=FAST, log=journal.logger) as b,
            open_node("c", data_dir=tmp_path / "c", join=[a.address], config=FAST, log=journal.logger) as c,
        ):
            nodes = [a, b, c]
            await acquainted(*nodes)
            await bring(nodes, count)
            at_rest = await worst_write(b, 2.0)
            assert at_rest < WORST_WRITE
            while True:
                try:
                    assert len(a.retire_unknown()) >= count
                    break
                except UnknownMember:  # the list of members has just changed
                    await trio.sleep(0.1)
            worst = 0.0
            while any(len(node.replica.store.kernel.limits) < count for node in nodes):
                worst = max(worst, await worst_write(b, 1.0))
            assert worst < WORST_WRITE
            assert [node.storage().failure for node in nodes] == [None] * 3
    assert not journal.named(DISK_SLOW)
    assert not journal.named(DISK_FAILED)
