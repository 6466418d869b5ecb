"""Verbs that read and write shared objects."""

import time
from pathlib import Path
from typing import Any

import click

from crdts.replica import TYPES

from .client import ask, follow
from .options import parse_value, value_option, verb_options
from .show import console, count, print_json, print_table, printable


@click.command()
@verb_options
def ls(data_dir: Path, as_json: bool) -> None:
    """List the shared objects."""
    found = ask(data_dir, "ls")
    if as_json:
        print_json(found)
    elif found:
        rows = [
            (o["type"], o["name"], o["value"] if o["size"] is None else count(o["size"], "entry", "entries"))
            for o in found
        ]
        print_table(("TYPE", "NAME", "CONTENT"), rows)
    else:
        console().print("nothing shared yet")


@click.command()
@click.argument("name")
@click.option("--type", "kind", type=click.Choice(list(TYPES)), help="Only the object of this type.")
@verb_options
def get(name: str, kind: str | None, data_dir: Path, as_json: bool) -> None:
    """Print the object NAME; all of them, if several types share the name."""
    found = ask(data_dir, "get", name=name, type=kind)
    if as_json:
        print_json(found)
        return
    for held in found:
        if len(found) > 1:
            console().print(f"{held['type']} {printable(name)}:", markup=False, style="bold")
        _print_value(held["value"])


def _print_value(value: Any) -> None:
    if isinstance(value, dict):
        print_table(("KEY", "VALUE"), sorted(value.items()))
    elif isinstance(value, list):
        for element in sorted(value, key=lambda e: (type(e).__name__, str(e))):
            console().print(printable(element), markup=False)
    else:
        console().print(printable(value), markup=False)


@click.command()
@click.argument("name", required=False)
@verb_options
def watch(name: str | None, data_dir: Path, as_json: bool) -> None:
    """Print every change as it happens, of all objects or of those called NAME; Ctrl-C ends it."""
    for change in follow(data_dir, "watch", name=name):
        if as_json:
            print_json(change)
            continue
        key = "" if change["kind"] in ("register", "mvregister", "counter", "gcounter") else f" {_key(change)}"
        now = "deleted" if change.get("deleted") else printable(change["now"])
        clock = time.strftime("%H:%M:%S")
        line = f"{clock} {change['kind']} {printable(change['name'])}{key} = {now}  (by {printable(change['writer'])})"
        console().print(line, markup=False, soft_wrap=True)


def _key(change: dict[str, Any]) -> str:
    return printable(change["key"])


@click.group()
def orset() -> None:
    """Change a set: additions win over removals that had not seen them."""


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
        console().print(text, markup=False)


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
@click.argument("by", type=click.IntRange(0), default=1)
@verb_options
def inc(name: str, by: int, data_dir: Path, as_json: bool) -> None:
    """Add BY (1 if not given) to the counter NAME."""
    _move("inc", name, by, data_dir, as_json)


@counter.command()
@click.argument("name")
@click.argument("by", type=click.IntRange(0), default=1)
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
