"""What the benchmarks put into maps: tasks, each with a status and an owner."""

from typing import Any, Final

STATUSES: Final = ("open", "claimed", "finished", "failed")


def key(i: int) -> str:
    return f"task-{i:06d}"


def value(i: int, revision: int = 0) -> dict[str, Any]:
    """A value that many entries have; no two revisions in a row are equal."""
    return {"status": STATUSES[(i + revision) % 4], "owner": f"agent-{(i + revision) % 10}"}


def entries(count: int, first: int = 0) -> list[tuple[str, Any]]:
    """So many entries, with few different values."""
    return [(key(i), value(i)) for i in range(first, first + count)]


def distinct_entries(count: int) -> list[tuple[str, Any]]:
    """So many entries, with no value twice."""
    return [(key(i), {"title": f"Task {i} of the backlog"} | value(i)) for i in range(count)]
