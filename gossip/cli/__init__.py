"""The command line: `gossip`. One module for each kind of verb; this one gathers them."""

import click

from .copies import backup, export, import_, restore
from .data import counter, get, ls, map_, orset, register, watch
from .launch import launch
from .misc import DISTRIBUTION, demo, keygen, version
from .plugins import ExtensibleGroup
from .run import run
from .talk import leave, members, retire, status, tag


@click.group(cls=ExtensibleGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=DISTRIBUTION, message="%(package)s %(version)s")
def cli() -> None:
    """Share state between processes, peer to peer, without a server.

    `gossip run` starts a node in the foreground; the other verbs talk to the node that runs on the same --data
    directory.
    """


for _command in (
    run,
    members,
    status,
    tag,
    leave,
    retire,
    ls,
    get,
    orset,
    counter,
    register,
    map_,
    watch,
    backup,
    restore,
    export,
    import_,
    keygen,
    version,
    demo,
):
    cli.add_command(_command)


def main() -> None:
    """The console script."""
    launch(cli, "gossip")
