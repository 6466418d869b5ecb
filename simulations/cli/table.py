"""`gossip sim table`: the table of the README."""

import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click

from ..campaign.table import LOSSES, SIZES, Row, as_markdown, cells, measure, put_into
from ..errors import ScenarioError
from ..scenario.scenario import Scenario
from ..world.topology import LAN
from .progress import seeds_done


@click.command()
@click.option("--sizes", default=",".join(map(str, SIZES)), show_default=True, help="Nodes of the clusters.")
@click.option("--losses", default=",".join(map(str, LOSSES)), show_default=True, help="Shares of datagrams lost.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes at once.  [default: one for each CPU]")
@click.option(
    "--into",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, writable=True),
    help="Replace the table in this file.",
)
def table(sizes: str, losses: str, jobs: int | None, into: Path | None) -> None:
    """Measure how clusters of all sizes come together after a partition.

    Takes an hour and more with the default sizes, most of it where large clusters lose much. Prints a Markdown table.
    """
    try:
        asked = cells([int(size) for size in sizes.split(",")], [float(loss) for loss in losses.split(",")])
        for cell in asked:
            Scenario(name="table", nodes=cell.nodes, topology=LAN.with_links(loss=cell.loss))
    except ScenarioError as error:
        raise click.UsageError(str(error)) from None
    except ValueError:
        raise click.UsageError("--sizes and --losses are numbers with commas between them") from None
    _put(into, "")  # an unfit file is better found out now than in an hour
    rows: list[Row] = []
    with (
        seeds_done("table", len(asked)) as on_row,
        ProcessPoolExecutor(jobs or os.cpu_count() or 1) as pool,
    ):
        for row in pool.map(measure, asked):
            rows.append(row)
            on_row(len(rows), sum(bool(each.failed) for each in rows), "")
    text = as_markdown(rows)
    click.echo(text, nl=False)
    if into is not None:
        into.write_text(_put(into, text))
    if any(row.failed for row in rows):
        click.get_current_context().exit(1)


def _put(into: Path | None, text: str) -> str:
    """The content of a file with the table in its place; raises `click.UsageError` if it has no place for one."""
    try:
        return put_into(into.read_text(), text) if into is not None else ""
    except ValueError as error:
        raise click.UsageError(f"{into}: {error}") from None
