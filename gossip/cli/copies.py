"""Verbs that carry a node's data elsewhere: whole as a backup, or as a document that people can read."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import BinaryIO, Final, TypeVar

import click

from crdts import Replica
from gossip.control.document import DocumentError, Item, document_of, items_in, read_document
from gossip.control.porting import Outcome, cut, parts_of, size_of, write_items
from gossip.control.server import MAX_REQUEST_BYTES
from gossip.protocol.errors import ConfigError, DataDirInUse
from gossip.storage.backup import back_up_closed, restore_into, written_beside
from gossip.storage.files import DATABASE_FILE, why
from gossip.storage.sqlite import failures

from .client import NodeUnreachable, ask, follow
from .options import data_option, data_type, document_type, file_type, verb_options
from .show import count, json_text, print_json, print_line, size_text

MAX_DOCUMENT_BYTES: Final = 1 << 30
"""What an import reads at most: it is held in memory, several times over."""
REQUEST_ROOM: Final = 4096
"""Bytes of a request around the items in it."""

_T = TypeVar("_T")

force_option = click.option("--force", is_flag=True, help="Replace FILE if it is there.")


# ---- whole


@click.command()
@click.argument("file", type=file_type)
@force_option
@verb_options
def backup(file: Path, force: bool, data_dir: Path, as_json: bool) -> None:
    """Copy all data of the node into FILE, for `gossip restore`.

    While the node runs, which it does not hold up, or after it has stopped. FILE is whole, or not there; it is for this
    user only, and holds nothing of the node's identity and no key. While the node's disk fails there is no backup:
    `gossip export` writes down what it has in memory. FILE is none of the node's own files, even with --force.
    """
    _check_is_new(file, force=force)
    file = file.absolute()
    size = _back_up(file, data_dir, force=force)
    if as_json:
        print_json({"path": str(file), "bytes": size})
    else:
        print_line(f"{file} has all data, {size_text(size)}")


def _check_is_new(file: Path, *, force: bool) -> None:
    if file.exists() and not force:
        raise ConfigError(f"{file} exists; name a new file, or use --force to replace it")


def _back_up(file: Path, data_dir: Path, *, force: bool) -> int:
    """Have the running node do it, or do it here if nobody runs there; returns the bytes."""
    has_data = (data_dir / DATABASE_FILE).exists()
    if has_data:
        try:
            return back_up_closed(data_dir, file, replace=force)
        except DataDirInUse:
            pass
    try:
        answer = _first(follow(data_dir, "backup", path=str(file), force=force), data_dir)  # however long it takes
    except NodeUnreachable:
        if has_data:
            raise
        raise ConfigError(f"there is no node's data in {data_dir}; name another directory with --data") from None
    return int(answer["bytes"])


@click.command()
@click.argument("file", type=file_type)
@click.option(
    "--data",
    "data_dir",
    type=data_type,
    required=True,
    metavar="DIR",
    help="The data directory to make: a new one, or an empty one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def restore(file: Path, data_dir: Path, as_json: bool) -> None:
    """Make a data directory of FILE, which `gossip backup` has made.

    All of FILE is read and checked first. The node that is then started there is a new one, with all the data: what
    others have written since comes from them, and what they have deleted since goes again.
    """
    restored = restore_into(file, data_dir)
    if as_json:
        print_json(asdict(restored) | {"data": str(data_dir)})
    else:
        what = f"{count(restored.objects, 'object')}, {count(restored.entries, 'entry', 'entries')}"
        print_line(f"{data_dir} has {what}; start a node there with `gossip run --data {quote(str(data_dir))}`")


# ---- as a document


@click.command()
@click.argument("file", default="-", type=document_type)
@click.option("--json", "as_json", is_flag=True, help="On one line, for programs.")
@force_option
@data_option
def export(file: Path, as_json: bool, force: bool, data_dir: Path) -> None:
    """Write all shared objects as JSON to FILE.

    Those of the running node, to standard output if there is no FILE: by type and name, with what is read there now;
    `gossip import` reads it back. Where no node runs, start one first: only a running node can do it. The node goes on
    meanwhile: a large document holds different parts as of different moments. `gossip backup` makes a copy of one
    moment.
    """
    if str(file) != "-":
        _check_is_new(file, force=force)
    document = document_of(_exported(data_dir))
    text = json_text(document, indent=None if as_json else 2) + "\n"
    if str(file) == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())  # whatever the terminal's encoding is
        sys.stdout.buffer.flush()
        return
    fresh_file = written_beside(file.absolute(), data_dir.absolute(), replace=force)
    with fresh_file as fresh, failures(f"{file} cannot be written"):
        fresh.write_bytes(text.encode())


def _exported(data_dir: Path) -> Iterator[Item]:
    for answer in follow(data_dir, "export"):  # ends with an error if the node does
        if "end" in answer:
            return
        for path, kind, name, content in answer["items"]:
            yield Item(tuple(path), kind, name, content)


@click.command(name="import")
@click.argument("file", type=document_type)
@click.option("--add", is_flag=True, help="Add the values of counters to those that count something already.")
@verb_options
def import_(file: Path, add: bool, data_dir: Path, as_json: bool) -> None:
    """Write what is in the document FILE into the running node.

    FILE is what `gossip export` writes, or - for standard input. All of it becomes new writes, over what is there:
    elements are added to sets, keys set in maps and registers written where they
    differ, flags switched. Nothing is removed. A counter gets its value only where it is at 0: elsewhere it is left
    alone and named, as nobody can tell whether it counts the same things; --add adds it. The document is checked as a
    whole before anything is written. Importing it twice changes nothing, but with --add.
    """
    with _errors_of(file):
        items = list(items_in(read_document(_read(file))))
        write_items(Replica("check"), items, add=True)  # whatever is wrong with it is found here
        parts = _parts_of(items)
    total = _import(parts, data_dir, add=add)
    if as_json:
        print_json(asdict(total))
        return
    print_line(f"{count(total.changed, 'change')}; {count(total.unchanged, 'entry', 'entries')} as before")
    for name in total.left:
        print_line(f"left alone, because it counts something else: {name} (--add adds to it)")


@contextmanager
def _errors_of(file: Path) -> Iterator[None]:
    """Say which document is wrong."""
    name = "standard input" if str(file) == "-" else str(file)
    try:
        yield
    except FileNotFoundError as error:
        raise ConfigError(f"{name}: {why(error, mend='name a document that `gossip export` has made')}") from None
    except DocumentError as error:
        raise DocumentError(f"{name}: {error}") from None


def _parts_of(items: Iterable[Item]) -> list[list[Item]]:
    """What one request takes each; raises `DocumentError` for one that takes too much."""
    parts = list(parts_of(cut(items)))
    for part in parts:
        if size_of(part) > MAX_REQUEST_BYTES - REQUEST_ROOM:
            raise DocumentError(f"{part[0].where} takes more than {MAX_REQUEST_BYTES >> 20} MiB of JSON in one piece")
    return parts


def _import(parts: Iterable[list[Item]], data_dir: Path, *, add: bool) -> Outcome:
    total = Outcome()
    for part in parts:
        done = Outcome(**ask(data_dir, "import", items=part, add=add))
        total.changed += done.changed
        total.unchanged += done.unchanged
        total.left += done.left
    return total


def _read(file: Path) -> bytes:
    if str(file) == "-":
        return _bounded(sys.stdin.buffer)
    if file.is_char_device() or file.is_block_device():
        raise ConfigError(f"{file} is a device; name a file, or - for standard input")
    with open(file, "rb") as source:
        return _bounded(source)


def _bounded(source: BinaryIO) -> bytes:
    text = source.read(MAX_DOCUMENT_BYTES + 1)
    if len(text) > MAX_DOCUMENT_BYTES:
        raise DocumentError(f"a document may take {MAX_DOCUMENT_BYTES >> 30} GiB; use `gossip backup` for more")
    return text


def _first(answers: Iterator[_T], data_dir: Path) -> _T:
    for answer in answers:
        return answer
    raise NodeUnreachable(f"the node on {data_dir} stopped before it answered; its log says why")
