"""How a node finds others of its cluster on its network: without a network, and by real multicast on loopback."""

import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from secrets import token_hex
from typing import Any

import pytest
import trio

from gossip import Address, ConfigError, Node, new_key, open_node
from gossip.discovery import neighbours as discovery
from gossip.discovery.announcement import Announcement, Card, Lost, Seen, Sighting
from gossip.discovery.interfaces import Place
from gossip.discovery.neighbours import (
    MAX_ADDRESSES,
    MAX_NEIGHBOURS,
    MAX_UNREADABLE,
    Discovery,
    Neighbourhood,
    can_reach,
)

from ..live import FAST, Journal, acquainted, patience, until

ME = Card("00000000000000aa", "me", "default", "deadbeef")
LAN = Place(("10.0.0.1",), ("10.0.0.1",))


def card(number: int, **changed: Any) -> Card:
    return replace(ME, node_id=f"{number:016x}", name=f"n{number}", **changed)


def seen(who: Card, *hosts: str, port: int = 4747) -> Seen:
    text = {key.encode(): value.encode() for key, value in who.text().items()}
    return Seen(who.node_id, text, port, hosts or (f"10.0.1.{int(who.node_id, 16) % 250}",))


# ---- what is heard


def test_a_neighbour_is_wanted_until_it_is_present_or_gone() -> None:
    near = Neighbourhood(ME, "0.0.0.0")
    for number in (1, 2):
        assert near.hear(seen(card(number))) is None
    assert near.wanted(set()) == [Address("10.0.1.1", 4747), Address("10.0.1.2", 4747)]
    assert near.wanted({card(1).node_id}) == [Address("10.0.1.2", 4747)]
    near.hear(Lost(card(2).node_id))
    near.hear(Lost("never heard of"))
    assert near.wanted(set()) == [Address("10.0.1.1", 4747)]


def test_a_neighbour_that_has_moved_is_wanted_where_it_is_now() -> None:
    near = Neighbourhood(ME, "0.0.0.0")
    near.hear(seen(card(1), "10.0.0.7"))
    near.hear(seen(card(1), "10.0.0.8", port=5000))
    assert near.wanted(set()) == [Address("10.0.0.8", 5000)]


def test_a_node_does_not_find_itself() -> None:
    near = Neighbourhood(ME, "0.0.0.0")
    assert near.hear(seen(ME)) is None
    assert near.wanted(set()) == []


@pytest.mark.parametrize(
    "changed",
    [{"cluster": "tea"}, {"key_id": "00000000"}, {"version": ME.version + 1}],
    ids=lambda changed: next(iter(changed)),
)
def test_a_neighbour_that_cannot_be_read_is_told_of_once_and_never_wanted(changed: dict[str, Any]) -> None:
    near = Neighbourhood(ME, "0.0.0.0")
    other = card(1, **changed)
    told = near.hear(seen(other))
    assert told is not None
    assert told.pop("reason")
    assert told == {"name": "n1", "address": "10.0.1.1:4747", "cluster": other.cluster, "version": other.version}
    assert near.hear(seen(other, "10.0.0.9")) is None
    assert near.wanted(set()) == []


def test_a_neighbour_that_changes_to_another_cluster_is_not_wanted_any_more() -> None:
    near = Neighbourhood(ME, "0.0.0.0")
    near.hear(seen(card(1)))
    near.hear(seen(card(1, cluster="tea")))
    assert near.wanted(set()) == []


def test_ten_thousand_invented_neighbours_are_not_all_remembered_and_a_new_one_still_is() -> None:
    near = Neighbourhood(ME, "0.0.0.0")
    for number in range(10_000):
        near.hear(seen(card(number, key_id=ME.key_id if number % 2 else "00000000"), *(["10.0.0.9"] * 99)))
    near.hear(seen(card(10_001)))
    assert len(near) == MAX_NEIGHBOURS
    assert len(near.wanted(set())) <= MAX_NEIGHBOURS * MAX_ADDRESSES
    assert Address("10.0.1.1", 4747) in near.wanted(set())


def test_the_log_is_not_filled_by_invented_neighbours() -> None:
    near = Neighbourhood(ME, "0.0.0.0")
    told = [near.hear(seen(card(number, cluster="tea"))) for number in range(10_000)]
    assert len([line for line in told if line]) == MAX_UNREADABLE


def test_nonsense_is_counted_and_changes_nothing() -> None:
    near = Neighbourhood(ME, "0.0.0.0")
    near.hear(seen(card(1)))
    assert near.hear(Seen(card(1).node_id, {}, 4747, ["10.0.0.9"])) is None
    assert near.hear(Seen("\x1b[31m", {b"id": b"\x1b[31m"}, 4747, [])) is None
    assert sum(near.refused.values()) == 2
    assert near.wanted(set()) == [Address("10.0.1.1", 4747)]


@pytest.mark.parametrize(
    ("bound", "host", "stays_here", "usable"),
    [
        ("0.0.0.0", "10.0.0.1", False, True),
        ("10.0.0.2", "8.8.8.8", False, True),  # the outside of a router
        ("0.0.0.0", "2001:db8::1", False, False),
        ("::", "10.0.0.1", False, True),
        ("::", "2001:db8::1", False, True),
        ("::", "fe80::1%eth0", False, True),
        ("::", "fe80::1", False, False),
        ("2001:db8::2", "10.0.0.1", False, False),
        ("0.0.0.0", "127.0.0.1", False, False),
        ("0.0.0.0", "127.0.0.1", True, True),
        ("127.0.0.1", "127.0.0.1", True, True),
        ("127.0.0.1", "10.0.0.1", True, False),
        ("::1", "::1", True, True),
        ("::1", "127.0.0.1", True, False),
        *(("0.0.0.0", host, False, False) for host in ("0.0.0.0", "255.255.255.255", "224.0.0.251")),
        ("::", "ff02::fb%eth0", False, False),
    ],
)
def test_only_addresses_that_can_be_meant_are_greeted(bound: str, host: str, stays_here: bool, usable: bool) -> None:
    assert can_reach(bound, Address(host, 4747), stays_here=stays_here) is usable


@pytest.mark.parametrize(
    "host", ["", "name", "10.0.0.1.", "10.0.0.1\n", "fe80::1%", "fe80::1%\x1b", "fe80::1%-1", "٣.0.0.1"]
)
def test_what_is_no_address_is_passed_over(host: str) -> None:
    near = Neighbourhood(ME, "::")
    near.hear(seen(card(1), host, "10.0.0.1"))
    assert near.wanted(set()) == [Address("10.0.0.1", 4747)]


def test_the_scope_of_a_link_local_address_is_kept_by_the_name_of_the_interface() -> None:
    near = Neighbourhood(ME, "::")
    near.hear(seen(card(1), "fe80::1%1"))
    assert near.wanted(set()) == [Address("fe80::1%lo", 4747)]


# ---- the service, on a network that a test makes up


class Air:
    """Stands in for multicast DNS: what is announced on it, and what it makes nodes hear."""

    def __init__(self) -> None:
        self.place = LAN
        self.complete = True
        self.broken: str | None = None
        self.announced: list[Announcement] = []
        self.on: list[Place] = []
        self.closed = self.repeated = 0
        self.report: Callable[[Sighting], None] = lambda _: None
        self.threads: set[int] = set()

    def start(self, announcement: Announcement, place: Place, report: Callable[[Sighting], None]) -> "Air":
        self.threads.add(threading.get_ident())
        if self.broken is not None:
            raise OSError(self.broken)
        self.announced.append(announcement)
        self.on.append(place)
        self.report = report
        return self

    def look(self, bound: str) -> Place:
        self.threads.add(threading.get_ident())
        return self.place

    def repeat(self) -> None:
        self.repeated += 1

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        self.closed += 1


class Book:
    """Stands in for the seed book."""

    def __init__(self) -> None:
        self.found: list[Address] = []

    def put(self, finder: object, addresses: Iterable[Address], *, hints: bool = False) -> None:
        assert hints, "nobody has named what the network tells of"
        self.found = list(addresses)


class Scene:
    """A service under way, and everything around it."""

    def __init__(self, **options: Any) -> None:
        self.air, self.book, self.journal = Air(), Book(), Journal()
        self.present: set[str] = set()
        self.service = Discovery(
            ME,
            Address("0.0.0.0", 4747),
            options.get("advertise"),
            self.book,  # type: ignore[arg-type]
            lambda: self.present,
            self.journal.logger,
            start=self.air.start,
            look=self.air.look,
        )


@asynccontextmanager
async def running(scene: Scene) -> AsyncIterator[Scene]:
    async with trio.open_nursery() as nursery:
        await nursery.start(scene.service.run)
        yield scene
        nursery.cancel_scope.cancel()


async def wait_until(condition: Callable[[], object]) -> None:
    with patience():
        while not condition():
            await trio.sleep(0.005)


@pytest.fixture(autouse=True)
def impatient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "multicast" in request.fixturenames:
        return
    monkeypatch.setattr(discovery, "LOOK_INTERVAL", 0.02)
    monkeypatch.setattr(discovery, "REVIEW_INTERVAL", 0.01)


async def test_it_announces_where_the_node_is_and_takes_that_back_at_the_end() -> None:
    async with running(Scene()) as scene:
        await wait_until(lambda: scene.air.announced)
        assert scene.air.announced == [Announcement(ME, ("10.0.0.1",), 4747)]
        assert scene.air.closed == 0
    assert scene.air.closed == 1
    (line,) = scene.journal.named("discovery.started")
    assert (line["announces"], line["heard_on"]) == ("10.0.0.1:4747", "the local network")


async def test_it_keeps_the_event_loop_free() -> None:
    async with running(Scene()) as scene:
        await wait_until(lambda: scene.air.announced)
    assert threading.get_ident() not in scene.air.threads


async def test_who_is_found_is_looked_for_until_it_is_a_member_and_again_when_it_fails() -> None:
    async with running(Scene()) as scene:
        await wait_until(lambda: scene.air.announced)
        await trio.to_thread.run_sync(scene.air.report, seen(card(1)))
        await wait_until(lambda: scene.book.found == [Address("10.0.1.1", 4747)])
        scene.present.add(card(1).node_id)
        await wait_until(lambda: scene.book.found == [])
        scene.present.clear()
        await wait_until(lambda: scene.book.found == [Address("10.0.1.1", 4747)])
        scene.air.report(Lost(card(1).node_id))
        await wait_until(lambda: scene.book.found == [])


async def test_an_address_that_changes_is_announced_anew() -> None:
    async with running(Scene()) as scene:
        await wait_until(lambda: scene.air.announced)
        scene.air.place = Place(("10.0.0.2",), ("10.0.0.2",))
        await wait_until(lambda: len(scene.air.announced) == 2)
        assert scene.air.closed == 1
        assert scene.air.announced[-1].hosts == ("10.0.0.2",)
        scene.air.place = Place((), ())
        await wait_until(lambda: scene.air.closed == 2)
        await wait_until(lambda: scene.journal.named("discovery.failed"))
        scene.air.place = LAN
        await wait_until(lambda: len(scene.air.announced) == 3)
    assert scene.air.on[-1] == LAN


async def test_trouble_is_told_once_and_tried_again_for_ever() -> None:
    scene = Scene()
    scene.air.broken = "no multicast here"
    async with running(scene):
        await wait_until(lambda: scene.journal.named("discovery.failed"))
        await trio.sleep(0.1)
        scene.air.broken = None
        await wait_until(lambda: scene.air.announced)
    assert [line["error"] for line in scene.journal.named("discovery.failed")] == ["no multicast here"]
    assert len(scene.journal.named("discovery.started")) == 1


async def test_an_interface_that_is_not_ready_is_given_some_more_tries_but_not_for_ever() -> None:
    scene = Scene()
    scene.air.complete = False
    async with running(scene):
        await wait_until(lambda: len(scene.air.announced) == discovery.MAX_STARTS)
        await trio.sleep(0.1)
    assert len(scene.air.announced) == discovery.MAX_STARTS
    assert len(scene.journal.named("discovery.started")) == 1


async def test_a_lonely_node_repeats_its_announcement_and_one_of_a_cluster_leaves_it_to_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("random.random", lambda: 0.6)
    async with running(Scene()) as scene:
        await wait_until(lambda: scene.air.repeated > 3)
        scene.present.add(card(1).node_id)
        await trio.sleep(0.05)
        repeated = scene.air.repeated
        await trio.sleep(0.1)
        assert scene.air.repeated == repeated


async def test_what_is_advertised_is_announced_in_place_of_where_it_listens() -> None:
    async with running(Scene(advertise=Address("203.0.113.9", 7777))) as scene:
        await wait_until(lambda: scene.air.announced)
    assert scene.air.announced == [Announcement(ME, ("203.0.113.9",), 7777)]
    assert scene.air.on == [LAN]


async def test_a_neighbour_that_cannot_be_read_is_a_warning_if_it_says_to_be_of_this_cluster() -> None:
    async with running(Scene()) as scene:
        await wait_until(lambda: scene.air.announced)
        for other in (card(1, key_id="00000000"), card(2, cluster="tea"), card(1, key_id="00000000")):
            scene.air.report(seen(other))
        await wait_until(lambda: len(scene.journal.named("neighbour.unreadable")) == 2)
    levels = {line["name"]: line["level"] for line in scene.journal.named("neighbour.unreadable")}
    assert levels == {"n1": "warning", "n2": "info"}


async def test_of_many_neighbours_of_other_clusters_the_log_tells_of_one_in_a_while() -> None:
    async with running(Scene()) as scene:
        await wait_until(lambda: scene.air.announced)
        for number in range(20):
            scene.air.report(seen(card(number, cluster=f"tea {number}")))
        await wait_until(lambda: len(scene.journal.named("neighbour.unreadable")) == 20)
    levels = [line["level"] for line in scene.journal.named("neighbour.unreadable")]
    assert levels == ["info", *["debug"] * 19]


async def test_the_log_tells_of_another_neighbour_of_another_cluster_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "STRANGERS_INTERVAL", 0.0)
    async with running(Scene()) as scene:
        await wait_until(lambda: scene.air.announced)
        for number in range(2):
            scene.air.report(seen(card(number, cluster="tea")))
        await wait_until(lambda: len(scene.journal.named("neighbour.unreadable")) == 2)
    assert [line["level"] for line in scene.journal.named("neighbour.unreadable")] == ["info", "info"]


# ---- real multicast, which stays on loopback


@pytest.fixture
def cluster_name() -> str:
    """Nobody else's on this machine: other tests may run beside these."""
    return f"test-{token_hex(8)}"


async def multicast_works() -> bool:
    """Whether two nodes hear each other on loopback here."""
    name = f"probe-{token_hex(8)}"
    options = {"cluster": name, "discover": True, "config": FAST}
    async with open_node("a", **options) as a, open_node("b", **options):
        with trio.move_on_after(10):
            while not a.members():
                await trio.sleep(0.02)
        return bool(a.members())


@pytest.fixture
async def multicast() -> None:
    if not await multicast_works():
        pytest.skip("real multicast is not tested: loopback carries none here")


def alive(node: Node) -> list[str]:
    return sorted(member.name for member in node.members() if member.state == "alive")


@pytest.mark.parametrize("key", [None, new_key()], ids=["keyless", "keyed"])
async def test_nodes_on_this_machine_find_each_other_without_being_told_anything(
    multicast: None, cluster_name: str, key: str | None
) -> None:
    options = {"cluster": cluster_name, "discover": True, "config": FAST, "key": key}
    async with (
        open_node("a", **options) as a,
        open_node("b", **options) as b,
        open_node("c", **options) as c,
    ):
        await acquainted(a, b, c)
        a.orset("x").add("found")
        await until(c, lambda: "found" in c.orset("x"))


async def test_clusters_of_different_names_do_not_mix_and_say_so(multicast: None, cluster_name: str) -> None:
    journal = Journal()
    options = {"discover": True, "config": FAST, "key": new_key()}
    async with (
        open_node("a", cluster=cluster_name, log=journal.logger, **options) as a,
        open_node("other", cluster=f"{cluster_name}-2", **options) as other,
        open_node("b", cluster=cluster_name, **options) as b,
    ):
        await acquainted(a, b)
        await wait_until(lambda: [line for line in journal.named("neighbour.unreadable") if line["name"] == "other"])
        assert alive(a) == ["b"]
        assert other.members() == []
    (line,) = [line for line in journal.named("neighbour.unreadable") if line["name"] == "other"]
    assert line["cluster"] == f"{cluster_name}-2"
    assert line["address"] == str(other.address)


async def test_joining_the_wrong_cluster_by_hand_does_not_work_either(cluster_name: str) -> None:
    key, journal = new_key(), Journal()
    async with (
        open_node("a", cluster="tea", key=key, config=FAST, log=journal.logger) as a,
        open_node("b", cluster="coffee", key=key, config=FAST, join=[a.address]) as b,
    ):
        await wait_until(lambda: journal.named("input.rejected"))
        assert (a.members(), b.members()) == ([], [])
    assert "under the name of another cluster" in journal.named("input.rejected")[0]["detail"]


async def test_a_node_that_nobody_asked_to_look_around_neither_finds_nor_is_found(
    multicast: None, cluster_name: str
) -> None:
    options = {"cluster": cluster_name, "config": FAST}
    async with (
        open_node("quiet", **options) as quiet,
        open_node("a", discover=True, **options) as a,
        open_node("b", discover=True, **options) as b,
    ):
        await acquainted(a, b)
        assert quiet.members() == []
        assert alive(a) == ["b"]


# ---- what is refused


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb"])
async def test_a_cluster_has_a_proper_name(name: str) -> None:
    with pytest.raises(ConfigError, match="a cluster's name is 1 to 64 bytes"):
        async with open_node("a", cluster=name):
            pass


@pytest.mark.parametrize(
    ("advertise", "why"),
    [
        ("here", "is not an address"),
        ("1.2.3.4:0", "port 0 is nobody's"),
        ("1.2.3.4:5", "without a cluster key"),
        ("nowhere.invalid:5", "this machine cannot resolve the name; check its spelling"),
        ("0.0.0.0:5", "others find nobody there"),
    ],
)
async def test_what_cannot_be_advertised_is_refused(advertise: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        async with open_node("a", advertise=advertise):
            pass
