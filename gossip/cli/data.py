"""Verbs that read and write shared objects."""

import time
from pathlib import Path
from typing import Any, Final

import click

from crdts.embedding import MAX_INT, TYPES, told_apart

from .client import ask, follow
from .options import parse_value, value_option, verb_options
from .show import count, print_json, print_line, print_table, printable, shortened

BRIEF_CHARACTERS: Final = 60
"""Of a value in a list of objects; `get` prints all of it."""


@click.command()
@verb_options
def ls(data_dir: Path, as_json: bool) -> None:
    """List the shared objects."""
    found = ask(data_dir, "ls")
    if as_json:
        print_json(found)
    elif found:
        rows = [
            (
                o["type"],
                told_apart(o["name"]),
                count(o["size"], "entry", "entries") if o["size"] is not None else _brief(o["value"]),
            )
            for o in found
        ]
        print_table(("TYPE", "NAME", "CONTENT"), rows)
    else:
        print_line("nothing shared yet")


def _brief(value: Any) -> str:
    return shortened(printable(value), BRIEF_CHARACTERS)


@click.command()
@click.argument("name")
@click.option(
    "--type",
    "kind",
    type=click.Choice(list(TYPES)),
    metavar="TYPE",
    help=f"Only the object of this type: {', '.join(TYPES)}.",
)
@verb_options
def get(name: str, kind: str | None, data_dir: Path, as_json: bool) -> None:
    """Print the object NAME.

    If several types share the name, all of them are printed.
    """
    found = ask(data_dir, "get", name=name, type=kind)
    if as_json:
        print_json(found)
        return
    for held in found:
        if len(found) > 1:
            print_line(f"{held['type']} {printable(told_apart(held['name']))}:", style="bold")
        _print_value(held["type"], held["value"])


def _print_value(kind: str, value: Any) -> None:
    match kind:
        case "lwwmap":
            print_table(("KEY", "VALUE"), sorted(value.items()))
        case "gset" | "orset" | "rwset":
            for element in sorted(value, key=lambda e: (type(e).__name__, str(e))):
                print_line(printable(element))
        case "mvregister":
            for concurrent in value:
                print_line(printable(concurrent))
        case _:
            print_line(printable(value))


@click.command()
@click.argument("name", required=False)
@verb_options
def watch(name: str | None, data_dir: Path, as_json: bool) -> None:
    """Print every change as it happens.

    Of all objects, or of those called NAME; Ctrl-C ends it.
    """
    for change in follow(data_dir, "watch", name=name):
        if as_json:
            print_json(change)
            continue
        keyed = change["kind"] in ("gset", "orset", "rwset", "lwwmap")
        names = "/".join(map(told_apart, change["path"][:-1] if keyed else change["path"]))
        key = f" {printable(change['key'])}" if keyed else ""
        now = "deleted" if change.get("deleted") else printable(change["now"])
        clock = time.strftime("%H:%M:%S")
        line = f"{clock} {change['kind']} {printable(names)}{key} = {now}  (by {printable(change['writer'])})"
        print_line(line)


@click.group()
def orset() -> None:
    """Change a set.

    Additions win over removals that had not seen them.
    """


@click.group()
def counter() -> None:
    """Change a counter that goes up and down."""


@click.group()
def register() -> None:
    """Change a last-writer-wins register."""


@click.group(name="map")
def map_() -> None:
    """Change a last-writer-wins map."""


def _report(answer: dict[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        print_line(text)


@orset.command()
@click.argument("name")
@click.argument("value")
@value_option
@verb_options
def add(name: str, value: str, parse: bool, data_dir: Path, as_json: bool) -> None:
    """Add VALUE to the set NAME."""
    answer = ask(data_dir, "orset", op="add", name=name, value=parse_value(value, parse=parse))
    _report(answer, f"{printable(name)} has {count(answer['size'], 'element')}", as_json=as_json)


@orset.command()
@click.argument("name")
@click.argument("value")
@value_option
@verb_options
def remove(name: str, value: str, parse: bool, data_dir: Path, as_json: bool) -> None:
    """Remove VALUE from the set NAME."""
    answer = ask(data_dir, "orset", op="remove", name=name, value=parse_value(value, parse=parse))
    text = f"{printable(name)} has {count(answer['size'], 'element')}" if answer["changed"] else "it was not there"
    _report(answer, text, as_json=as_json)


def _move(op: str, name: str, by: int, data_dir: Path, as_json: bool) -> None:
    answer = ask(data_dir, "counter", op=op, name=name, by=by)
    _report(answer, str(answer["value"]), as_json=as_json)


@counter.command()
@click.argument("name")
@click.argument("by", type=click.IntRange(0, MAX_INT), default=1)
@verb_options
def inc(name: str, by: int, data_dir: Path, as_json: bool) -> None:
    """Add BY (1 if not given) to the counter NAME."""
    _move("inc", name, by, data_dir, as_json)


@counter.command()
@click.argument("name")
@click.argument("by", type=click.IntRange(0, MAX_INT), default=1)
@verb_options
def dec(name: str, by: int, data_dir: Path, as_json: bool) -> None:
    """Subtract BY (1 if not given) from the counter NAME."""
    _move("dec", name, by, data_dir, as_json)


@register.command(name="set")
@click.argument("name")
@click.argument("value")
@value_option
@verb_options
def register_set(name: str, value: str, parse: bool, data_dir: Path, as_json: bool) -> None:
    """Write VALUE into the register NAME."""
    answer = ask(data_dir, "register", name=name, value=parse_value(value, parse=parse))
    _report(answer, printable(answer["value"]), as_json=as_json)


@map_.command(name="set")
@click.argument("name")
@click.argument("key")
@click.argument("value")
@value_option
@verb_options
def map_set(name: str, key: str, value: str, parse: bool, data_dir: Path, as_json: bool) -> None:
    """Write VALUE under KEY of the map NAME."""
    answer = ask(data_dir, "map", op="set", name=name, key=key, value=parse_value(value, parse=parse))
    _report(answer, f"{printable(name)} has {count(answer['size'], 'key')}", as_json=as_json)


@map_.command()
@click.argument("name")
@click.argument("key")
@verb_options
def delete(name: str, key: str, data_dir: Path, as_json: bool) -> None:
    """Remove KEY from the map NAME."""
    answer = ask(data_dir, "map", op="delete", name=name, key=key)
    text = f"{printable(name)} has {count(answer['size'], 'key')}" if answer["changed"] else "it was not there"
    _report(answer, text, as_json=as_json)
