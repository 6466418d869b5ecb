"""Verbs that need no running node."""

import os
import platform
from importlib.metadata import PackageNotFoundError, packages_distributions
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Final

import click

from .options import file_type

DISTRIBUTION: Final = "gossip-crdts"
IMPORT_NAMES: Final = ("crdts", "gossip", "simulations")


@click.command()
@click.option("--out", type=file_type, help="Write it to a new file, for this user only.")
def keygen(out: Path | None) -> None:
    """Print a new cluster key. Whoever has it can read and write everything the cluster shares."""
    from gossip.protocol import new_key

    key = new_key()
    if out is None:
        click.echo(key)
        return
    try:
        with open(out, "x", opener=_private) as file:
            file.write(key + "\n")
    except FileExistsError:
        raise click.UsageError(f"{out} exists; remove it first if the key in it is no longer needed") from None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def version(as_json: bool) -> None:
    """Print the version.

    Warns if another installed package uses one of our import names.
    """
    from .show import print_json

    try:
        ours = version_of(DISTRIBUTION)
    except PackageNotFoundError:
        ours = "unknown (not installed)"
    others = foreign_owners()
    if as_json:
        print_json({"version": ours, "python": platform.python_version(), "conflicts": others})
    else:
        click.echo(f"{DISTRIBUTION} {ours}, Python {platform.python_version()}")
    for name, owners in others.items():
        click.echo(
            f"gossip: {', '.join(owners)} also installs `{name}`; uninstall it, or use a new environment", err=True
        )


def foreign_owners() -> dict[str, list[str]]:
    """Our import names that another installed distribution owns too, with those distributions."""
    owners = packages_distributions()
    found = {name: sorted({d for d in owners.get(name, []) if d != DISTRIBUTION}) for name in IMPORT_NAMES}
    return {name: distributions for name, distributions in found.items() if distributions}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def demo(ctx: click.Context, as_json: bool) -> None:
    """Replay a real project's history over five nodes.

    Every node is a process of its own. Afterwards they are cut in two, and heal.
    """
    import trio

    from gossip.demo import run_demo

    from .show import console

    ctx.exit(trio.run(lambda: run_demo(console(), as_json=as_json)))
