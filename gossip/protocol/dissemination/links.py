"""Acknowledged links: what was pushed to a member and not confirmed yet, and what a member pushed to us.

Each datagram of news has a number, counted by its sender; sent again, it has a new one, so every receipt tells exactly
how long the way was. Receipts are cumulative: each names the last 256 numbers, so the next one covers one that is lost.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from crdts import Delta

from ..wire.messages import WINDOW, Span

INITIAL_TIMEOUT: Final = 0.1
"""Seconds until news is sent again to a member, as long as nobody has confirmed anything."""
LEAST_TIMEOUT: Final = 0.02
"""Seconds: a process may be busy for a moment, and receipts are collected."""
PATIENCE: Final = 0.1
"""Seconds up to which the timeout of a silent link doubles, unless it was longer to begin with."""
GAIN: Final = 1 / 8
DEVIATION_GAIN: Final = 1 / 4
OUTSTANDING: Final = 1024
"""Datagrams sent to one member and not confirmed at most; what comes beyond is left to digests."""
REPEATS_AT_ONCE: Final = 32
"""Datagrams sent again to one member for one timeout at most."""
TRIES: Final = 12
"""Times one datagram is sent to one member at most. With the doubling that takes about a second on a LAN."""
SILENT_AFTER: Final = 7
"""Timeouts without a word of a member until it is no relay, and hardly anything is repeated, until it is heard of."""
SILENT_OUTSTANDING: Final = 2
"""Datagrams sent to a silent member and not confirmed at most: enough to find out that it is back."""


@dataclass(slots=True)
class RoundTrip:
    """How long a receipt takes (Jacobson and Karels)."""

    mean: float = 0.0
    deviation: float = 0.0

    def sample(self, seconds: float) -> None:
        if not self.mean:
            self.mean, self.deviation = seconds, seconds / 2
            return
        self.deviation += DEVIATION_GAIN * (abs(seconds - self.mean) - self.deviation)
        self.mean += GAIN * (seconds - self.mean)

    @property
    def timeout(self) -> float:
        """Seconds after which it is probably lost."""
        return max(LEAST_TIMEOUT, self.mean + 4 * self.deviation) if self.mean else INITIAL_TIMEOUT


@dataclass(slots=True, eq=False)
class Sent:
    """News on its way to one member."""

    delta: Delta
    span: Span | None
    """Whom the member is to pass it on to."""
    number: int
    """Of the datagram that carried it last."""
    at: float
    """When that was sent."""
    waits_from: float
    """When its timeout began: later, if it was passed over when it was due."""
    earlier: list[tuple[int, float]] = field(default_factory=list)
    """The numbers it was sent under before, and when; a receipt may still come for them."""

    @property
    def tries(self) -> int:
        return 1 + len(self.earlier)


class Link:
    """What is under way to one member."""

    def __init__(self, rtt: RoundTrip) -> None:
        """``rtt`` is what to expect before it has confirmed anything."""
        self.rtt = RoundTrip(rtt.mean, rtt.deviation)
        self._sent: dict[int, Sent] = {}
        self._earlier: dict[int, Sent] = {}
        """By the numbers of earlier tries."""
        self._timeouts = 0
        self.unheard = 0
        """Timeouts since there was any word of the member."""

    def __len__(self) -> int:
        """How much is under way."""
        return len(self._sent)

    @property
    def is_silent(self) -> bool:
        """True if there has been no word of the member for so long that sending to it is of no use."""
        return self.unheard >= SILENT_AFTER

    @property
    def is_full(self) -> bool:
        return len(self._sent) >= (SILENT_OUTSTANDING if self.is_silent else OUTSTANDING)

    @property
    def timeout(self) -> float:
        """Seconds, doubled for each timeout in a row."""
        expected = self.rtt.timeout
        return min(expected * (1 << min(self._timeouts, TRIES)), max(expected, PATIENCE))

    @property
    def due(self) -> float:
        """When the oldest of what is under way counts as lost."""
        oldest: float = min((sent.waits_from for sent in self._sent.values()), default=float("inf"))
        return oldest + self.timeout

    def put(self, sent: Sent) -> None:
        """It was sent."""
        self._sent[sent.number] = sent

    def confirm(self, now: float, highest: int, mask: bytes) -> float | None:
        """The member has these. Returns the seconds that took, if the newest of them was under way till now.

        The others say nothing of the way: a receipt of theirs may have been lost.
        """
        seconds: float | None = None
        for number in numbers_of(highest, mask):
            sent = self._sent.get(number) or self._earlier.get(number)
            if sent is None:
                continue
            if number == highest:
                seconds = max(0.0, now - (sent.at if number == sent.number else dict(sent.earlier)[number]))
                self.rtt.sample(seconds)
            self.drop(sent)
            self._timeouts = 0
        return seconds

    def heard(self) -> bool:
        """Any word of the member; returns whether it had been silent."""
        was_silent, self.unheard = self.is_silent, 0
        return was_silent

    def expire(self, now: float) -> list[Sent]:
        """What is due to be sent again, the oldest first; it counts as a timeout of the link."""
        timeout = self.timeout
        late = [sent for sent in self._sent.values() if sent.waits_from + timeout <= now]
        if late:
            self._timeouts += 1
            self.unheard += 1
        return late[:REPEATS_AT_ONCE]

    def repeat(self, sent: Sent, number: int, now: float) -> None:
        """It is sent again under another number."""
        self._earlier[sent.number] = self._sent.pop(sent.number)
        sent.earlier.append((sent.number, sent.at))
        sent.number, sent.at, sent.waits_from = number, now, now
        self._sent[number] = sent

    def drop(self, sent: Sent) -> None:
        """It has arrived, or is left to digests."""
        self._sent.pop(sent.number, None)
        for number, _ in sent.earlier:
            self._earlier.pop(number, None)

    def drop_beyond(self, limit: int) -> list[Sent]:
        """Leave all but the oldest to digests; returns them."""
        rest = list(self._sent.values())[limit:]
        for sent in rest:
            self.drop(sent)
        return rest


class Arrivals:
    """What one life of a member has pushed to us, as far as it needs to hear of it."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.highest = 0
        self.mask = 0
        """Bit i: the number ``highest - 1 - i`` has arrived."""
        self.unconfirmed = 0
        """Arrivals since the last receipt."""
        self.saved = 0
        """Our disk has all of its own writes up to this seq."""

    def add(self, number: int) -> None:
        """A datagram of that number has arrived. One that is older than the window is not remembered."""
        self.unconfirmed += 1
        ahead = number - self.highest
        if ahead > 0:
            seen = (self.mask << 1 | 1) if self.highest else 0
            self.mask = (seen << (ahead - 1)) & ((1 << WINDOW) - 1) if ahead <= WINDOW else 0
            self.highest = number
        elif -WINDOW <= ahead < 0:
            self.mask |= 1 << (-ahead - 1)

    def mask_bytes(self) -> bytes:
        return self.mask.to_bytes((self.mask.bit_length() + 7) // 8, "little")


def numbers_of(highest: int, mask: bytes) -> Iterator[int]:
    """The numbers that a receipt names, the highest first."""
    yield highest
    bits = int.from_bytes(mask, "little")
    while bits:
        lowest = bits & -bits
        yield highest - lowest.bit_length()
        bits ^= lowest
