"""Run all measurements and print one table; `--json` prints them for machines."""

import json
import sys
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from . import bench_crdts, bench_node
from .measure import yardstick


def main() -> None:
    unit_time = yardstick()
    figures = [*bench_crdts.figures(unit_time), *bench_node.figures()]
    if "--json" in sys.argv:
        print(json.dumps([asdict(figure) for figure in figures]))
        return
    table = Table("what", "value", "unit", "x yardstick", box=None, pad_edge=False)
    for figure in figures:
        ratio = f"{figure.ratio:.1f}" if figure.ratio is not None else ""
        table.add_row(figure.name, f"{figure.value:,.2f}", figure.unit, ratio)
    Console().print(table)
    print(f"yardstick: {unit_time * 1e9:.0f} ns CPU to put one tuple into a dict")


main()
