"""The PNG of a run."""

import struct
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from simulations.campaign.runner import run_scenario
from simulations.errors import MissingExtra
from simulations.report.plot import write_png
from simulations.report.recording import Interval, Recording
from simulations.scenario.scenario import Scenario

RUN = run_scenario(Scenario(name="short", title="Costs $5, or $6 {a_b^c}: " + "long " * 40, nodes=3, duration=5.0), 1)


def image(recording: Recording, path: Path) -> bytes:
    pytest.importorskip("matplotlib", reason="needs the extra 'plot'")
    write_png(recording, path)
    return path.read_bytes()


def test_it_is_an_image_for_a_readme(tmp_path: Path) -> None:
    data = image(RUN, tmp_path / "run.png")
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (900, 460)
    assert len(data) < 60_000


def test_the_same_run_makes_the_same_file(tmp_path: Path) -> None:
    assert image(RUN, tmp_path / "one.png") == image(RUN, tmp_path / "other.png")


def test_a_partition_is_seen(tmp_path: Path) -> None:
    parted = replace(RUN, intervals=(Interval("partition", 1.0, 3.0, (), "", (0, 0, 1)),))
    assert image(parted, tmp_path / "parted.png") != image(RUN, tmp_path / "whole.png")


def test_a_run_without_samples_or_writes(tmp_path: Path) -> None:
    assert image(replace(RUN, samples=(), writes=()), tmp_path / "empty.png")


def test_it_leaves_the_backend_of_others_alone(tmp_path: Path) -> None:
    before = "matplotlib.pyplot" in sys.modules
    image(RUN, tmp_path / "run.png")
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"gossip-crdts\[plot\]"):
        write_png(RUN, tmp_path / "run.png")
    assert not (tmp_path / "run.png").exists()
