"""The report: what it says, that it asks nobody for anything, and that a browser can work with it."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from simulations.campaign.runner import run_scenario
from simulations.faults.registry import Crash, Join, Partition
from simulations.judging.oracles import Failure
from simulations.report.curves import BINS, audience, delivered_curve, spread_curve
from simulations.report.recording import Interval, Recording, WriteTrace
from simulations.report.report import report_html, write_report
from simulations.report.report_data import SHOWN_WRITES, UNIT, figures, label, report_data, shown_writes
from simulations.report.units import size, span
from simulations.scenario.scenario import Scenario
from simulations.scenario.workload import Workload
from simulations.world.link import Link
from simulations.world.topology import Topology

from ..browser import Page, executable, open_page

HOSTILE = """</script><script>document.title = "owned"</script><!--<img src=x onerror=alert(1)> & $data "'"""


@cache
def run() -> Recording:
    """Ten nodes in two halves for a while, a crash, and a newcomer."""
    scenario = Scenario(
        name="halves",
        title="Two halves",
        about="Cut in two.\n\nAnd whole again.",
        nodes=10,
        duration=30.0,
        topology=Topology(near=Link(loss=0.1)),
        workload=(Workload(kind="log", rate=3.0),),
        faults=(Partition(at=8.0, seconds=12.0), Crash(at=22.0, seconds=3.0, node=4, wipe=True), Join(at=26.0)),
    )
    return replace(run_scenario(scenario, 3), command="python -m simulations run halves --seed 3")


class Elements(HTMLParser):
    """Every start tag, with its attributes, and whether all that must be closed is."""

    VOID = frozenset({"meta", "input", "link", "br", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.text.append(data)

    def said(self) -> str:
        return " ".join(" ".join(self.text).split())


def embedded(page: str) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    found: dict[str, Any] = json.loads(text)
    return found


# ---- the page


def test_it_says_what_was_run_and_how_it_ended() -> None:
    said = Elements(report_html(run())).said()
    for part in ("Two halves", "PASSED", "seed 3", "And whole again.", "python -m simulations run halves --seed 3"):
        assert part in said
    assert "What is wrong" not in said


def test_failures_are_told() -> None:
    failures = (Failure("no acknowledged write is lost", 12.5, "n3", "n3:1 is missing"),)
    said = Elements(report_html(replace(run(), failures=failures))).said()
    assert "FAILED" in said
    assert "12.500 s no acknowledged write is lost n3 n3:1 is missing" in said


def test_it_asks_nobody_for_anything() -> None:
    page = report_html(run())
    assert not re.search(r"https?:|url\(|@import|fetch\(|XMLHttpRequest|WebSocket|import\(", page)
    for tag, attributes in Elements(page).found:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base"}
        assert not {"src", "href", "action", "srcset"} & attributes.keys()
    policy = next(each["content"] for _, each in Elements(page).found if "http-equiv" in each)
    assert policy is not None
    assert policy.startswith("default-src 'none';")


def test_what_a_scenario_says_is_never_markup() -> None:
    failure = Failure(HOSTILE, 1.0, HOSTILE, HOSTILE)
    interval = Interval(HOSTILE, 1.0, 2.0, (1,), HOSTILE)
    totals = tuple(replace(each, name=HOSTILE) for each in run().totals)
    words = ("scenario", "title", "about", "command", "trace")
    hostile = replace(run(), failures=(failure,), intervals=(interval,), totals=totals, **dict.fromkeys(words, HOSTILE))
    innocent = replace(run(), failures=(failure,), **dict.fromkeys(words, "innocent"))
    page = report_html(hostile)
    assert Elements(page).found == Elements(report_html(innocent)).found
    assert sum(tag == "script" for tag, _ in Elements(page).found) == 3
    assert "img" not in {tag for tag, _ in Elements(page).found}
    assert HOSTILE in Elements(page).said()
    assert embedded(page)["intervals"][0]["detail"] == HOSTILE
    assert set(embedded(page)["names"]) == {HOSTILE}


def test_the_data_comes_back_as_it_went_in() -> None:
    recording = run()
    assert embedded(report_html(recording)) == json.loads(json.dumps(report_data(recording, *figures(recording))))


def test_the_same_run_makes_the_same_file(tmp_path: Path) -> None:
    write_report(run(), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == report_html(run())


def test_a_run_in_which_nothing_was_written() -> None:
    empty = run_scenario(Scenario(name="still", nodes=1, duration=2.0, workload=()), 1)
    page = report_html(empty)
    assert "there is nothing to show" in page
    assert embedded(page)["curve"] is None
    assert embedded(page)["writes"]["at"] == []


# ---- the data


def test_every_arrival_is_in_it_to_a_hundredth_of_a_millisecond() -> None:
    recording = run()
    writes = report_data(recording, *figures(recording))["writes"]
    assert writes["number"] == list(range(1, len(recording.writes) + 1))
    for trace, flat in zip(recording.writes, writes["arrivals"], strict=True):
        units = 0
        for (when, node, source), place in zip(trace.arrivals, range(0, len(flat), 3), strict=True):
            units += flat[place]
            assert units * UNIT == pytest.approx(when - trace.at, abs=UNIT)
            assert flat[place + 1 : place + 3] == [node, source]


def test_a_long_run_is_shown_by_a_sample_and_says_so() -> None:
    many = replace(run(), writes=run().writes * 20)
    shown = shown_writes(many)
    assert len(shown) == SHOWN_WRITES
    assert shown[0] == 0
    assert f"Here are {len(shown)} of {len(many.writes):,} writes" in report_html(many)
    long = WriteTrace(0.0, 0, tuple((1.0, 1, 0) for _ in range(30_000)))
    assert len(shown_writes(replace(run(), writes=(long,) * 50))) == 6  # 180,000 arrivals


def test_labels_name_a_few_nodes() -> None:
    known = [f"n{index}" for index in range(20)]
    halves = Interval("partition", 0.0, 1.0, (), "", tuple(int(index >= 10) for index in range(20)))
    assert label(halves, known) == "partition n0–n9 | n10–n19"  # noqa: RUF001
    assert label(Interval("one-way", 0.0, 1.0, (3, 4, 8), ""), known) == "one-way n3, n4, n8"
    assert label(Interval("flap", 0.0, 1.0, (0, 2, 4, 6, 8, 25), ""), known) == "flap n0, n2, n4 and 3 more"
    assert label(Interval("weather", 0.0, 1.0, (), ""), known) == "weather"
    assert label(Interval("pause", 0.0, 1.0, (25,), ""), known) == "pause n25"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 s"), (0.00105, "1.05 ms"), (0.5, "500 ms"), (0.9999, "1 s"), (28.69, "28.7 s"), (3600.0, "3,600 s")],
)
def test_seconds_for_people(value: float, text: str) -> None:
    assert span(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (665.07, "665 B"), (999.7, "1 kB"), (2.5e6, "2.5 MB"), (5e9, "5,000 MB")]
)
def test_bytes_for_people(value: float, text: str) -> None:
    assert size(value) == text


# ---- the curves


def test_the_share_delivered_is_what_counting_pairs_gives() -> None:
    """Against a slow way: at instants between changes, count who runs and who has what."""
    recording = run()
    curve = delivered_curve(recording)
    assert len(curve) == BINS
    width = recording.summary.seconds / BINS
    for place in range(0, BINS, 7):
        instants = [(place + (step + 0.5) / 200) * width for step in range(200)]
        assert curve[place] == pytest.approx(sum(map(share_at, instants)) / 200, abs=0.003)
    assert min(curve) < 0.8
    assert curve[-1] == pytest.approx(1.0, abs=0.003)


def share_at(now: float) -> float:
    recording = run()
    running = [
        node
        for node, each in enumerate(recording.totals)
        if any(start <= now < stop for start, stop in each.lives) or (each.up and now >= recording.summary.seconds)
    ]
    have = pairs = 0
    for trace in recording.writes:
        if trace.at <= now:
            changes = [(trace.at, trace.node, True)]
            changes += [(when, node, True) for when, node, _ in trace.arrivals if when <= now]
            changes += [(when, node, False) for when, node in trace.losses if when <= now]
            holds = {node: held for _, node, held in sorted(changes)}
            have += sum(holds.get(node, False) for node in running)
            pairs += len(running) * any(holds.values())
    return have / pairs if pairs else 1.0


def test_a_lost_disk_is_seen_as_a_loss_and_made_good() -> None:
    traces = [trace for trace in run().writes if trace.losses]
    assert len(traces) > 30
    assert {node for trace in traces for _, node in trace.losses} == {4}
    assert all(sum(node == 4 for _, node, _ in trace.arrivals) == 2 for trace in traces if trace.node != 4)


def test_the_spread_of_writes_ends_with_everybody() -> None:
    recording = run()
    curve = spread_curve(recording)
    assert curve is not None
    assert curve.writes == len(recording.writes)
    assert (curve.mean[-1], curve.median[-1], curve.slowest[-1]) == (1.0, 1.0, 1.0)
    assert all(low <= high for low, high in zip(curve.slowest, curve.median, strict=True))
    at = 150
    shares = []
    for trace in recording.writes:
        nodes = {trace.node} | {node for when, node, _ in trace.arrivals if when - trace.at <= curve.seconds[at]}
        shares.append(len(nodes) / len(audience(recording, trace)))
    assert curve.mean[at] == pytest.approx(sum(shares) / len(shares))


def test_a_write_that_vanished_with_its_node_is_left_out() -> None:
    gone = WriteTrace(1.0, 0, (), ((2.0, 0),))
    recording = replace(run(), writes=(gone,))
    assert spread_curve(recording) is None
    assert delivered_curve(recording)[30:] == pytest.approx([1.0] * (BINS - 30))  # lost in the 27th part


# ---- in a browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if executable() is None:
        pytest.skip("needs Chromium: chromium, chromium-browser or google-chrome on the PATH")
    folder = tmp_path_factory.mktemp("report")
    write_report(run(), folder / "report.html")
    with open_page(folder / "profile") as opened:
        opened.call("Page.navigate", url=(folder / "report.html").as_uri())
        opened.wait_for("document.documentElement?.dataset.ready === 'yes'")
        yield opened


def moment(page: Page, address: str) -> tuple[str, int]:
    """The counter of the play-back at an address, and how much of the picture is filled."""
    page.run(f"location.hash = {address!r}; new Promise((done) => setTimeout(done, 50))")
    filled = """(() => {
        const board = document.getElementById("pb-canvas");
        const pixels = board.getContext("2d").getImageData(0, 0, board.width, board.height).data;
        let found = 0;
        for (let i = 3; i < pixels.length; i += 4) found += pixels[i] > 0 && pixels[i - 1] > pixels[i - 3] + 80;
        return found;
    })()"""
    return page.run("document.getElementById('pb-count').textContent"), page.run(filled)


def test_a_browser_draws_every_chart_and_has_nothing_to_complain_of(page: Page) -> None:
    empty = "[...document.querySelectorAll('.chart')].filter((each) => !each.querySelector('svg path, svg rect'))"
    assert page.run(f"{empty}.map((each) => each.id)") == ["chart-degrees"]  # full membership: nothing to show
    assert page.run("document.documentElement.dataset.errors") == ""
    assert page.told("Runtime.exceptionThrown") == []
    assert page.told("Log.entryAdded") == []
    assert "NaN" not in page.run("document.body.innerHTML.replace(/<script.*?<\\/script>/gs, '')")


def test_a_browser_loads_the_file_and_nothing_else(page: Page) -> None:
    requested = [each["request"]["url"] for each in page.told("Network.requestWillBeSent")]
    assert len(requested) == 1
    assert requested[0].endswith("report.html")


def test_scrubbing_changes_what_is_seen(page: Page) -> None:
    at_first, little = moment(page, "#write=5&t=0")
    assert at_first == "1 of 10 running nodes have it as it is written"
    in_the_end, much = moment(page, "#write=5&t=1")
    assert re.match(r"11 of 11 running nodes have it \S+ m?s after the write", in_the_end)
    assert much > 3 * little > 0
    everything, _ = moment(page, "#write=all&t=1")
    assert everything.startswith("100 % of ")
    half_way, _ = moment(page, "#write=all&t=0.4")
    assert float(half_way.split(" ")[0]) < 90


def test_the_play_back_listens_to_keys(page: Page) -> None:
    moment(page, "#write=5&t=0.5")
    page.run("document.getElementById('playback').focus()")
    scrub, write = "Number(document.getElementById('pb-scrub').value)", "document.getElementById('pb-write').value"
    page.press("ArrowRight")
    assert page.run(scrub) == 510
    page.press("ArrowLeft")
    page.press("ArrowLeft")
    assert page.run(scrub) == 490
    page.press("ArrowDown")
    assert page.run(write) == "5"  # counted from 0: the sixth
    assert page.run("location.hash") == "#write=6&t=0.49"
    page.press(" ")
    assert page.run("document.getElementById('pb-play').textContent") == "Pause"
    page.wait_for(f"{scrub} > 520")
    page.press(" ")
    assert page.run("document.getElementById('pb-play').textContent") == "Play"


def test_a_partition_parts_the_nodes(page: Page) -> None:
    """During it, nothing is drawn between the two clusters."""
    middle = """(() => {
        const board = document.getElementById("pb-canvas"), middle = board.width >> 1;
        const pixels = board.getContext("2d").getImageData(middle - 3, 0, 6, board.height).data;
        return pixels.filter((_, i) => i % 4 === 3).some((alpha) => alpha > 0);
    })()"""
    moment(page, "#write=5&t=1")
    assert page.run(middle)
    during = next(number for number, trace in enumerate(run().writes, 1) if trace.at > 10)
    moment(page, f"#write={during}&t=0.5")
    assert not page.run(middle)
