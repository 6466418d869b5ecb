"""What a sweep keeps of each run: small enough to be sent from one process to another, thousands of times."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..judging.oracles import Failure
from ..report.recording import Recording, Spread, Summary
from ..scenario.scenario import Scenario
from .runner import run_scenario


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict on one seed."""

    seed: int
    failures: tuple[Failure, ...] = ()
    summary: Summary | None = None
    """None if the run has no end."""
    died: str = ""
    """Why the run has no end."""

    @property
    def passed(self) -> bool:
        return not self.failures and not self.died

    @property
    def why(self) -> str:
        """What is wrong, in a few words; empty if nothing is."""
        return self.failures[0].oracle if self.failures else self.died

    def to_json(self) -> dict[str, Any]:
        """Everything, as what `json` can write."""
        return {"passed": self.passed, **asdict(self)}


def outcome_of(recording: Recording) -> Outcome:
    """What to keep of a recording."""
    return Outcome(recording.seed, recording.failures, recording.summary)


def run_seeds(scenario: Scenario, seeds: Sequence[int]) -> list[Outcome]:
    """Run a scenario once for each seed."""
    return [outcome_of(run_scenario(scenario, seed)) for seed in seeds]


@dataclass(frozen=True, slots=True)
class Tally:
    """Many runs of one scenario in numbers; the distributions are over the seeds that ran to their end."""

    seeds: int
    passed: int
    failed: int
    converged: Spread
    """Seconds from the end of the faults until all nodes were equal, where they were."""
    bytes_a_node_second: Spread
    redundancy: Spread
    missed_by_push: Spread

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> "Tally":
        passed = sum(outcome.passed for outcome in outcomes)
        found = [outcome.summary for outcome in outcomes if outcome.summary is not None]
        return cls(
            seeds=len(outcomes),
            passed=passed,
            failed=len(outcomes) - passed,
            converged=Spread.of([each.converged for each in found if each.converged is not None]),
            bytes_a_node_second=Spread.of([each.bytes_a_node_second for each in found]),
            redundancy=Spread.of([each.redundancy for each in found]),
            missed_by_push=Spread.of([each.missed_by_push for each in found]),
        )
