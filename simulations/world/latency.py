"""How long a datagram takes: four distributions, in seconds one way."""

import math
import random
from dataclasses import dataclass
from typing import Final, TypeAlias

from ..errors import ScenarioError

MAX_SIGMA: Final = 10.0
"""Of the logarithm of seconds: beyond, a delay overflows."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A delay that is always the same, so datagrams are never reordered."""

    seconds: float

    def __post_init__(self) -> None:
        _check(self.seconds, "seconds")

    def sample(self, rng: random.Random) -> float:  # noqa: ARG002  # the shape of the others
        return self.seconds


@dataclass(frozen=True, slots=True)
class Uniform:
    """Anything between two bounds alike."""

    least: float
    most: float

    def __post_init__(self) -> None:
        _check(self.least, "least")
        if not self.least <= self.most < math.inf:
            raise ScenarioError(f"latency is (least, most) in seconds, not ({self.least}, {self.most})")

    def sample(self, rng: random.Random) -> float:
        return self.least + (self.most - self.least) * rng.random()


@dataclass(frozen=True, slots=True)
class LogNormal:
    """A long tail, as on the internet: half take less than ``median``, one in six more than ``median * e**sigma``."""

    median: float
    sigma: float = 0.5

    def __post_init__(self) -> None:
        _check(self.median, "median")
        _check(self.sigma, "sigma")
        if self.sigma > MAX_SIGMA:
            raise ScenarioError(f"a latency's sigma is at most {MAX_SIGMA:g}, not {self.sigma}")

    def sample(self, rng: random.Random) -> float:
        return self.median * math.exp(self.sigma * rng.gauss(0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Table:
    """As measured: the values of equally likely quantiles, in order, with straight lines in between."""

    seconds: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.seconds) < 2 or list(self.seconds) != sorted(self.seconds):
            raise ScenarioError(f"a table of latencies is two or more seconds in growing order, not {self.seconds}")
        for value in self.seconds:
            _check(value, "value in a table")

    def sample(self, rng: random.Random) -> float:
        at = rng.random() * (len(self.seconds) - 1)
        low = int(at)
        return self.seconds[low] + (at - low) * (self.seconds[low + 1] - self.seconds[low])


@dataclass(frozen=True, slots=True)
class Sum:
    """Several stretches of a way, one after the other."""

    parts: "tuple[Latency, ...]"

    def sample(self, rng: random.Random) -> float:
        return sum(part.sample(rng) for part in self.parts)


Latency: TypeAlias = Constant | Uniform | LogNormal | Table | Sum


def _check(value: float, name: str) -> None:
    if not 0 <= value < math.inf:
        raise ScenarioError(f"a latency's {name} is at least 0 and finite, not {value}")
