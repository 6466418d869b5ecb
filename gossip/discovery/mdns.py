"""Multicast DNS: says on the local network where a node is, and hears where others are. In a thread of its own.

Everything here is called from a worker thread and may block for a moment; what is heard is reported from the library's
thread. The library is imported with this module, which only a node that looks for others does: it takes memory.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, Final

from zeroconf import Error, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo

from ..runtime.addresses import is_loopback
from .announcement import Announcement, Lost, Seen, Sighting
from .interfaces import Place

SERVICE: Final = "_gossip-crdts._udp.local."
PATIENCE: Final = 5.0
"""Seconds that the library's thread may take for what it does at once, on a machine under load."""
LOOKUP_MILLISECONDS: Final = 3_000
"""How long the rest of an announcement is asked for that came in pieces."""
MAX_LOOKUPS: Final = 64
"""Neighbours asked about at once; beyond it an announcement is passed over, and heard when it is next repeated."""

# Its warnings are for applications that configured logging, and not for the standard error of those that did not.
logging.getLogger("zeroconf").addHandler(logging.NullHandler())


class Mdns:
    """One announcement, and what is heard of others, until closed."""

    def __init__(self, announcement: Announcement, place: Place, report: Callable[[Sighting], None]) -> None:
        """Announce, and start to listen. Raises OSError if the network does not allow it.

        No name has to be probed for, as nobody else has the same: a node's id is in it. So others hear of the node
        within milliseconds.
        """
        self._report = report
        self._wanted = len(place.speaks_on)
        self._lookups: set[asyncio.Task[None]] = set()
        try:
            self._zeroconf = (_Confined if place.stays_here else Zeroconf)(interfaces=list(place.speaks_on))
        except (Error, RuntimeError) as error:
            raise OSError(f"multicast DNS does not start: {error or type(error).__name__}") from error
        try:
            self._call(self._start(announcement))
        except BaseException:
            self.close()
            raise

    @property
    def complete(self) -> bool:
        """True if multicast works wherever it should: an IPv6 address takes a second or two until it can be used."""
        return len(self._zeroconf.engine.senders) >= self._wanted

    def close(self) -> None:
        """Take back the announcement, and stop."""
        with suppress(OSError):
            self._call(self._stop())
        with suppress(Error, RuntimeError, TimeoutError):
            self._zeroconf.close()

    def repeat(self) -> None:
        """Announce once more. Never blocks."""
        with suppress(RuntimeError):  # the thread has ended
            assert self._zeroconf.loop is not None
            self._zeroconf.loop.call_soon_threadsafe(self._broadcast)

    def _call(self, work: Any) -> None:
        """Run a coroutine in the library's thread."""
        assert self._zeroconf.loop is not None
        try:
            asyncio.run_coroutine_threadsafe(work, self._zeroconf.loop).result(PATIENCE)
        except (Error, RuntimeError, TimeoutError, CancelledError) as error:
            raise OSError(f"multicast DNS does not work: {error or type(error).__name__}") from error

    # ---- in the library's thread

    async def _start(self, announcement: Announcement) -> None:
        await self._zeroconf.async_wait_for_start()
        self._browser = AsyncServiceBrowser(self._zeroconf, SERVICE, handlers=[self._on_change])
        self._info = AsyncServiceInfo(
            SERVICE,
            f"{announcement.card.node_id}.{SERVICE}",
            port=announcement.port,
            properties=announcement.card.text(),
            server=f"gossip-{announcement.card.node_id}.local.",
            parsed_addresses=list(announcement.hosts),
        )
        await self._zeroconf.async_register_service(self._info, cooperating_responders=True)

    def _broadcast(self) -> None:
        self._zeroconf.async_send(self._zeroconf.generate_service_broadcast(self._info, None))

    async def _stop(self) -> None:
        """Say goodbye once: who misses it finds out as with any node that is gone."""
        for lookup in self._lookups:
            lookup.cancel()
        goodbye = self._zeroconf.generate_unregister_all_services()
        if goodbye is not None:
            self._zeroconf.async_send(goodbye)
        if hasattr(self, "_browser"):
            await self._browser.async_cancel()

    def _on_change(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is ServiceStateChange.Removed:
            self._report(Lost(_instance(name)))
        elif len(self._lookups) < MAX_LOOKUPS:
            lookup = asyncio.get_running_loop().create_task(self._look_up(zeroconf, service_type, name))
            self._lookups.add(lookup)
            lookup.add_done_callback(self._lookups.discard)

    async def _look_up(self, zeroconf: Zeroconf, service_type: str, name: str) -> None:
        """Everything about an instance, most often from the datagram that announced it."""
        with suppress(Error, ValueError):  # a name or a record that cannot be
            info = AsyncServiceInfo(service_type, name)
            if await info.async_request(zeroconf, LOOKUP_MILLISECONDS):
                self._report(Seen(_instance(name), info.properties, info.port or 0, info.parsed_scoped_addresses()))


def _instance(name: str) -> str:
    return name.removesuffix(f".{SERVICE}")


class _Confined(Zeroconf):
    """Answers nobody but this machine.

    Its socket hears the whole network, as it is bound to no address; what it multicasts stays on loopback, and what it
    would send to one asker must as well.
    """

    def async_send(self, out: Any, addr: str | None = None, *args: Any, **kwargs: Any) -> None:
        if addr is None or is_loopback(addr):
            super().async_send(out, addr, *args, **kwargs)
