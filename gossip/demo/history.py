"""The history that is replayed: real steps by real authors. Where it comes from is told in data/README.md."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby


@dataclass(frozen=True, slots=True)
class Edit:
    """One file changed, or deleted if ``blob`` is None."""

    path: str
    blob: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """What one author changed at once."""

    number: int
    author: int
    edits: tuple[Edit, ...]


def load_history() -> list[Step]:
    """All steps, in order."""
    return parse_history(_lines("history.tsv"))


def load_final_tree() -> dict[str, str]:
    """The files at the end of the history, as path to blob id."""
    return parse_tree(_lines("history-final.tsv"))


def parse_history(lines: Iterable[str]) -> list[Step]:
    """Steps from lines of ``step, time, author, set | del, path, blob id``; raises ValueError."""
    rows = [_parse_row(place, line) for place, line in enumerate(lines, 1)]
    return [
        Step(number, author, tuple(edit for _, _, edit in group))
        for (number, author), group in groupby(rows, key=lambda row: row[:2])
    ]


def parse_tree(lines: Iterable[str]) -> dict[str, str]:
    """A tree from lines of ``path, blob id``; raises ValueError."""
    rows = (line.split("\t") for line in lines)
    return {path: blob for path, blob in rows}  # noqa: C416  # checks that each row has two fields


def tree_after(steps: Iterable[Step]) -> dict[str, str]:
    """The files that are there after ``steps``, by the plainest means: one dict, one writer."""
    tree: dict[str, str] = {}
    for step in steps:
        for edit in step.edits:
            if edit.blob is None:
                tree.pop(edit.path, None)
            else:
                tree[edit.path] = edit.blob
    return tree


def _parse_row(place: int, line: str) -> tuple[int, int, Edit]:
    try:
        number, _time, author, verb, path, blob = line.split("\t")
        if verb not in ("set", "del") or (verb == "del") != (blob == ""):
            raise ValueError(f"neither a set nor a del: {line!r}")
        return int(number), int(author), Edit(path, blob or None)
    except ValueError as error:
        raise ValueError(f"line {place} of the history: {error}") from None


def _lines(name: str) -> list[str]:
    return (files(__package__) / "data" / name).read_text("utf-8").splitlines()
