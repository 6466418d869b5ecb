"""Who is meant by a name: rights to a budget go to a member, or to nobody."""

from dataclasses import replace
from pathlib import Path

import pytest

from crdts import InsufficientRights, Replica
from gossip import Node, UnknownMember, open_node

from .live import FAST, acquainted, cluster, equal, patience, until


async def budget_of(a: Node, b: Node) -> None:
    """Both have written, and A holds rights to 10."""
    a.bounded_counter("budget").increment(10)
    b.orset("s").add("here")
    await equal(a, b)


async def test_rights_are_given_to_a_member_by_name_id_or_replica_id() -> None:
    async with cluster(2) as (a, b):
        await budget_of(a, b)
        for to in (b.name, b.id, b.replica.replica_id, a.replica_id_of(a.members()[0]), a.replica_id_of(b.name)):
            a.bounded_counter("budget").transfer(to, 2)
        with patience():
            await b.wait_for(a.version())
        budget = b.bounded_counter("budget")
        assert budget.holders() == {b.replica.replica_id: 10}
        budget.decrement(10)
        with pytest.raises(InsufficientRights):
            budget.decrement()


async def test_rights_in_a_map_are_given_by_name_as_well() -> None:
    async with cluster(2) as (a, b):
        await budget_of(a, b)
        budget = a.ormap("team").bounded_counter("tokens")
        budget.increment(3)
        budget.transfer(b.name, 2)
        assert budget.holders() == {a.replica.replica_id: 1, b.replica.replica_id: 2}


async def test_rights_given_to_oneself_stay() -> None:
    async with open_node("a", config=FAST) as a:
        budget = a.bounded_counter("budget")
        budget.increment(5)
        for to in ("a", a.id, a.replica.replica_id):
            assert not budget.transfer(to, 5)
        assert budget.rights() == 5


@pytest.mark.parametrize(
    "to",
    [
        "",
        "nobody",
        "two\nlines",
        "x" * 1000,
        "0123456789abcdef",
        "0123456789abcdef.1",
        "0123456789abcdef.*",
        "{b}.*",
        "{b}.2",
        "{b}.1-abcdef",
        "{b}.",
    ],
)
async def test_nobody_is_given_rights_whom_nobody_knows(to: str) -> None:
    async with cluster(2) as (a, b):
        await budget_of(a, b)
        before = a.replica.fingerprint
        with pytest.raises(UnknownMember, match=r"would be lost. Give the name or id of a member .* replica id"):
            a.bounded_counter("budget").transfer(to.format(b=b.id), 1)
        with pytest.raises(UnknownMember), a.transaction():
            a.bounded_counter("budget").transfer(to.format(b=b.id), 1)
        assert a.replica.fingerprint == before


async def test_who_has_written_nothing_is_given_rights_as_anybody() -> None:
    async with cluster(2) as (a, b):
        await until(a, lambda: a.members()[0].replica_id is not None)
        assert a.members()[0].replica_id == b.replica.replica_id
        a.bounded_counter("budget").increment(5)
        for to in (b.name, b.id, b.replica.replica_id, a.replica_id_of(b.name)):
            a.bounded_counter("budget").transfer(to, 1)
        with patience():
            await b.wait_for(a.version())
        b.bounded_counter("budget").decrement(4)


async def test_who_has_started_again_and_written_nothing_is_given_rights_in_its_new_life(tmp_path: Path) -> None:
    async with open_node("a", config=FAST) as a:
        a.bounded_counter("budget").increment(5)
        for turn in (1, 2):
            async with open_node("b", join=[a.address], data_dir=tmp_path, config=FAST) as b:
                me = b.replica.replica_id
                await until(a, lambda me=me: [member.replica_id for member in a.members()] == [me])
                a.bounded_counter("budget").transfer("b", 1)
                with patience():
                    await b.wait_for(a.version())
                assert b.bounded_counter("budget").rights(me) == turn, "those of the earlier life are its own"
        async with open_node("b", join=[a.address], data_dir=tmp_path, config=FAST) as b:
            with patience():
                await b.wait_for(a.version())
            b.bounded_counter("budget").decrement(2)


async def test_a_member_that_has_not_said_what_it_writes_under_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with cluster(2) as (a, b):
        await until(a, lambda: a.members()[0].replica_id is not None)
        a.bounded_counter("budget").increment(5)
        silent = [replace(member, replica_id=None) for member in a.members()]
        monkeypatch.setattr(a._names, "_members", lambda: silent)
        with pytest.raises(UnknownMember, match="has not said so since it started, and has written nothing"):
            a.bounded_counter("budget").transfer(b.name, 5)
        b.orset("s").add("here")
        await equal(a, b)
        a.bounded_counter("budget").transfer(b.name, 5)


async def test_two_members_of_one_name_are_told_apart_by_their_ids() -> None:
    async with open_node("a", config=FAST) as a:
        seeds = [a.address]
        async with open_node("twin", join=seeds, config=FAST) as one, open_node("twin", join=seeds, config=FAST) as two:
            await until(a, lambda: len(a.members()) == 2)
            one.orset("s").add(1)
            two.orset("s").add(2)
            await equal(a, one, two)
            budget = a.bounded_counter("budget")
            budget.increment(5)
            with pytest.raises(UnknownMember, match=f"2 members are called twin.*: ({one.id}|{two.id})"):
                budget.transfer("twin", 1)
            budget.transfer(two.id, 1)
            assert budget.rights(two.replica.replica_id) == 1


async def test_an_earlier_life_is_refused_and_the_later_one_spends_what_the_earlier_was_given(tmp_path: Path) -> None:
    async with open_node("a", config=FAST) as a:
        async with open_node("b", join=[a.address], data_dir=tmp_path, config=FAST) as b:
            await acquainted(a, b)
            await budget_of(a, b)
            a.bounded_counter("budget").transfer("b", 4)
            await equal(a, b)
            earlier = b.replica.replica_id
        async with open_node("b", join=[a.address], data_dir=tmp_path, config=FAST) as b:
            await acquainted(a, b)
            await until(a, lambda: a.members()[0].epoch > 1)
            with pytest.raises(
                UnknownMember, match=f"{earlier} is an earlier life|nobody writes as {earlier} any more"
            ):
                a.bounded_counter("budget").transfer(earlier, 1)
            b.orset("s").add("again")
            await equal(a, b)
            a.bounded_counter("budget").transfer("b", 1)
            await equal(a, b)
            b.bounded_counter("budget").decrement(5)


async def test_nobody_gives_rights_to_a_member_that_has_left_and_keeps_nothing() -> None:
    async with open_node("a", config=FAST) as a:
        async with open_node("b", join=[a.address], config=FAST) as b:
            await acquainted(a, b)
            await budget_of(a, b)
            replica_id = b.replica.replica_id
        assert replica_id in a._engine.vacant_writers
        for to in ("b", b.id, replica_id):
            with pytest.raises(UnknownMember, match=f"nobody writes as {replica_id} any more"):
                a.bounded_counter("budget").transfer(to, 1)


async def test_nobody_gives_rights_to_a_node_that_was_retired() -> None:
    async with cluster(2) as (a, b):
        await budget_of(a, b)
        replica_id = b.replica.replica_id
        a.retire(b.id, force=True)
        for to in (b.name, b.id, replica_id):
            with pytest.raises(UnknownMember):
                a.bounded_counter("budget").transfer(to, 1)
        assert a.bounded_counter("budget").rights() == 10


async def test_one_that_is_there_is_meant_by_a_name_that_others_had_who_are_gone() -> None:
    async with open_node("a", config=FAST) as a:
        seeds = [a.address]
        async with open_node("twin", join=seeds, config=FAST) as gone:
            await acquainted(a, gone)
        async with open_node("twin", join=seeds, config=FAST) as present:
            await until(a, lambda: sorted(member.state for member in a.members()) == ["alive", "left"])
            present.orset("s").add("here")
            await equal(a, present)
            budget = a.bounded_counter("budget")
            budget.increment(5)
            budget.transfer("twin", 2)
            assert budget.rights("twin") == budget.rights(present.replica.replica_id) == 2
        await until(a, lambda: {member.state for member in a.members()} == {"left"})
        with pytest.raises(UnknownMember, match=r"2 members are called twin; .*\(left\), .*\(left\)"):
            budget.transfer("twin", 2)


# ---- who holds what


async def test_rights_of_all_lives_are_told_under_any_name_of_a_node(tmp_path: Path) -> None:
    async with open_node("a", config=FAST) as a:
        for rights in (10, 15):
            async with open_node("b", join=[a.address], data_dir=tmp_path, config=FAST) as b:
                await acquainted(a, b)
                b.bounded_counter("budget").increment(5 if rights == 15 else 10)
                await equal(a, b)
                for node in (a, b):
                    budget = node.bounded_counter("budget")
                    for who in ("b", b.id, b.replica.replica_id, *budget.holders()):
                        assert budget.rights(who) == rights
                    assert budget.rights("a") == 0
                assert {b.name_of(holder) for holder in budget.holders()} == {"b"}


async def test_who_is_asked_for_rights_is_named(tmp_path: Path) -> None:
    async with open_node("a", config=FAST) as a:
        for _ in range(2):
            async with open_node("b", join=[a.address], data_dir=tmp_path, config=FAST) as b:
                await acquainted(a, b)
                b.bounded_counter("budget").increment(5)
                await equal(a, b)
        with pytest.raises(InsufficientRights, match=r"^'a' holds rights to 0, .*; ask for a transfer: {'b': 10}$"):
            a.bounded_counter("budget").decrement()


async def test_the_rights_of_who_is_unknown_are_not_told() -> None:
    async with cluster(2) as (a, b):
        await budget_of(a, b)
        assert a.bounded_counter("budget").rights("0123456789abcdef.1") == 0
        for who in ("", "nobody", "0123456789abcdef"):
            with pytest.raises(UnknownMember, match=r"neither a member nor a replica id\. Give"):
                a.bounded_counter("budget").rights(who)


async def test_rights_of_a_writer_that_is_no_node_are_told_under_its_replica_id() -> None:
    async with open_node("a", config=FAST) as a:
        outside = Replica("agent-1")
        a.replica.merge(outside.bounded_counter("budget").increment(3))
        assert a.bounded_counter("budget").rights("agent-1") == 3
