"""The command line `gossip sim`, which `gossip` finds through an entry point; `python -m simulations` is the same."""

import click

from .listing import list_
from .run import replay, run
from .sweep import sweep
from .table import table


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def sim() -> None:
    """Simulate clusters under faults.

    It is the real protocol, on virtual time, networks and disks.

    SCENARIO is a name that `list` shows, or a file. The exit code is the verdict: 0 if everything held that must, 1 if
    not, 2 for wrong usage or a mistake in a file, 130 after Ctrl-C.
    """


for _command in (run, sweep, replay, list_, table):
    sim.add_command(_command)
