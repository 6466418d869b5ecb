"""How answers look: aligned and coloured for people, one JSON value for machines."""

import json
import re
import sys
from collections.abc import Sequence
from typing import Any, Final

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")
STATE_COLOURS: Final = {"alive": "green", "suspect": "yellow", "failed": "red", "left": "dim"}


def console() -> Console:
    """Where to print. Colours and folding on a terminal only; values are shown as they are, without markup or emoji."""
    return Console(highlight=False, markup=False, emoji=False)


def json_text(value: Any, *, indent: int | None = None) -> str:
    """``value`` as JSON, with escapes for what could drive a terminal: controls, and marks that turn text."""
    return _ODD.sub(_json_escaped, json.dumps(value, ensure_ascii=False, indent=indent))


_ODD: Final = re.compile(r"[^\n\x20-\x7e]+")
"""Stretches of text in which a character may not be printable. Most are printable all the same, and stay."""


def _json_escaped(match: re.Match[str]) -> str:
    found = match[0]
    return found if found.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in found)


def escaped(text: str) -> str:
    """``text`` that is safe on a terminal: characters that are not printable, newlines apart, become escapes."""
    return _ODD.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    found = match[0]
    if found.isprintable():
        return found
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in found)


def print_json(value: Any) -> None:
    """One line of JSON."""
    click.echo(json_text(value))


def print_line(text: str, *, style: str | None = None) -> None:
    """One line, however long: what reads a pipe must not find it folded."""
    text = escaped(text)
    if sys.stdout.isatty():
        console().print(Text(text, style or ""), soft_wrap=True)
    else:
        click.echo(text)


def print_table(
    headings: Sequence[str], rows: Sequence[Sequence[Any]], *, styles: dict[str, str] | None = None
) -> None:
    """An aligned table without lines; ``styles`` colours cells by their text."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        _print_plain([list(headings), *cells] if any(headings) else cells)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(headings))
    for heading in headings:
        table.add_column(Text(heading), overflow="fold")
    for row in cells:
        table.add_row(*[Text(cell, (styles or {}).get(cell, "")) for cell in row])
    console().print(table)


def _print_plain(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = [cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(padded).rstrip())


def printable(value: Any) -> str:
    """Text as it is, without characters that would upset a terminal; anything else as JSON."""
    if value is None:
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return escaped(text).replace("\n", "\\n")


def shortened(text: str, limit: int) -> str:
    """The beginning of a long text, for a list."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def duration(seconds: float) -> str:
    """A time span in its largest unit, such as 12s or 3h."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def count(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def size_text(size: float) -> str:
    """A number of bytes in the unit that suits it, such as 1.5 MiB."""
    unit = 0
    while size >= 1024 and unit < len(UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} {UNITS[unit]}" if unit == 0 else f"{size:.1f} {UNITS[unit]}"
