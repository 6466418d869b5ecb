"""Hybrid logical clock, packed into one integer.

A stamp is (microseconds since the Unix epoch) * 4096 + counter, so comparing stamps is comparing integers, and the
next stamp is simply the larger of "now" and "last + 1" (Kulkarni et al., Logical Physical Clocks, 2014, with counter
overflow carried into the time). Stamps fit in 64 bits until the year 2112.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from .errors import InvalidValue, UnsupportedType, WrongClock

COUNTER_BITS: Final = 12
MAX_STAMP: Final = (1 << 64) - 1
END_OF_TIME: Final = (1 << 52) / 1_000_000
"""The end of what stamps can tell, in seconds since 1970: a day in September 2112."""
DEFAULT_MAX_DRIFT: Final = 60.0
"""Seconds that a remote stamp may lie ahead of our clock and still move our stamps forward."""


def stamp_at(seconds: float) -> int:
    """The first stamp of that instant, 1970 to 2112, as Unix time; raises `UnsupportedType` or `InvalidValue`."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise UnsupportedType(f"a timestamp is a number of seconds since 1970, not {type(seconds).__name__}")
    if not 0 <= seconds < END_OF_TIME:
        raise InvalidValue("a timestamp is in seconds since 1970, between 0 and 4.5e9; divide milliseconds by 1,000")
    return int(seconds * 1_000_000) << COUNTER_BITS


def seconds_of(stamp: int) -> float:
    """The instant of ``stamp`` in seconds since the Unix epoch."""
    return (stamp >> COUNTER_BITS) / 1_000_000


def date_of(seconds: float) -> str:
    """The date in UTC at ``seconds`` since 1970; the number of seconds if no calendar has that date."""
    try:
        return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds):%Y-%m-%d}"
    except (OverflowError, ValueError):
        return f"{seconds:g} s since 1970"


class HybridClock:
    """Gives stamps that always grow, and grow past every stamp seen from elsewhere that is not absurdly far ahead."""

    __slots__ = ("_last", "_max_drift", "_now", "refused")

    def __init__(self, now: Callable[[], float] = time.time, *, max_drift: float = DEFAULT_MAX_DRIFT) -> None:
        """``now`` returns seconds since the Unix epoch; ``max_drift`` is in seconds."""
        self._now = now
        self._max_drift = max_drift
        self._last = 0
        self.refused = 0
        """How many stamps were too far ahead to follow."""

    def tick(self) -> int:
        """A new stamp, larger than every one given or followed before.

        Raises `WrongClock`, and gives no stamp, while the clock is before 1970 or beyond `END_OF_TIME`.
        """
        seconds = self._now()
        if not 0 <= seconds < END_OF_TIME or self._last >= MAX_STAMP:
            raise WrongClock(
                f"the clock shows {date_of(seconds)}: last-writer-wins values take a time between 1970 and 2112. Set "
                "the system's clock"
            )
        wall = int(seconds * 1_000_000) << COUNTER_BITS
        self._last = wall if wall > self._last else self._last + 1
        return self._last

    def observe(self, stamp: int) -> bool:
        """Follow a stamp from elsewhere; return False (and count) if it is more than ``max_drift`` ahead."""
        if self.follows(stamp):
            return True
        self.refused += 1
        return False

    def follows(self, stamp: int) -> bool:
        """Like `observe`, but a stamp too far ahead is not counted.

        No stamp is followed while our own clock shows a time that `tick` refuses.
        """
        if stamp <= self._last:
            return True
        now = self._now()
        if not 0 <= now < END_OF_TIME or stamp > int((now + self._max_drift) * 1_000_000) << COUNTER_BITS:
            return False
        self._last = stamp
        return True
