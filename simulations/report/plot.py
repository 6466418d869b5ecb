"""The main curve of a run as a PNG, for a README: what share of the writes had come to the nodes, and the faults."""

from os import PathLike
from textwrap import shorten
from typing import TYPE_CHECKING, Final

from ..errors import MissingExtra
from .curves import BINS, delivered_curve
from .recording import Recording
from .report_data import label, names
from .units import span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES: Final = (9.0, 4.6)
DOTS: Final = 100
"""Per inch."""
TITLE: Final = 90
"""Characters of a title that have room."""
BLUE, GREEN, VIOLET, INK, SOFT = "#1f6feb", "#0f8a6d", "#7a5cc2", "#1b2330", "#5a6677"


def write_png(recording: Recording, path: str | PathLike[str]) -> None:
    """Draw it into a file; raises `MissingExtra` without matplotlib, and OSError."""
    try:
        # Slow to load, and few need it. The figure is made without pyplot, which would choose a backend for everybody.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtra("drawing a PNG needs matplotlib: pip install 'gossip-crdts[plot]'") from error
    figure = Figure(figsize=INCHES, dpi=DOTS, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    lower.set_xlabel("virtual time in seconds", color=INK)
    for axes in (upper, lower):
        _prepare(axes, recording)
    _delivered(upper, recording)
    _states(lower, recording)
    summary, verdict = recording.summary, "passed" if recording.passed else "FAILED"
    title = shorten(recording.title or recording.scenario, TITLE, placeholder=" …")
    upper.set_title(_plain(title), loc="left", fontsize=13, color=INK, pad=26)
    facts = (
        f"{summary.nodes:,} nodes, {summary.writes:,} writes, seed {recording.seed}: {verdict}. Half of all deliveries "
        f"took up to {span(summary.delivery.p50)}, 99 % up to {span(summary.delivery.p99)}."
    )
    upper.text(0, 1.05, facts, transform=upper.transAxes, fontsize=9.5, color=SOFT)
    figure.savefig(path, format="png", metadata={"Software": None})  # no version: same run, same file


def _plain(text: str) -> str:
    """Text that matplotlib does not take for mathematics."""
    return text.replace("$", r"\$")


def _prepare(axes: "Axes", recording: Recording) -> None:
    """What both panels have: one time, and a shade while the network was in parts."""
    axes.set_xlim(0, recording.summary.seconds)
    axes.tick_params(colors=SOFT, length=0)
    axes.grid(axis="y", color="#e3e7ed")
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    for each in recording.intervals:
        if each.sides:
            axes.axvspan(each.start, each.end, color=VIOLET, alpha=0.13, linewidth=0)


def _delivered(axes: "Axes", recording: Recording) -> None:
    curve = [100 * share for share in delivered_curve(recording)]
    places = [(place + 0.5) * recording.summary.seconds / BINS for place in range(len(curve))]
    axes.plot(places, curve, color=BLUE, linewidth=2.2)
    axes.set_ylim(0, 104)
    axes.set_ylabel("share delivered, %", color=BLUE)
    known = names(recording)
    for each in recording.intervals:
        if each.sides:
            text, middle = _plain(label(each, known)), (each.start + each.end) / 2
            axes.text(middle, 4, text, ha="center", fontsize=9.5, color=VIOLET, clip_on=True)


def _states(axes: "Axes", recording: Recording) -> None:
    times, states = [each.at for each in recording.samples], [each.states for each in recording.samples]
    axes.step(times, states, where="post", color=GREEN, linewidth=1.8)
    most = max(states, default=1)
    axes.set_ylim(0, 1.15 * most)
    axes.set_yticks([0, most])
    axes.set_ylabel("different\nstates", color=GREEN)
