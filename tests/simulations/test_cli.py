"""`gossip sim` in processes of its own: verdicts, exit codes, Ctrl-C, files."""

import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from simulations.cli.progress import seeds_done, shrinking, virtual_time
from simulations.scenario.file import load_file, scenario_names
from simulations.scenario.scenario import Scenario

ROOT = Path(__file__).parents[2]
TIMEOUT = 60
"""Seconds for one command."""
QUICK = "nodes = 4\nduration = 5\nsettle = 20\n[[workload]]\nrate = 4\n"
HOPELESS = "nodes = 4\nduration = 5\nsettle = 2\n[link]\nloss = 1\n[[workload]]\nrate = 4\n[[fault]]\nkind = 'join'\n"
"""Nothing ever arrives."""


def environment(*paths: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"FORCE_COLOR", "COLUMNS", "NO_COLOR"}}
    return kept | {"PYTHONPATH": os.pathsep.join(map(str, (*paths, ROOT))), "TERM": "xterm"}


def sim(*args: object, cwd: Path, code: int = 0, module: str = "simulations", paths: tuple[Path, ...] = ()) -> Any:
    """Run the command; its standard output, whose JSON is parsed if that was asked for."""
    before = ["sim"] if module == "gossip" else []
    done = subprocess.run(
        [sys.executable, "-m", module, *before, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=cwd,
        env=environment(*paths),
        check=False,
    )
    assert done.returncode == code, f"{done.stdout}{done.stderr}"
    if code in (0, 1) and done.stdout:
        assert done.stderr == ""
    return json.loads(done.stdout) if "--json" in args and code < 2 else done.stdout + done.stderr


@pytest.fixture
def quick(tmp_path: Path) -> str:
    (tmp_path / "quick.toml").write_text(QUICK)
    return "quick.toml"


@pytest.fixture
def hopeless(tmp_path: Path) -> str:
    (tmp_path / "hopeless.toml").write_text(HOPELESS)
    return "hopeless.toml"


# ---- run and list


def test_the_list_names_every_scenario(tmp_path: Path) -> None:
    text = sim("list", cwd=tmp_path)
    assert [line.split()[0] for line in text.splitlines()[1:]] == scenario_names()
    found = sim("list", "--json", cwd=tmp_path, module="gossip")
    assert [each["name"] for each in found] == scenario_names()
    assert all(each["title"] for each in found)


def test_a_run_that_passes_says_so_in_figures_and_how_to_run_it_again(tmp_path: Path, quick: str) -> None:
    text = sim("run", quick, "--seed", 7, "--nodes", 5, "--loss", 0.1, "--set", "workload.rate=2", cwd=tmp_path)
    assert text.startswith("PASSED quick, seed 7")
    assert "\nnodes            5, 5 of them running in the end\n" in text
    again = "gossip sim run quick.toml --seed 7 --nodes 5 --loss 0.1 --set workload.rate=2"
    assert text.endswith(f"\nAgain: {again}\n")
    assert re.search(r"events, [\d,]+ a CPU second\n", text)
    assert re.search(r"memory +\d+ MiB at most", text)


def test_the_same_seed_is_the_same_run_and_either_name_of_the_command_is_the_same(tmp_path: Path, quick: str) -> None:
    one = sim("run", quick, "--seed", 3, "--json", cwd=tmp_path)
    other = sim("run", quick, "--seed", 3, "--json", cwd=tmp_path, module="gossip")
    assert one["passed"] is True
    assert (one["trace"], one["summary"]) == (other["trace"], other["summary"])
    assert sim("run", quick, "--seed", 4, "--json", cwd=tmp_path)["trace"] != one["trace"]


def test_a_run_that_fails_exits_with_one_and_says_which_rule_is_broken(tmp_path: Path, hopeless: str) -> None:
    text = sim("run", hopeless, cwd=tmp_path, code=1)
    assert text.startswith("FAILED hopeless, seed 0")
    assert re.search(r"^all are equal in time +7\.0\d s +all +not after 2\.0 s", text, re.MULTILINE)
    found = sim("run", hopeless, "--json", cwd=tmp_path, code=1)
    assert found["passed"] is False
    assert found["failures"][0]["oracle"] == "all are equal in time"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["run", "partition-hale"], "did you mean 'partition-heal'?"),
        (["run", "wrong.toml"], "wrong.toml:2: unknown key 'nods' in a scenario; did you mean 'nodes'?"),
        (["sweep", "wrong.toml"], "wrong.toml:2: unknown key"),
        (["replay", "quick.toml"], "use `gossip sim run quick.toml --seed 0`"),
        (["replay", "nofile"], "there is no file nofile to replay; name the file in which `gossip sim sweep` kept a"),
        (["run", "nofile.toml"], "cannot read nofile.toml: No such file or directory; give the path of a .toml file"),
        (["run", "quick.toml", "--set", "nodes"], "--set takes KEY=VALUE"),
        (["run", "quick.toml", "--set", "config.fanuot=3"], "--set config.fanuot=3: unknown key 'fanuot' in config"),
        (["run", "quick.toml", "--loss", "2"], "--loss"),
        (["run", "quick.toml", "--loss", "10%"], "'10%' is no share from 0 to 1, such as 0.1"),
        (["run", "quick.toml", "--nodes", "0"], "--nodes"),
        (["sweep", "quick.toml", "--jobs", "2", "--dask", "x"], "--jobs is for processes"),
        (["run"], "Missing argument 'SCENARIO'"),
        (["sweep", "quick.toml", "--dask", "nonsense://"], "a Dask scheduler's address is HOST:PORT"),
        (["sweep", "quick.toml", "--dask", "tcp://x"], "not 'tcp://x'"),
    ],
)
def test_a_mistake_is_wrong_usage_told_in_one_line(tmp_path: Path, quick: str, args: list[str], told: str) -> None:
    (tmp_path / "wrong.toml").write_text("title = 'x'\nnods = 3\n")
    text = sim(*args, cwd=tmp_path, code=2)
    assert text.startswith("gossip: ")
    assert text.count("\n") == 1
    assert told in text


def test_a_run_is_written_as_a_page_and_drawn(tmp_path: Path, quick: str) -> None:
    sim("run", quick, "--report", "run.html", cwd=tmp_path)
    assert "gossip sim run quick.toml --seed 0" in (tmp_path / "run.html").read_text()
    if importlib.util.find_spec("matplotlib") is None:
        assert "--png needs matplotlib: pip install" in sim("run", quick, "--png", "run.png", cwd=tmp_path, code=2)
    else:
        sim("run", quick, "--png", "run.png", cwd=tmp_path)
        assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


def test_ctrl_c_ends_a_run_without_a_trace(tmp_path: Path) -> None:
    process = start("run", "thousand-nodes", cwd=tmp_path)
    until(lambda: seconds_of_work(process) > 2)
    code, out, err = interrupt(process)
    assert (code, out) == (130, "")
    assert re.fullmatch(r"stopped at \d+ of \d+ virtual seconds\n", err)


# ---- sweep


def start(*args: object, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "simulations", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=environment(),
        start_new_session=True,
    )


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Ctrl-C as a terminal does it: to the whole group. The exit code, and what was written."""
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT)
    return process.returncode, out, err


def test_a_sweep_tallies_its_seeds(tmp_path: Path, quick: str) -> None:
    out = tmp_path / "out.jsonl"
    found = sim("sweep", quick, "--seeds", 30, "--first", 5, "--jobs", 2, "--json", "--out", out, cwd=tmp_path)
    assert (found["seeds"], found["passed"], found["failed"], found["interrupted"]) == (30, 30, 0, False)
    assert found["failures"] == []
    assert found["bytes_a_node_second"]["p50"] > 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert sorted(line["seed"] for line in lines) == list(range(5, 35))
    alone = sim("run", quick, "--seed", 9, "--json", cwd=tmp_path)
    assert next(line for line in lines if line["seed"] == 9)["summary"] == alone["summary"]


def test_a_sweep_names_each_failing_seed_and_keeps_the_first_made_small(tmp_path: Path, hopeless: str) -> None:
    args = ("--seeds", 12, "--jobs", 2, "--loss", 1, "--shrink-seconds", 5, "--failures", "kept")
    text = sim("sweep", hopeless, *args, cwd=tmp_path, code=1)
    assert text.startswith("FAILED hopeless: 0 of 12 seeds passed\n")
    lines = re.findall(r"^seed (\d+): all are equal in time: (.*)$", text, re.MULTILINE)
    assert lines == [(str(seed), f"gossip sim run hopeless.toml --seed {seed} --loss 1") for seed in range(10)]
    assert "\nand 2 more\n" in text
    assert text.endswith("writes: gossip sim replay kept/failure-hopeless-0.toml\n")
    kept = load_file(str(tmp_path / "kept/failure-hopeless-0.toml"))
    assert kept.scenario.nodes <= 2
    assert kept.scenario.faults == ()
    assert len(kept.scenario.writes) == 1


def test_what_was_kept_is_replayed_until_it_passes(tmp_path: Path, hopeless: str) -> None:
    args = ("--seeds", 1, "--first", 3, "--jobs", 1, "--shrink-seconds", 2)
    found = sim("sweep", hopeless, *args, "--json", cwd=tmp_path, code=1)
    file = found["kept"]["file"]
    assert file == "failure-hopeless-3.toml"
    text = sim("replay", file, cwd=tmp_path, code=1)
    assert "It still fails as it did: all are equal in time." in text
    assert f"Again: gossip sim replay {file}" in text
    mended = (tmp_path / file).read_text().replace("loss = 1.0", "loss = 0.0")
    (tmp_path / file).write_text(mended.replace("settle = 2.0", "settle = 20.0"))
    assert "It does not fail any more" in sim("replay", file, cwd=tmp_path)


def test_a_sweep_may_keep_nothing(tmp_path: Path, hopeless: str) -> None:
    text = sim("sweep", hopeless, "--seeds", 1, "--jobs", 1, "--no-shrink", cwd=tmp_path, code=1)
    assert "replay" not in text
    assert [path.name for path in tmp_path.iterdir()] == ["hopeless.toml"]


def written(*args: object, cwd: Path) -> tuple[int, str, str]:
    """The exit code and both outputs of a command that may fail."""
    process = start(*args, cwd=cwd)
    out, err = process.communicate(timeout=TIMEOUT)
    return process.returncode, out, err


def test_a_failure_that_cannot_be_kept_leaves_the_tally_and_is_told(tmp_path: Path, hopeless: str) -> None:
    (tmp_path / "file").write_text("")
    args = ("sweep", hopeless, "--seeds", 1, "--jobs", 1, "--shrink-seconds", 0, "--failures", "file/below", "--json")
    code, out, err = written(*args, cwd=tmp_path)
    assert code == 1
    assert json.loads(out)["failed"] == 1
    assert json.loads(out)["kept"] is None
    assert err == "gossip: cannot keep the failure in file/below: Not a directory\n"


@pytest.mark.parametrize("name", ["x" * 300, "a\\u0000b", "a\\nb", "../a b"])
def test_a_failure_is_kept_whatever_the_scenario_is_called(tmp_path: Path, hopeless: str, name: str) -> None:
    (tmp_path / hopeless).write_text(f'name = "{name}"\n{HOPELESS}')
    args = ("sweep", hopeless, "--seeds", 1, "--jobs", 1, "--shrink-seconds", 0, "--json")
    file = sim(*args, cwd=tmp_path, code=1)["kept"]["file"]
    assert re.fullmatch(r"failure-[\w.-]{1,80}-0\.toml", file)
    assert (tmp_path / file).is_file()


def test_outcomes_that_cannot_be_written_leave_the_tally_and_are_told(tmp_path: Path, quick: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    args = ("sweep", quick, "--seeds", 2, "--jobs", 1, "--json", "--out", "/dev/full")
    code, out, err = written(*args, cwd=tmp_path)
    assert (code, json.loads(out)["passed"]) == (2, 2)
    assert err == "gossip: cannot write /dev/full: No space left on device\n"


def test_a_sweep_does_not_begin_if_its_outcomes_have_no_place(tmp_path: Path, quick: str) -> None:
    code, out, err = written("sweep", quick, "--out", "none/x", cwd=tmp_path)
    assert (code, out, err) == (2, "", "gossip: cannot write none/x: No such file or directory\n")


def test_ctrl_c_leaves_what_is_done(tmp_path: Path) -> None:
    process = start("sweep", "tasks", "--seeds", 5000, "--jobs", 2, "--out", "out.jsonl", cwd=tmp_path)
    out = tmp_path / "out.jsonl"
    until(lambda: out.exists() and out.read_text().count("\n") >= 2)
    code, text, err = interrupt(process)
    assert (code, err) == (130, "")
    done = out.read_text().count("\n")
    assert text.startswith(f"STOPPED tasks: {done} of {done} seeds passed, {5000 - done} seeds not run\n")


def test_ctrl_c_after_a_failure_is_a_failure(tmp_path: Path, hopeless: str) -> None:
    process = start("sweep", hopeless, "--seeds", 5000, "--jobs", 1, "--out", "out.jsonl", "--json", cwd=tmp_path)
    out = tmp_path / "out.jsonl"
    until(lambda: out.exists() and out.read_text().count("\n") >= 1)
    code, text, err = interrupt(process)
    assert (code, err) == (1, "")
    assert json.loads(text)["interrupted"] is True


def test_a_second_ctrl_c_does_not_wait_for_the_seeds_under_way(tmp_path: Path) -> None:
    process = start("sweep", "thousand-nodes", "--seeds", 4, "--jobs", 1, cwd=tmp_path)
    until(lambda: seconds_of_work(process) > 3)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    code, text, err = interrupt(process)
    assert (code, err) == (130, "")
    assert text == "STOPPED thousand-nodes: 0 of 0 seeds passed, 4 seeds not run\n"


def seconds_of_work(process: subprocess.Popen[str]) -> float:
    """CPU seconds that its process group has taken: importing takes about one, so more show that it runs a seed."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # a process that has just ended
            fields = stat.read_text().rpartition(")")[2].split()
            ticks += (int(fields[2]) == process.pid) * (int(fields[11]) + int(fields[12]))
    return ticks / os.sysconf("SC_CLK_TCK")


def until(condition: Any) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_seed_that_kills_its_worker_is_named_and_the_others_are_run(tmp_path: Path, quick: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, simulations.campaign.outcome as outcome\n"
        "run = outcome.run_scenario\n"
        "outcome.run_scenario = lambda scenario, seed: os._exit(9) if seed == 6 else run(scenario, seed)\n"
    )
    args = ("sweep", quick, "--seeds", 12, "--jobs", 2, "--json")
    found = sim(*args, cwd=tmp_path, code=1, paths=(tmp_path,))
    assert (found["seeds"], found["passed"]) == (12, 11)
    (failure,) = found["failures"]
    assert failure["seed"] == 6
    assert failure["died"].startswith("its worker died (BrokenProcessPool")
    assert failure["command"] == "gossip sim run quick.toml --seed 6"


# ---- Dask

CLUSTER = """
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        input()
"""


def test_the_seeds_are_handed_to_a_dask_cluster(tmp_path: Path, quick: str) -> None:
    pytest.importorskip("distributed")
    (tmp_path / "cluster.py").write_text(CLUSTER)
    with subprocess.Popen(
        [sys.executable, "cluster.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment(),
    ) as cluster:
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        found = sim("sweep", quick, "--seeds", 12, "--dask", address, "--json", cwd=tmp_path)
        cluster.communicate("\n", timeout=TIMEOUT)
    assert (found["seeds"], found["passed"]) == (12, 12)
    here = sim("sweep", quick, "--seeds", 12, "--jobs", 1, "--json", cwd=tmp_path)
    assert found["converged"] == here["converged"]
    assert found["bytes_a_node_second"] == here["bytes_a_node_second"]


# ---- on a terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_shows_a_name_that_looks_like_markup_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    name = "x[/foo]"
    with virtual_time(Scenario(name=name, duration=1.0)) as on_second:
        on_second(0.5)
        on_second(2.0)
    with seeds_done(name, 2) as on_seed:
        on_seed(1, 0, "")
    with shrinking() as tell:
        tell(name)
    assert name in terminal.getvalue()
