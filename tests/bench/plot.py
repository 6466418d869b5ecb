"""Two pictures of `build/bench.json`: how many times as much others take, and how our costs grow."""

import json
from pathlib import Path
from typing import Any, Final

COLOURS: Final = {"pycrdt": "#d9822b", "loro": "#6f42c1"}
HEIGHT_OF_ROW: Final = 0.34


def draw(folder: Path) -> list[Path]:
    """Draw what the JSON in ``folder`` has; returns the files written. Raises `ModuleNotFoundError`."""
    import matplotlib  # optional, and slow to load

    matplotlib.use("Agg")
    results = json.loads((folder / "bench.json").read_text())
    drawn = []
    if any(set(row["ratios"]) & set(COLOURS) for row in results.get("compare", ())):
        drawn.append(_ratios(results["compare"], folder / "bench_ratios.png"))
    if "growth" in results:
        drawn.append(_growth(results["growth"], folder / "bench_growth.png"))
    return drawn


def _ratios(rows: list[dict[str, Any]], path: Path) -> Path:
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter

    figure, axes = pyplot.subplots(figsize=(12, 1.5 + HEIGHT_OF_ROW * len(rows)), layout="constrained")
    for at, (name, colour) in enumerate(COLOURS.items()):
        shown = [(i, row["ratios"][name]) for i, row in enumerate(rows) if row["ratios"].get(name)]
        places = [i + (at - 0.5) * 0.38 for i, _ in shown]
        # Bars start at 1, where both cost the same, and go the way of whoever costs less.
        bars = axes.barh(places, [ratio - 1 for _, ratio in shown], left=1, height=0.36, color=colour, label=name)
        for bar, (_, ratio) in zip(bars, shown, strict=True):
            axes.annotate(
                f"{ratio:#.2g}" if ratio < 10 else f"{ratio:,.0f}",
                (ratio, bar.get_y() + bar.get_height() / 2),
                xytext=(3 if ratio >= 1 else -3, 0),
                textcoords="offset points",
                ha="left" if ratio >= 1 else "right",
                va="center",
                fontsize=7,
            )
    for i in range(0, len(rows), 2):
        axes.axhspan(i - 0.5, i + 0.5, color="black", alpha=0.04, linewidth=0)  # leads the eye from label to bar
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:,g}"))
    axes.margins(x=0.09)  # room for the numbers at the ends of the bars
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(rows)), [f"{row['name']} [{row['unit']}]" for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.set_xlabel("cost as a multiple of ours, log scale; left of 1 the other costs less, right of 1 ours does")
    axes.legend(loc="upper right")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return path


def _growth(figures: list[dict[str, Any]], path: Path) -> Path:
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, NullFormatter

    panels = {
        "one operation": lambda f: "an entry" not in f["name"],
        "whole state, an entry": lambda f: f["name"].startswith("whole state"),
        "memory, an entry": lambda f: f["name"].startswith("memory"),
    }
    figure, all_axes = pyplot.subplots(1, len(panels), figsize=(15, 5), layout="constrained")
    for axes, (title, belongs) in zip(all_axes, panels.items(), strict=True):
        for name in dict.fromkeys(f["name"] for f in figures if belongs(f)):
            points = [(f["entries"], f["value"]) for f in figures if f["name"] == name]
            label = name.removeprefix("whole state: ").removeprefix("memory, ").removesuffix(", an entry")
            axes.plot(*zip(*points, strict=True), marker="o", label=label)
        axes.set_xscale("log")
        if title == "one operation":
            axes.set_yscale("log")
            axes.margins(y=0.2)
        else:
            axes.set_ylim(bottom=0, top=1.1 * axes.get_ylim()[1])
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.set_title(title)
        axes.set_xlabel("entries held")
        axes.set_ylabel(next(f["unit"] for f in figures if belongs(f)))
        axes.grid(which="both", alpha=0.2)
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return path
