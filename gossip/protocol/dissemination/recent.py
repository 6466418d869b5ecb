"""What was pushed a moment ago, and who was met a moment ago: push and meetings may have missed each other."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from crdts import Event

from ..membership.peers import Peer

BATCHES_KEPT: Final = 512
"""Batches of events under way that are remembered at most; what was pushed before counts as everywhere."""
MEETING: Final = 5.0
"""Seconds that the members of a forming cluster, or a newcomer, take to meet: our writes of so long ago are brought to
whoever is met."""
BROUGHT_BYTES: Final = 4096
"""Of these writes, the latest, as far as they take so much; a digest finds the rest."""
STRANGE: Final = 1.0
"""Seconds for which other members may not know yet a member that was just met: it gets our writes from us, too."""
STRANGE_MEMBERS: Final = 32
"""Members that get our writes for that reason at most, the latest met. The others wait for relays and digests."""


class Recent:
    """The events that push brought or took lately, the latest last."""

    __slots__ = ("_batches",)

    def __init__(self) -> None:
        self._batches: deque[tuple[float, Sequence[Event]]] = deque(maxlen=BATCHES_KEPT)

    def note(self, now: float, events: Sequence[Event]) -> None:
        """These are on their way since now."""
        if events:
            self._batches.append((now, events))

    def forget(self) -> None:
        """Some of these were not sent after all."""
        self._batches.clear()

    def since(self, when: float) -> Iterator[Event]:
        """Those that were noted later."""
        for noted, events in reversed(self._batches):
            if noted <= when:
                break
            yield from events


class Written:
    """Our own latest writes, for those that were not there when they were pushed."""

    __slots__ = ("_batches", "_bytes")

    def __init__(self) -> None:
        self._batches: deque[tuple[float, Sequence[Event], int]] = deque()
        self._bytes = 0

    def note(self, now: float, events: Sequence[Event], size: int) -> None:
        """These, of so many bytes, are saved, and pushed to all that we know."""
        self._batches.append((now, events, size))
        self._bytes += size
        self._drop(now)

    def _drop(self, now: float) -> None:
        while self._batches and (self._bytes > BROUGHT_BYTES or self._batches[0][0] < now - MEETING):
            self._bytes -= self._batches.popleft()[2]

    def latest(self, now: float) -> list[Event]:
        """Those that are still news to whoever is met now."""
        self._drop(now)
        return [event for _, events, _ in self._batches for event in events]


class Newcomers:
    """The members that were just met. A relay that does not list them would leave them out."""

    __slots__ = ("_met",)

    def __init__(self) -> None:
        self._met: deque[tuple[float, Peer]] = deque(maxlen=STRANGE_MEMBERS)

    def note(self, now: float, peer: Peer) -> None:
        """We list this member since now."""
        self._met.append((now, peer))

    def present(self, now: float) -> list[Peer]:
        """Those of them that other members may not know yet, each once."""
        while self._met and self._met[0][0] < now - STRANGE:
            self._met.popleft()
        return [*dict.fromkeys(peer for _, peer in self._met if peer.is_present)]
