"""Nodes that keep nothing come and go, on real sockets: the next one writes on where the last one ended."""

import time
from typing import Final

import pytest
import trio

from crdts.schema import RETIRED
from gossip import Address, NotRunning, TransportFaults, new_key, open_node

from .live import FAST, acquainted, cluster, equal, until

KEY: Final = new_key()
LIVES: Final = 6


async def test_jobs_that_come_and_go_leave_one_writer_and_no_rows() -> None:
    async with cluster(3, key=KEY) as nodes:
        for node in nodes:
            node.counter("jobs").increment()
        writers = []
        for number in range(LIVES):
            async with open_node(f"job {number}", key=KEY, join=[nodes[0].address], config=FAST) as job:
                writers.append(job.replica.replica_id)
                job.counter("jobs").increment()
                await job.synced()
        await equal(*nodes)
        assert [node.counter("jobs").value() for node in nodes] == [3 + LIVES] * 3
        assert len(dict.fromkeys(writers)) == 1
        for node in nodes:
            assert node.replica.context.writers == 4
            assert not node.replica.store.kernel.places(RETIRED)


async def test_jobs_that_are_there_at_the_same_time_write_under_ids_of_their_own() -> None:
    async with cluster(2, key=KEY) as nodes:
        seen = []

        async def job(number: int) -> None:
            async with open_node(f"job {number}", key=KEY, join=[nodes[0].address], config=FAST) as node:
                writer = node.replica.replica_id
                node.counter("jobs").increment()
                await trio.sleep(0.2)
                assert node.replica.replica_id == writer
                seen.append(writer)

        for _ in range(2):
            async with trio.open_nursery() as nursery:
                for number in range(4):
                    nursery.start_soon(job, number)
        await equal(*nodes)
        assert len(dict.fromkeys(seen[:4])) == len(dict.fromkeys(seen[4:])) == 4
        assert [node.counter("jobs").value() for node in nodes] == [8, 8]
        assert len(dict.fromkeys(seen)) < 8


async def test_leave_hands_the_writer_on_too_and_nothing_is_written_behind_it() -> None:
    async with cluster(2, key=KEY) as nodes:
        async with open_node("job", key=KEY, join=[nodes[0].address], config=FAST) as job:
            await acquainted(*nodes, job)
            job.counter("jobs").increment()
            await job.synced()
            assert await job.leave() == 2
            with pytest.raises(NotRunning):
                job.counter("jobs").increment()
            async with open_node("job", key=KEY, join=[nodes[0].address], config=FAST) as again:
                assert again.replica.replica_id == job.replica.replica_id
                again.counter("jobs").increment()
                await again.synced()
        await equal(*nodes)
        assert [node.counter("jobs").value() for node in nodes] == [2, 2]


async def test_a_node_that_has_borrowed_an_id_has_not_written_because_others_did() -> None:
    async with cluster(2, key=KEY) as nodes:
        for is_second in (False, True):
            async with open_node("job", key=KEY, join=[nodes[0].address], config=FAST) as job:
                assert bool(job.replica.context.last(job.replica.replica_id)) is is_second
                assert not job.has_written
                job.counter("jobs").increment()
                assert job.has_written
                await job.synced()


async def test_a_job_that_is_cut_off_at_its_end_is_not_written_under_by_another() -> None:
    async with cluster(2, key=KEY) as nodes:
        faults = TransportFaults()
        async with open_node("job", key=KEY, join=[nodes[0].address], config=FAST, faults=faults) as job:
            job.counter("jobs").increment()
            await job.synced()
            writer = job.replica.replica_id
            faults.cut(*[node.address for node in nodes])
        async with open_node("job", key=KEY, join=[nodes[0].address], config=FAST) as again:
            assert again.replica.replica_id != writer
            again.counter("jobs").increment()
            await again.synced()
        await equal(*nodes)
        assert [node.counter("jobs").value() for node in nodes] == [2, 2]


async def test_with_nobody_there_a_node_opens_at_once() -> None:
    began = time.monotonic()
    async with open_node("alone", key=KEY, join=[Address("127.0.0.1", 9)], config=FAST) as node:
        assert time.monotonic() - began < 10 * FAST.probe_timeout
        node.counter("jobs").increment()
        assert node.counter("jobs").value() == 1


async def test_the_name_of_a_borrowed_writer_is_that_of_the_node_that_writes_under_it() -> None:
    async with cluster(2, key=KEY) as nodes:
        for name in ("first", "second"):
            async with open_node(name, key=KEY, join=[nodes[0].address], config=FAST) as job:
                job.counter("jobs").increment()
                await job.synced()
                await acquainted(*nodes, job)
                writer = job.replica.replica_id
                told = [(name, writer)]
                await until(nodes[1], lambda told=told: told[0] in [(m.name, m.replica_id) for m in nodes[1].members()])
                assert nodes[1].name_of(writer) == name
                assert nodes[1].replica_id_of(name) == writer
