"""Runs a scenario: faults and writes on their schedule, the judge always watching, and a recording at the end."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ..faults.registry import Fault, Partition
from ..judging.census import Census
from ..judging.idle import Rest
from ..judging.oracles import Judge
from ..report.recorder import SAMPLE_EACH, Recorder
from ..report.recording import Interval, Recording, Summary
from ..scenario.operations import Write, perform
from ..scenario.scenario import Scenario
from ..world.cluster import STEP, Cluster
from ..world.node import Node

CHECK_EACH: Final = 5.0
"""Virtual seconds between two looks of the judge at every node."""
RETIRED_STEP: Final = 0.5
"""Virtual seconds between two looks at whether who was retired, or is over, has left."""
REST_WITHIN: Final = 60.0
"""Virtual seconds in which nodes come to rest after all are equal and know each other."""
MEMBERSHIP_STEP: Final = 0.5
"""Virtual seconds between two looks at whether all know who is there."""


def run_scenario(scenario: Scenario, seed: int = 0, *, on_second: Callable[[float], None] | None = None) -> Recording:
    """Run it, judge it, and return what happened. Never raises for what the nodes do: that is a failure of the run.

    ``on_second`` is called with the virtual time each second of it.
    """
    return Run(scenario, seed, on_second).finish()


@dataclass(slots=True)
class _Active:
    """A fault under way."""

    fault: Fault
    start: float
    end: Callable[[], object] | None
    over: float | None = None


@dataclass(slots=True)
class Run:
    """One run of one scenario."""

    scenario: Scenario
    seed: int
    on_second: Callable[[float], None] | None = None
    judge: Judge = field(default_factory=Judge)
    census: Census = field(init=False)
    recorder: Recorder = field(default_factory=Recorder)
    cluster: Cluster = field(init=False)
    _faults: list[_Active] = field(default_factory=list)
    _ended: float = 0.0
    _converged: float | None = None
    _rest: Rest = field(default_factory=Rest)

    def __post_init__(self) -> None:
        plan = self.scenario.concrete(self.seed)
        self.census = Census(self.judge.fail)
        self.cluster = plan.cluster(self.seed, observers=[self.judge, self.census, self.recorder])
        self.judge.watch(self.cluster)
        self.census.watch(self.cluster)
        queue = self.cluster.queue
        for fault in plan.faults:
            if fault.at <= plan.duration:
                queue.at(fault.at, self._begin, fault)
        for write in plan.writes:
            if write.at <= plan.duration:
                queue.at(write.at, self._write, write)
        queue.at(SAMPLE_EACH, self._sample)
        queue.at(CHECK_EACH, self._check)

    def finish(self) -> Recording:
        """Let it run to its end, and tell."""
        try:
            self._live()
            self._settle()
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{where.filename.rpartition('/')[2]}:{where.lineno}"
            self.judge.fail("no node ever raises", f"{type(error).__name__}: {error} ({place})")
        return self.recording()

    # ---- the schedule

    def _live(self) -> None:
        self.cluster.queue.run_until(self.scenario.duration)
        self._end_all()
        self._ended = self.cluster.queue.now

    def _begin(self, fault: Fault) -> None:
        now = self.cluster.queue.now
        active = _Active(fault, now, fault.apply(self.cluster))
        self._faults.append(active)
        if active.end is None:
            active.over = now
        elif fault.seconds:
            self.cluster.queue.at(now + fault.seconds, self._end, active)

    def _end(self, active: _Active) -> None:
        if active.end is not None:
            end, active.end = active.end, None
            active.over = self.cluster.queue.now
            end()

    def _end_all(self) -> None:
        """Lift every fault, latest first, and bring back whoever died."""
        for active in reversed(self._faults):
            self._end(active)
        self.cluster.heal()
        for node in list(self.cluster.nodes):
            if not node.up and not node.gone:
                self.cluster.restart(node.index)
        self.cluster.renew_seeds()

    def _write(self, write: Write) -> None:
        node = self._writer(write.node)
        if not node.up or node.paused or not perform(node.replica, write):
            self.recorder.refused += 1

    def _writer(self, index: int) -> Node:
        """The node of that index, or whoever has taken the place of one that went for good."""
        node = self.cluster.nodes[index % len(self.cluster.nodes)]
        running = self.cluster.running()
        return running[index % len(running)] if node.gone and running else node

    def _sample(self) -> None:
        self.recorder.sample(self.cluster)
        if self.on_second is not None:
            self.on_second(self.cluster.queue.now)
        self.cluster.queue.at(self.cluster.queue.now + SAMPLE_EACH, self._sample)

    def _check(self) -> None:
        self.judge.check()
        self.census.check()
        self.cluster.queue.at(self.cluster.queue.now + CHECK_EACH, self._check)

    # ---- the end

    def _settle(self) -> None:
        """Wait until all are equal and know each other, as long as the scenario allows."""
        cluster, bound = self.cluster, self._ended + self.scenario.settle
        while not (equal := self._is_over()) and cluster.queue.now < bound:
            cluster.run(STEP)
        self._converged = cluster.queue.now - self._ended if equal else None
        while self.judge.unretired() and cluster.queue.now < bound:
            cluster.run(RETIRED_STEP)
        while not (equal := self._is_over()) and cluster.queue.now < bound:
            cluster.run(STEP)
        for what in self.judge.unretired():
            self.judge.fail("who was retired is fenced, forgotten and closed", what)
        self.judge.check()
        if equal:
            self.judge.check_together()
        else:
            self._converged = None
            self.judge.fail("all are equal in time", f"not after {self.scenario.settle} s; {self._behind()}")
        if self.scenario.membership and not self.scenario.view:
            while (wrong := self.census.wrong()) and cluster.queue.now < bound:
                cluster.run(MEMBERSHIP_STEP)
            if wrong:
                self.judge.fail("everybody knows who is there", f"{wrong} after {self.scenario.settle} s")
        self._check_views()
        if self.scenario.rest and not self.judge.failures:
            self._come_to_rest()

    def _check_views(self) -> None:
        if apart := self.census.pieces():
            self.judge.fail("the nodes are in one piece", apart)
        # Lists that need not be whole again in the end may still lack those who were cut off, and views that have just
        # lost most of theirs are even only after many shuffles.
        undisturbed = self.scenario.view and not self.scenario.faults
        if (self.scenario.membership or undisturbed) and (uneven := self.census.uneven()):
            self.judge.fail("nobody is in too many views", uneven)
        dead = self.census.dead_links()
        if dead > self.scenario.dead_links:
            self.judge.fail(
                "views forget the dead", f"{dead:.1%} of the entries, {self.scenario.dead_links:.1%} allowed"
            )

    def _come_to_rest(self) -> None:
        """When all has been said, nodes look after each other, which is cheap, and nothing else goes on."""
        cluster, rest = self.cluster, self._rest
        bound = cluster.queue.now + REST_WITHIN
        while (restless := rest.restless(cluster)) and cluster.queue.now < bound:
            cluster.run(MEMBERSHIP_STEP)
        if restless:
            self.judge.fail("nodes come to rest", f"{restless} after {REST_WITHIN:.0f} s")
            return
        dear = "never measured"
        while dear and cluster.queue.now < bound:  # news of who has just come back takes a while
            rest.begin(cluster)
            cluster.run(self.scenario.rest)
            rest.end(cluster)
            dear = rest.dear(cluster)
        if dear:
            self.judge.fail("rest is cheap", dear)

    def _behind(self) -> str:
        """Why it is not over."""
        running = self.cluster.running()
        sizes = sorted({len(node.replica.context) for node in running})
        saving = [node.name for node in running if not node.engine.durable]
        return f"events processed: {sizes}" + (f"; not all saved at {', '.join(saving)}" if saving else "")

    def _is_over(self) -> bool:
        durable = all(node.engine.durable for node in self.cluster.running())
        return durable and self.cluster.converged()

    def recording(self) -> Recording:
        """What has happened so far."""
        cluster, recorder = self.cluster, self.recorder
        summary: Summary = recorder.summary(cluster, self._ended, self._converged, self.census, self._rest)
        return Recording(
            scenario=self.scenario.name,
            title=self.scenario.title,
            about=self.scenario.about,
            seed=self.seed,
            command="",
            duration=self._ended,
            failures=tuple(self.judge.failures),
            summary=summary,
            trace=cluster.trace(),
            writes=recorder.traces(),
            intervals=tuple(self._interval(active) for active in self._faults),
            samples=recorder.samples(),
            totals=recorder.totals(cluster),
            views=recorder.views(cluster),
        )

    def _interval(self, active: _Active) -> Interval:
        fault = active.fault
        sides: tuple[int, ...] = ()
        if isinstance(fault, Partition):
            sides = tuple(fault.side(index, len(self.cluster.nodes)) for index in range(len(self.cluster.nodes)))
        end = self.cluster.queue.now if active.over is None else active.over
        return Interval(fault.kind, active.start, end, fault.nodes(), str(fault), sides)
