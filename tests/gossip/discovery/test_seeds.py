"""Where a node looks for its cluster: every address of every name, asked for again and again."""

import socket
from dataclasses import replace
from typing import Any

import pytest
import trio

from gossip import Address
from gossip.discovery.seeds import SeedBook, SeedFinder
from gossip.protocol import Notify, notices

from ..live import FAST, Journal, patience


class Names(trio.abc.HostnameResolver):
    """A name service that a test can change."""

    def __init__(self) -> None:
        self.known: dict[str, list[str]] = {}

    async def getaddrinfo(self, host: Any, port: Any, family: int = 0, *_: Any, **__: Any) -> list[Any]:
        found = [
            (kind, socket.SOCK_DGRAM, 17, "", (text, port) if kind == socket.AF_INET else (text, port, 0, 0))
            for text in self.known.get(host.decode() if isinstance(host, bytes) else host, [])
            for kind in [socket.AF_INET6 if ":" in text else socket.AF_INET]
            if family in (0, kind)
        ]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return found

    async def getnameinfo(self, *_: Any) -> Any:
        raise NotImplementedError


class Engine:
    """Stands in for engine and driver: keeps the seeds it is given."""

    def __init__(self) -> None:
        self.seeds: list[list[Address]] = []

    def set_seeds(self, now: float, addresses: list[Address]) -> None:
        self.seeds.append(addresses)

    def do(self, effects: object) -> None:
        pass


@pytest.fixture
async def names() -> Names:
    resolver = Names()
    trio.socket.set_custom_hostname_resolver(resolver)
    return resolver


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def book(engine: Engine) -> SeedBook:
    return SeedBook(engine, engine)  # type: ignore[arg-type]


def at(*hosts: str) -> list[Address]:
    return [Address(host, 4747) for host in hosts]


async def test_several_finders_add_to_one_list(engine: Engine, book: SeedBook) -> None:
    book.put("names", at("10.0.0.1", "10.0.0.2"))
    book.put("network", at("10.0.0.2", "10.0.0.3"))
    assert engine.seeds[-1] == at("10.0.0.1", "10.0.0.2", "10.0.0.3")
    book.put("names", at("10.0.0.9"))
    assert engine.seeds[-1] == at("10.0.0.9", "10.0.0.2", "10.0.0.3")
    book.put("network", [])
    assert engine.seeds[-1] == at("10.0.0.9")


def silent(host: str) -> Notify:
    return Notify(notices.SEED_SILENT, {"seed": f"{host}:4747", "check": "everything"})


def test_only_seeds_that_somebody_named_are_reported_as_silent(engine: Engine) -> None:
    async def look() -> None:
        book = SeedBook(engine, engine, "tea")  # type: ignore[arg-type]
        book.put("names", at("10.0.0.1", "10.0.0.2"))
        book.put("network", at("10.0.0.2", "10.0.0.3"), hints=True)
        for host in ("10.0.0.1", "10.0.0.2"):
            told = book.reword(silent(host))
            assert told is not None
            assert (told.fields["seed"], told.fields["cluster"]) == (f"{host}:4747", "tea")
            assert "the cluster 'tea'" in str(told.fields["check"])
        assert book.reword(silent("10.0.0.3")) is None
        other = Notify(notices.MEMBER_JOINED, {"member": "bob"})
        assert book.reword(other) is other

    trio.run(look)


async def test_nothing_new_is_not_told(engine: Engine, book: SeedBook) -> None:
    book.put("names", at("10.0.0.1"))
    book.put("names", at("10.0.0.1"))
    book.put("network", at("10.0.0.1"))
    book.put("network", [])
    assert engine.seeds == [at("10.0.0.1")]


@pytest.mark.parametrize(
    ("bound", "found"),
    [
        ("0.0.0.0", at("10.0.0.1", "10.0.0.2", "10.0.0.3")),
        ("::", at("10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1")),
        ("2001:db8::9", at("2001:db8::1")),
    ],
)
async def test_every_address_of_a_name_is_a_seed_and_new_ones_are_found(
    autojump_clock: trio.testing.MockClock,
    names: Names,
    engine: Engine,
    book: SeedBook,
    bound: str,
    found: list[Address],
) -> None:
    names.known = {"nodes.example": ["10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1"]}
    finder = SeedFinder(book, [Address("nodes.example", 4747)], bound, replace(FAST), Journal().logger)
    async with trio.open_nursery() as nursery:
        await nursery.start(finder.run)
        with patience():
            while not engine.seeds:
                await trio.sleep(0.1)
            assert engine.seeds[-1] == found
            names.known = {"nodes.example": ["10.0.0.7", "2001:db8::7"]}
            while engine.seeds[-1] == found:
                await trio.sleep(0.1)
            assert {address.host for address in engine.seeds[-1]} <= {"10.0.0.7", "2001:db8::7"}
            newest = engine.seeds[-1]
            names.known = {}
            await trio.sleep(20)
            assert engine.seeds[-1] == newest, "what was found once is kept while names cannot be resolved"
        nursery.cancel_scope.cancel()
