"""Run measurements, print them, and write them to `build/bench.json`, or `build/bench_cluster.json`; see `--help`."""

import argparse
import json
import math
import platform
import sys
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from . import (
    bench_cluster,
    bench_compare,
    bench_dissemination,
    bench_durability,
    bench_growth,
    bench_node,
    bench_processes,
    bench_slices,
    contestants,
    plot,
)
from .bench_growth import Growth
from .measure import Figure, Row, progress, yardstick

CHOICES = ("crdts", "node", "slices", "durability", "dissemination", "cluster")
BUILD = Path(__file__).resolve().parents[2] / "build"


def main() -> None:
    arguments = _arguments()
    if arguments.what == "dissemination":
        _print([bench_dissemination.table(arguments.large), bench_processes.table()], {})
        return
    if arguments.what == "slices":
        _print([_list("what a catch-up keeps from its turn", list(bench_slices.figures()))], {})
        return
    if arguments.what == "durability":
        figures, growth = list(bench_durability.figures()), bench_durability.growth(arguments.large)
        progress("")
        _print([_list("writing to a disk", figures), _growth(growth)], {})
        return
    results: dict[str, Any] = {"python": platform.python_version()}
    if arguments.what == "cluster":
        _cluster(arguments, results)
        return
    tables = []
    if arguments.what != "node":
        for name in contestants.missing():
            print(f"{name} is not installed and is left out; `pip install '.[bench]'` has it", file=sys.stderr)
        present = contestants.available()
        names = [kind.name for kind in present]
        unit_time = yardstick()
        rows = bench_compare.rows(present)
        growth = bench_growth.growth(arguments.large)
        results["versions"] = {name: version(name) for name in names if name in ("pycrdt", "loro")}
        results["yardstick_ns"] = unit_time * 1e9
        results["compare"] = [row.as_dict() for row in rows]
        results["growth"] = [
            asdict(figure) | {"entries": size} for size, figures in growth.items() for figure in figures
        ]
        tables += [_comparison(rows, names), _growth(growth)]
    if arguments.what != "crdts":
        node = list(bench_node.figures())
        results["node"] = [asdict(figure) for figure in node]
        tables.append(_list("between processes", node))
    progress("")
    _write(results)
    if arguments.json:
        print(json.dumps(results, indent=1))
    else:
        _print(tables, results)
    if arguments.plot:
        _plot()


def _cluster(arguments: argparse.Namespace, results: dict[str, Any]) -> None:
    rows = bench_cluster.rows(arguments)
    progress("")
    results["nodes"] = arguments.nodes
    results["versions"] = bench_cluster.versions()
    results["cluster"] = [_without_infinity(row.as_dict()) for row in rows]
    _write(results, "bench_cluster.json")
    if arguments.json:
        print(json.dumps(results, indent=1))
    else:
        _print([bench_cluster.table(rows)], results)


def _without_infinity(value: Any) -> Any:
    """The same with None for what never happened, for which JSON has no number."""
    if isinstance(value, dict):
        return {key: _without_infinity(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measurements; less is better in all.")
    which = "only one part; or a cluster of processes (a quarter of an hour)"
    parser.add_argument("what", nargs="?", choices=CHOICES, help=which)
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables")
    parser.add_argument(
        "--large", action="store_true", help="also what takes many minutes: a million entries, 1,000 nodes"
    )
    parser.add_argument("--plot", action="store_true", help="also draw build/bench_ratios.png and bench_growth.png")
    bench_cluster.add_arguments(parser)
    return parser.parse_args()


def _write(results: dict[str, Any], name: str = "bench.json") -> None:
    BUILD.mkdir(exist_ok=True)
    (BUILD / name).write_text(json.dumps(results, indent=1) + "\n")


def _print(tables: Iterable[Table], results: dict[str, Any]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 150)
    for table in tables:
        console.print(table)
        console.print()
    if "yardstick_ns" in results:
        versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
        print(f"Python {results['python']}, {versions or 'no other library'}. Ratios above 1: ours takes less.")
        print(f"yardstick: {results['yardstick_ns']:.0f} ns CPU to put one tuple into a dict")


def _plot() -> None:
    try:
        drawn = plot.draw(BUILD)
    except ModuleNotFoundError as error:
        print(f"{error.name} is not installed and nothing is drawn; `pip install '.[bench]'` has it", file=sys.stderr)
        return
    for path in drawn:
        print(f"drawn: {path.relative_to(BUILD.parent)}", file=sys.stderr)


def _comparison(rows: list[Row], names: list[str]) -> Table:
    others = [name for name in names if name in ("pycrdt", "loro")]
    table = Table("operation", "unit", box=None, pad_edge=False, title="ours and others", title_justify="left")
    for heading in (*names, *(f"{name}/ours" for name in others)):
        table.add_column(heading, justify="right")
    for row in rows:
        cells = [_number(row.values.get(name)) for name in names]
        table.add_row(row.name, row.unit, *cells, *(_number(row.ratio(name)) for name in others))
    return table


def _growth(growth: Growth) -> Table:
    table = Table("ours, holding", "unit", box=None, pad_edge=False, title="growth", title_justify="left")
    for size in growth:
        table.add_column(f"{size:,}", justify="right")
    for same in zip(*growth.values(), strict=True):
        table.add_row(same[0].name, same[0].unit, *(_number(figure.value) for figure in same))
    return table


def _list(title: str, figures: list[Figure]) -> Table:
    table = Table("what", "unit", box=None, pad_edge=False, title=title, title_justify="left")
    table.add_column("value", justify="right")
    for figure in figures:
        table.add_row(figure.name, figure.unit, _number(figure.value))
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}" if value < 1_000 else f"{value:,.0f}"


main()
