"""Verbs about the node and its cluster."""

import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import click

from crdts.embedding import told_apart
from gossip.storage.datadir import user_of

from .client import ask
from .options import parse_tags, verb_options
from .show import STATE_COLOURS, count, duration, escaped, print_json, print_line, print_table, size_text

LEAVE_WAIT: Final = 10.0
"""Seconds that `gossip leave` waits at most until the node has let go of its directory: a program may go on with it."""
LEAVE_LOOK: Final = 0.02
"""Seconds until it looks again."""


@click.command()
@verb_options
def members(data_dir: Path, as_json: bool) -> None:
    """List the other members that the node has met."""
    found = ask(data_dir, "members")
    if as_json:
        print_json(found)
    elif not found and ask(data_dir, "status")["retired"]:
        print_line(
            "the cluster has retired this node: it lists nobody and takes no part any more. "
            "To take part again start it with a fresh data directory, as a new node"
        )
    elif found:
        rows = [_row(member) for member in found]
        print_table(("NAME", "STATE", "ADDRESS", "FOR", "RTT", "VERSION", "TAGS", "ID"), rows, styles=STATE_COLOURS)
    else:
        print_line("no other members yet; start another node on this network, or with --join and this node's address")
        print_line(
            "(if there is one: check the address, the firewall, and that key and cluster name are the same; "
            "this node's log says whom it cannot read)"
        )


def _row(m: dict[str, Any]) -> tuple[str, ...]:
    since, version = duration(m["seconds"]), m["version"] or "-"
    return told_apart(m["name"]), m["state"], m["address"], since, _rtt(m), version, _tags(m), m["id"]


def _rtt(member: dict[str, Any]) -> str:
    return "-" if member["rtt"] is None else f"{member['rtt'] * 1000:.1f}ms"


def _tags(member: dict[str, Any]) -> str:
    return ",".join(f"{_quoted(key, '=')}={_quoted(value)}" for key, value in member["tags"].items()) or "-"


def _quoted(text: str, besides: str = "") -> str:
    """As JSON if it holds a comma, a quote or one of ``besides``, which could be taken for its end; as it is if not."""
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in f',"{besides}') else text


@click.command()
@click.argument("tags", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--remove", multiple=True, metavar="KEY", help="Take a tag away; may be given several times.")
@verb_options
def tag(tags: tuple[str, ...], remove: tuple[str, ...], data_dir: Path, as_json: bool) -> None:
    """Show or change the node's tags.

    All members see them, at once, in `gossip members`; a value that holds a comma or a quote is shown in quotes.
    What is changed here lasts until the node stops: give `gossip run` its --tag at every start.
    """
    found = ask(data_dir, "tag", set=parse_tags(tags), remove=list(remove))
    if as_json:
        print_json(found)
    else:
        print_line(_tags({"tags": found}) if found else "no tags")


@click.command()
@verb_options
def status(data_dir: Path, as_json: bool) -> None:
    """Show what the node is, holds and has done.

    What has not happened is left out. With --json everything is there, and sizes are exact numbers of bytes.
    """
    found = ask(data_dir, "status")
    if as_json:
        print_json(found)
        return
    counts = found.pop("statistics")
    states = {"alive": 0} | found["members"]
    found["members"] = ", ".join(f"{state}: {n}" for state, n in states.items())
    found["tags"] = _tags(found)
    found["writers"] = _writer_counts(found["writers"])
    found["partial"] = "yes: the cluster is too large to list" if found["partial"] else "no"
    if found["retired"]:
        found["retired"] = "yes: it takes no part any more; start with a fresh data directory"
    else:
        del found["retired"]
    storage = found.pop("storage")
    found |= {key: storage[key] for key in ("durability", "directory", "bytes_on_disk", "unsaved_batches")}
    if storage["failure"] is not None:
        found["disk_failure"] = f"{storage['failure']}; nothing can be written until that is mended"
    log = found.pop("log")
    if log["lines"]:
        found["log_lost"] = f"{count(log['lines'], 'line')}: {log['why']}"
    found["sealed"] = "yes" if found["sealed"] else "no: no cluster key, loopback only"
    rejected = counts.pop("rejected")
    counts["rejected"] = ", ".join(f"{n} {reason}" for reason, n in rejected.items()) or 0
    happened = {key: value for key, value in counts.items() if value}
    print_table(("", ""), [_line(key, value) for key, value in (found | happened).items()])


def _writer_counts(counts: dict[str, Any]) -> str:
    shown = [f"{counts['known']} of members"]
    if counts["unknown"]:
        shown.append(f"{counts['unknown']} of nobody (`gossip retire --unknown`)")
    return ", ".join(shown + [f"{counts[key]} {key}" for key in ("closing", "closed") if counts[key]])


def _line(key: str, value: Any) -> tuple[str, Any]:
    """What ``key`` is, for people; what counts bytes in a unit that suits it."""
    words = key.split("_")
    return " ".join(words), size_text(value) if "bytes" in words else value


@click.command()
@click.argument("node", required=False)
@click.option("--unknown", is_flag=True, help="All writers that belong to no member, in place of one NODE.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@click.option("--force", is_flag=True, help="Even if it is there: what only it has is lost to the others.")
@verb_options
def retire(node: str | None, unknown: bool, yes: bool, force: bool, data_dir: Path, as_json: bool) -> None:
    """Say that the member NODE (a name or an id) is gone for good.

    Every member forgets it, and none ever admits it again. What it wrote, and others have, stays.

    NODE may also be a replica id that belongs to no member, as of a node that was forgotten long ago: then that writer
    is closed. Its entries stay, its id leaves what members exchange, and nothing more is taken from it. `gossip status`
    counts the writers of nobody; while there are any, no writer is closed.
    """
    if (node is None) is not unknown:
        raise click.UsageError("give one NODE, or --unknown")
    if node is None:
        _retire_unknown(data_dir, yes, as_json)
        return
    found = ask(data_dir, "retire_look_up", member=node, force=force)
    called = f"{found['name']} ({found['id']})" if found["name"] else found["id"]
    if found["kind"] == "node":
        what = called if found["name"] else f"{called}, a node that is not listed,"
        _confirm(f"{what} can never come back, but for a fresh data directory", "Retire it?", yes)
    else:
        _confirm(f"{called} belongs to no member; what it wrote stays, nothing more is taken from it", "Close it?", yes)
    answer = ask(data_dir, "retire", member=found["id"], force=force)
    if as_json:
        print_json({"retired": True} | answer)
    elif found["kind"] == "node":
        print_line(f"retired {answer['name'] or node} ({answer['id']}); no member will admit it again")
    else:
        print_line(f"the writer {answer['id']} is closed once all members agree on what it wrote")


def _retire_unknown(data_dir: Path, yes: bool, as_json: bool) -> None:
    found = ask(data_dir, "retire_unknown", dry=True)
    if found["count"]:
        some = ", ".join(found["some"]) + (", ..." if found["count"] > len(found["some"]) else "")
        belong = "belongs" if found["count"] == 1 else "belong"
        what = f"{count(found['count'], 'writer')} {belong} to no member: {some}"
        _confirm(f"{what}. What they wrote stays, nothing more is taken from them", "Close them?", yes)
    answer = ask(data_dir, "retire_unknown", dry=False)
    if as_json:
        print_json({"retired": True} | answer)
    elif answer["count"]:
        closed = count(answer["count"], "writer")
        print_line(f"closing {closed}, once all members agree on what they wrote; `gossip status` counts those left")
    else:
        print_line("every writer belongs to a member, or is being closed")


def _confirm(what: str, question: str, yes: bool) -> None:
    """Ask a person; raises `UsageError` where nobody can answer, and `Abort` if the answer is no."""
    if not yes and (sys.stdin is None or not sys.stdin.isatty()):
        raise click.UsageError(f"{what}; add --yes if that is meant")
    if not yes:
        click.confirm(escaped(f"{what}. {question}"), abort=True, err=True)


@click.command()
@verb_options
def leave(data_dir: Path, as_json: bool) -> None:
    """Stop the node in good order.

    It hands over its last writes and says goodbye to the members first. When this returns, the data directory is free.
    The exit code is 1 if something could not be saved.
    """
    answer = ask(data_dir, "leave")
    if as_json:
        print_json({"left": True} | answer)
    else:
        print_line(f"left; {_fate_of_writes(answer)}")
    _wait_until_free(data_dir)
    if answer["disk_failure"]:
        click.get_current_context().exit(1)


def _wait_until_free(data_dir: Path) -> None:
    """Or who copies the directory next would copy one in use."""
    until = time.monotonic() + LEAVE_WAIT
    while user := user_of(data_dir):
        if time.monotonic() > until:
            click.echo(f"gossip: {user} goes on with {data_dir}: copy it only once that has ended", err=True)
            return
        time.sleep(LEAVE_LOOK)


def _fate_of_writes(answer: dict[str, Any]) -> str:
    kept_in, failure, holders = answer["kept_in"], answer["disk_failure"], answer["holders"]
    if failure:
        return f"what was written last is not saved: {failure}; {count(holders, 'other member')} have all of it"
    if not answer["wrote"]:
        return "it had written nothing since it started"
    if holders:
        return f"its writes are held by {count(holders, 'other member')}"
    others = "no other member that is there has all of them yet" if answer["others"] else "no other member is there"
    if kept_in:
        return f"its writes are saved in {kept_in}; {others}"
    return f"{others}: what only it had is gone"
