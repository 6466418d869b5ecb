"""First act: the history is replayed, every author on the node assigned to it, one step after the other.

A step waits for nothing but the version that the step before it produced, usually on another node. So all changes are
causally ordered, as they were in the real repository, and the replicated map must end as exactly the real tree.
"""

from collections.abc import Callable, Sequence
from typing import Final

import trio

from crdts import Dot
from gossip.protocol import Statistics

from .cluster import DemoError, Worker, ask_all
from .figures import ReplayFigures, percentile, traffic, visible_after
from .history import Step

NS_PER_MS: Final = 1e6


async def replay(
    workers: Sequence[Worker], steps: Sequence[Step], tree: dict[str, str], advance: Callable[[int], None]
) -> ReplayFigures:
    """Replay ``steps`` and measure; ``advance`` is told of the changes of each. Raises `DemoError` unless every node
    ends with exactly ``tree``."""
    before = await _statistics(workers)
    start = trio.current_time()
    version = None
    for step in steps:
        edits = [(edit.path, edit.blob) for edit in step.edits]
        answer = await workers[step.author % len(workers)].ask("step", after=version, edits=edits)
        version = answer["version"]
        advance(len(edits))
    if version is not None:
        await ask_all(workers, "wait", versions=[version])
    seconds = trio.current_time() - start
    datagrams, octets = traffic(before, await _statistics(workers))
    delays = await _check_and_time(workers, tree)
    return ReplayFigures(
        steps=len(steps),
        changes=sum(len(step.edits) for step in steps),
        deletes=sum(edit.blob is None for step in steps for edit in step.edits),
        authors=len({step.author for step in steps}),
        files=len(tree),
        seconds=seconds,
        datagrams=datagrams,
        bytes=octets,
        visible_p50_ms=percentile(delays, 0.50) / NS_PER_MS,
        visible_p99_ms=percentile(delays, 0.99) / NS_PER_MS,
    )


async def _statistics(workers: Sequence[Worker]) -> list[Statistics]:
    return [Statistics(**answer["statistics"]) for answer in await ask_all(workers, "statistics")]


async def _check_and_time(workers: Sequence[Worker], tree: dict[str, str]) -> list[int]:
    """Nanoseconds from each write to the last node's seeing it; raises `DemoError` if a node holds another tree."""
    reports = await ask_all(workers, "report")
    written: dict[Dot, int] = {}
    for worker, report in zip(workers, reports, strict=True):
        wrong = {*report["files"].items()} ^ {*tree.items()}
        if wrong:
            path = min(wrong)[0]
            raise DemoError(f"node {worker.name} does not hold the expected files: {len(wrong)} differ, first {path}")
        written.update({(worker.replica_id, seq): instant for seq, instant in report["written"]})
    try:
        return visible_after(written, [report["sightings"] for report in reports])
    except LookupError as error:
        raise DemoError(str(error)) from None
