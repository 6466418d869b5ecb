"""`gossip sim table`: the table of the README."""

import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click

from ..table import LOSSES, SIZES, Row, as_markdown, cells, measure, put_into
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

    Takes ten minutes with the default sizes. Prints a Markdown table.
    """
    try:
        asked = cells([int(size) for size in sizes.split(",")], [float(loss) for loss in losses.split(",")])
    except ValueError:
        raise click.UsageError("--sizes and --losses are numbers with commas between them") from None
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
        try:
            into.write_text(put_into(into.read_text(), text))
        except ValueError as error:
            raise click.UsageError(f"{into}: {error}") from None
    if any(row.failed for row in rows):
        click.get_current_context().exit(1)
