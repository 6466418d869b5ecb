"""`gossip sim list`."""

import click

from gossip.cli.show import print_json, print_table

from ..scenario.file import scenario_names
from .options import load


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """Name the scenarios that come with the package."""
    scenarios = [load(name).scenario for name in scenario_names()]
    if as_json:
        print_json([{"name": each.name, "title": each.title, "about": each.about} for each in scenarios])
        return
    rows = [(each.name, each.nodes, each.title) for each in scenarios]
    print_table(("SCENARIO", "NODES", "WHAT HAPPENS"), rows)
