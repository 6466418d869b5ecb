"""Discovery: a node tells its local network where it is, and finds others of its cluster there.

What the network says is a hint and never believed: an address that is found is greeted like any seed, and only who
holds the cluster key can answer.
"""

import random
import socket
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from math import inf
from typing import Any, Final, Protocol, TypeAlias

import trio

from ..log import DISCOVERY_FAILED, DISCOVERY_STARTED, NEIGHBOUR_UNREADABLE
from ..protocol import Address
from ..protocol.errors import MalformedMessage
from ..runtime.addresses import address_of, families_from, is_loopback
from .announcement import Announcement, Card, Lost, Seen, Sighting, parse_card, why_unreadable
from .interfaces import Place, list_interfaces, place_of
from .seeds import SeedBook

LOOK_INTERVAL: Final = 5.0
"""Seconds between two looks at our own addresses, and at who of the neighbours still has to be greeted. In that time
one node of a cluster repeats its announcement, whichever: so two halves that have never met find each other soon after
they are connected, at the same cost however many nodes there are."""
REVIEW_INTERVAL: Final = 1.0
"""Seconds until those of the found who have become members, at one of their addresses, are greeted no more; it takes
longer until an address counts as silent."""
MAX_STARTS: Final = 3
"""Times that multicast DNS is started at one place, if it could not be on all interfaces: some take no multicast."""
MAX_NEIGHBOURS: Final = 256
"""Neighbours of our cluster that are remembered at most; the one heard of longest ago makes way. Members are known to
the engine whether they are remembered here or not."""
MAX_UNREADABLE: Final = 64
"""Neighbours that a log line tells about at most, in the life of a node."""
STRANGERS_INTERVAL: Final = 60.0
"""Seconds until a log line tells of another neighbour that is of another cluster."""
MAX_ADDRESSES: Final = 8
"""Addresses that are tried of one neighbour at most."""
MAX_UNHEARD: Final = 1024
"""Sightings that wait until they are looked at, at most; the oldest make way."""


# ---- what is heard


class Neighbourhood:
    """The nodes that the network tells of: those of our cluster, and why the others are not. Bounded."""

    def __init__(self, card: Card, bound: str) -> None:
        """``bound`` is the IP address that the node listens on: it decides what it can reach."""
        self._card = card
        self._bound = bound
        self._ours: dict[str, list[Address]] = {}
        self._told: set[str] = set()
        self.stays_here = is_loopback(bound)
        """True if only this machine is heard."""
        self.refused: Counter[str] = Counter()
        """Announcements that say nothing or nonsense, by what is wrong with them."""

    def hear(self, sighting: Sighting) -> dict[str, Any] | None:
        """Take note of a sighting. Returns what a person should know of a neighbour that cannot be read: once each."""
        if isinstance(sighting, Lost):
            self._ours.pop(sighting.instance, None)
            return None
        try:
            card = parse_card(sighting)
        except MalformedMessage as error:
            self.refused[str(error)] += 1
            return None
        if card.node_id == self._card.node_id:
            return None
        self._ours.pop(card.node_id, None)
        addresses = self._usable(sighting)
        reason = why_unreadable(self._card, card)
        if reason is None:
            self._remember(card.node_id, addresses)
            return None
        return self._tell_once(card, addresses, reason)

    def wanted(self, present: set[str]) -> list[Address]:
        """Where those of our cluster are that are not ``present``, by node id."""
        return [address for node_id, addresses in self._ours.items() if node_id not in present for address in addresses]

    def __len__(self) -> int:
        return len(self._ours)

    def _remember(self, node_id: str, addresses: list[Address]) -> None:
        self._ours[node_id] = addresses
        if len(self._ours) > MAX_NEIGHBOURS:
            del self._ours[next(iter(self._ours))]

    def _tell_once(self, card: Card, addresses: list[Address], reason: str) -> dict[str, Any] | None:
        if card.node_id in self._told or len(self._told) >= MAX_UNREADABLE:
            return None
        self._told.add(card.node_id)
        return {
            "name": card.name,
            "address": str(addresses[0]) if addresses else "out of reach",
            "reason": reason,
            "cluster": card.cluster,
            "version": card.version,
        }

    def _usable(self, seen: Seen) -> list[Address]:
        found = (_address(host, seen.port) for host in seen.hosts[:MAX_ADDRESSES])
        return [address for address in found if address is not None and self._can_reach(address)]

    def _can_reach(self, address: Address) -> bool:
        return can_reach(self._bound, address, stays_here=self.stays_here)


def _address(host: str, port: int) -> Address | None:
    bare, _, scope = host.partition("%")
    try:
        ip_address(bare)
    except ValueError:
        return None
    return address_of((bare, port, 0, int(scope)) if scope.isascii() and scope.isdigit() else (bare, port))


def can_reach(bound: str, address: Address, *, stays_here: bool) -> bool:
    """True if a node that listens on ``bound`` can send there, and whoever it hears could mean that address.

    A node that hears this machine alone is told of loopback addresses alone, and any other is told of none: they would
    be its own.
    """
    bare, _, scope = address.host.partition("%")
    ip = ip_address(bare)
    if ip.is_multicast or ip.is_unspecified or bare == "255.255.255.255" or ip.is_loopback != stays_here:
        return False
    if ip.version == 6 and ip.is_link_local and not scope:
        return False
    family = families_from(bound)
    return family == socket.AF_UNSPEC or (family == socket.AF_INET6) == (ip.version == 6)


# ---- the service


class Listening(Protocol):
    """Multicast DNS under way."""

    @property
    def complete(self) -> bool:
        """True if multicast DNS works on every interface where it should."""

    def repeat(self) -> None:
        """Announce once more. Never blocks."""

    def close(self) -> None:
        """Take the announcement back. May block for a moment."""


Start: TypeAlias = Callable[[Announcement, Place, Callable[[Sighting], None]], Listening]
"""Announces, and reports what is heard from any thread. May block; raises OSError."""


def start_mdns(announcement: Announcement, place: Place, report: Callable[[Sighting], None]) -> Listening:
    """The real one. Imported here, in a worker thread, and only if needed: it takes time and memory."""
    from .mdns import Mdns

    return Mdns(announcement, place, report)


class Discovery:
    """Announces a node, and hands those who are found to the seed book."""

    def __init__(
        self,
        card: Card,
        address: Address,
        advertise: Address | None,
        book: SeedBook,
        present: Callable[[], set[str]],
        log: Any,
        *,
        start: Start = start_mdns,
        look: Callable[[str], Place] = lambda bound: place_of(bound, list_interfaces()),
    ) -> None:
        """``address`` is what the node is bound to, ``advertise`` what it is to be called by, ``present`` tells the
        ids of the members that are there, ``look`` where we are now, from a worker thread.
        """
        self._card = card
        self._address = address
        self._advertise = advertise
        self._book = book
        self._present = present
        self._log = log
        self._start = start
        self._look = look
        self._neighbourhood = Neighbourhood(card, address.host)
        self._unheard: deque[Sighting] = deque(maxlen=MAX_UNHEARD)
        self._woken = trio.Event()
        self._listening: Listening | None = None
        self._announced: tuple[Announcement, Place] | None = None
        self._has_found = False
        self._starts = 0
        self._trouble: str | None = None
        self._strangers_from = -inf
        """When a log line may tell of a neighbour of another cluster again."""

    @trio.lowlevel.enable_ki_protection
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; then take back the announcement."""
        self._token = trio.lowlevel.current_trio_token()
        task_status.started()
        try:
            while True:
                await self._settle()
                self._repeat()
                with trio.move_on_after(LOOK_INTERVAL):
                    while True:
                        with trio.move_on_after(REVIEW_INTERVAL):
                            await self._woken.wait()
                        self._hear()
        finally:
            with trio.CancelScope(shield=True):
                await self._close()

    # ---- saying

    async def _settle(self) -> None:
        """Announce where we are now, if that is not what was announced. Trouble is told once, and tried again."""
        try:
            place = await trio.to_thread.run_sync(self._look, self._address.host)
            announcement = self._announcement(place)
            if (announcement, place) != self._announced:
                self._starts = 0
            elif self._starts == MAX_STARTS or (self._listening is not None and self._listening.complete):
                return
            await self._close()
            if not place.speaks_on:
                raise OSError(f"no network interface has the address {self._address.host}")
            self._starts += 1
            self._neighbourhood.stays_here = place.stays_here
            self._announced = announcement, place
            self._listening = await trio.to_thread.run_sync(self._start, announcement, place, self._report)
        except OSError as error:
            self._announced = None
            self._note_trouble(error.strerror or str(error))
            return
        self._trouble = None
        if self._starts == 1:
            self._tell_of(announcement, place)

    def _tell_of(self, announcement: Announcement, place: Place) -> None:
        self._log.info(
            DISCOVERY_STARTED,
            cluster=self._card.cluster,
            announces=" ".join(str(Address(host, announcement.port)) for host in announcement.hosts),
            heard_on="this machine only" if place.stays_here else "the local network",
        )

    def _repeat(self) -> None:
        if self._listening is not None and random.random() * (1 + len(self._present())) < 1:
            self._listening.repeat()

    def _announcement(self, place: Place) -> Announcement:
        if self._advertise is None:
            return Announcement(self._card, place.addresses, self._address.port)
        return Announcement(self._card, (self._advertise.host,), self._advertise.port)

    def _note_trouble(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._log.warning(DISCOVERY_FAILED, error=trouble, instead="others are found by --join only")

    async def _close(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            await trio.to_thread.run_sync(listening.close)

    # ---- hearing

    def _report(self, sighting: Sighting) -> None:
        """Take a sighting from the thread of multicast DNS, and wake this task."""
        self._unheard.append(sighting)
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._wake, idempotent=True)

    def _wake(self) -> None:
        self._woken.set()

    def _hear(self) -> None:
        """Take in what was reported, and have those greeted that are not members, or no more."""
        self._woken = trio.Event()
        for _ in range(len(self._unheard)):
            unreadable = self._neighbourhood.hear(self._unheard.popleft())
            if unreadable is not None:
                self._tell_unreadable(unreadable)
        if len(self._neighbourhood) or self._has_found:
            wanted = self._neighbourhood.wanted(self._present())
            self._has_found = bool(wanted)
            self._book.put(self, wanted, hints=True)

    def _tell_unreadable(self, neighbour: dict[str, Any]) -> None:
        """Another cluster beside ours is usual; a node that names ours and cannot be read is not."""
        tell, now = self._log.debug, trio.current_time()
        if neighbour["cluster"] == self._card.cluster:
            tell = self._log.warning
        elif now >= self._strangers_from:
            self._strangers_from = now + STRANGERS_INTERVAL
            tell = self._log.info
        tell(NEIGHBOUR_UNREADABLE, **neighbour)
