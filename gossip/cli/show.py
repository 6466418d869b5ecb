"""How answers look: aligned and coloured for people, one JSON value for machines."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_STATE_COLOURS: Final = {"alive": "green", "failed": "red", "left": "dim"}
UNWRAPPED: Final = 10_000
"""Columns of output that no terminal reads: lines must not be folded there."""


def console() -> Console:
    """Where to print: colours and folding on a terminal only."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else UNWRAPPED)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """An aligned table without lines."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, no_wrap=not sys.stdout.isatty())
    for row in rows:
        table.add_row(*[_cell(cell) for cell in row])
    console().print(table)


def _cell(cell: Any) -> str:
    text = escape(printable(cell))
    colour = _STATE_COLOURS.get(text)
    return f"[{colour}]{text}[/]" if colour else text


def printable(value: Any) -> str:
    """Text as it is, without characters that would upset a terminal; anything else as JSON."""
    if isinstance(value, str):
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
    return "-" if value is None else json.dumps(value, ensure_ascii=False)


def duration(seconds: float) -> str:
    """A time span in its largest unit, such as 12s or 3h."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def count(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun."""
    return f"{number} {one if number == 1 else many or one + 's'}"
