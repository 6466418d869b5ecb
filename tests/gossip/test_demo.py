"""The demo: what it reads and measures, and that it is real: right results, wrong ones, and nothing left behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from rich.console import Console

from gossip import Statistics
from gossip.demo import run_demo
from gossip.demo.cluster import DemoError, open_cluster
from gossip.demo.figures import Sighting, percentile, traffic, visible_after
from gossip.demo.history import Edit, Step, load_final_tree, load_history, parse_history, parse_tree, tree_after
from gossip.demo.jsonlines import JsonLines
from gossip.demo.partition import cut_and_write, heal
from gossip.demo.replay import replay
from gossip.node import SHUTDOWN_GRACE

PROGRAM = """
import sys, trio
from rich.console import Console
from gossip.demo import run_demo
from gossip.demo.history import load_history
steps = load_history()[-100:]
sys.exit(trio.run(lambda: run_demo(Console(markup=False), steps=steps)))
"""
ROOT = Path(__file__).parents[2]
PATIENCE = 20.0
"""Seconds that a process may take to start, or to go."""


# ---- what goes in


def test_consecutive_lines_of_one_number_are_one_step() -> None:
    lines = ["1\t10\t7\tset\tx\taa", "1\t10\t7\tdel\ty\t", "2\t11\t8\tset\tx\tbb"]
    assert parse_history(lines) == [
        Step(1, 7, (Edit("x", "aa"), Edit("y", None))),
        Step(2, 8, (Edit("x", "bb"),)),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "1\t10\t7\tset\tx",
        "1\t10\t7\tset\tx\taa\tbb",
        "one\t10\t7\tset\tx\taa",
        "1\t10\t7\tput\tx\taa",
        "1\t10\t7\tset\tx\t",
        "1\t10\t7\tdel\tx\taa",
    ],
)
def test_a_line_that_is_no_change_is_refused_by_its_place(line: str) -> None:
    with pytest.raises(ValueError, match="line 2 of the history"):
        parse_history(["1\t10\t7\tset\tx\taa", line])


def test_a_tree_line_that_is_no_file_is_refused() -> None:
    assert parse_tree(["x\taa", "y\tbb"]) == {"x": "aa", "y": "bb"}
    with pytest.raises(ValueError, match="unpack"):
        parse_tree(["x"])


def test_a_path_can_be_deleted_written_again_and_deleted_where_it_is_not() -> None:
    edits = (Edit("x", "aa"), Edit("x", None), Edit("x", "bb"), Edit("y", None))
    assert tree_after([Step(1, 0, edits)]) == {"x": "bb"}


def test_the_history_is_what_its_readme_says() -> None:
    steps = load_history()
    edits = [edit for step in steps for edit in step.edits]
    assert (len(steps), len(edits), sum(edit.blob is None for edit in edits)) == (2_466, 8_631, 632)
    assert len({step.author for step in steps}) == 77
    assert len({edit.path for edit in edits}) == 851
    assert [step.number for step in steps] == sorted(step.number for step in steps)


def test_one_dict_replays_the_history_to_the_real_tree() -> None:
    assert len(load_final_tree()) == 229
    assert tree_after(load_history()) == load_final_tree()


# ---- what is measured


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 50), (0.501, 51), (0.99, 99), (1.0, 100)])
def test_a_percentile_is_the_nearest_rank(share: float, expected: int) -> None:
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7], 0.5) == percentile([7], 0.99) == 7


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1], 1.1), ([1], -0.1)])
def test_a_percentile_of_nothing_or_beyond_all_is_refused(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="no percentile"):
        percentile(values, share)


def test_a_write_is_visible_when_the_last_node_sees_it() -> None:
    written = {("a", 1): 100, ("a", 2): 110, ("b", 1): 200}
    at_a: list[Sighting] = [("b", 1, 2, 203)]
    at_b: list[Sighting] = [("a", 1, 3, 130)]
    at_c: list[Sighting] = [("a", 2, 3, 150), ("a", 1, 2, 160), ("b", 1, 2, 201), ("b", 2, 9, 300)]
    assert visible_after(written, [at_a, at_b, at_c]) == [60, 40, 3]


def test_a_write_that_a_node_never_saw_is_not_passed_over() -> None:
    with pytest.raises(LookupError, match="1 writes"):
        visible_after({("a", 1): 100, ("a", 2): 100}, [[], [("a", 1, 3, 130)], [("a", 1, 2, 130)]])


def test_traffic_is_what_all_nodes_sent_in_between() -> None:
    before = [Statistics(datagrams_sent=1, datagram_bytes_sent=100), Statistics()]
    after = [
        Statistics(datagrams_sent=3, datagram_bytes_sent=350, stream_bytes_sent=1_000),
        Statistics(datagrams_sent=5, datagram_bytes_sent=500, datagram_bytes_received=9_999),
    ]
    assert traffic(before, after) == (7, 1_750)


# ---- how the processes talk


async def test_messages_arrive_whole_whatever_pieces_they_come_in() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    lines = JsonLines(theirs, theirs)
    for piece in (b'{"n"', b": 1}\n", b'{"n": 2}\n{"n": 3}\n{"n"'):
        await ours.send_all(piece)
    assert [await lines.receive() for _ in range(3)] == [{"n": 1}, {"n": 2}, {"n": 3}]
    await ours.send_eof()
    assert await lines.receive() is None


# ---- the real thing


@pytest.fixture(scope="module")
def recent() -> list[Step]:
    """The last steps: many authors, and deletes of files that were written before them, so are not there."""
    return load_history()[-100:]


async def test_five_processes_replay_are_cut_and_heal(recent: list[Step], capsys: pytest.CaptureFixture[str]) -> None:
    assert await run_demo(Console(), as_json=True, steps=recent) == 0
    output = capsys.readouterr()
    figures = json.loads(output.out)
    assert output.err == ""
    assert (figures["replay"]["steps"], figures["replay"]["files"]) == (100, len(tree_after(recent)))
    assert figures["replay"]["visible_p50_ms"] <= figures["replay"]["visible_p99_ms"]
    assert min(figures["replay"]["datagrams"], figures["replay"]["bytes"], figures["replay"]["seconds"]) > 0
    left, right, everywhere = figures["cut"]["left"], figures["cut"]["right"], figures["heal"]["everywhere"]
    assert (left["members"], right["members"]) == (["a", "b"], ["c", "d", "e"])
    assert not {*left["tasks"]} & {*right["tasks"]}
    assert everywhere["tasks"] == sorted(left["tasks"] + right["tasks"])
    assert everywhere["hours"] == left["hours"] + right["hours"]
    assert everywhere["note"] in (left["note"], right["note"])


async def test_a_result_that_is_not_the_expected_one_is_reported(recent: list[Step]) -> None:
    wrong = {**tree_after(recent), "no/such/file": "aa"}
    with pytest.raises(ExceptionGroup) as caught:
        async with open_cluster("ab") as workers:
            await replay(workers, recent, wrong, lambda _changes: None)
    assert caught.group_contains(DemoError, match="1 differ, first no/such/file")


async def test_a_cut_that_does_not_heal_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    async def heal_one_end_only() -> None:
        async with open_cluster("abcde") as workers:
            _, versions = await cut_and_write(workers)
            monkeypatch.setattr("gossip.demo.cluster.ANSWER_TIMEOUT", 0.5)
            await heal(workers[:1], versions)

    with pytest.raises(ExceptionGroup) as caught:
        await heal_one_end_only()
    assert caught.group_contains(DemoError, match="node a did not answer 'wait'")


async def test_workers_that_leave_together_do_not_wait_for_one_another(recent: list[Step]) -> None:
    async with open_cluster("abc") as workers:
        await replay(workers, recent[:10], tree_after(recent[:10]), lambda _changes: None)
        start = trio.current_time()
    assert trio.current_time() - start < SHUTDOWN_GRACE


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_demo_and_every_worker(number: signal.Signals, code: int) -> None:
    with demo_process() as (process, workers):
        process.send_signal(number)
        output, error = process.communicate(timeout=PATIENCE)
        assert (process.returncode, error) == (code, "gossip: the demo was interrupted\n")
        assert "\x1b" not in output  # plain text where there is no terminal
        assert "[bold]" not in output
        assert not any(is_running(pid) for pid in workers)


def test_workers_end_by_themselves_when_the_demo_is_killed() -> None:
    with demo_process() as (process, workers):
        process.kill()
        process.wait(PATIENCE)
        until_gone(workers)


def test_a_worker_that_dies_ends_the_demo_with_one_line() -> None:
    with demo_process() as (process, workers):
        os.kill(workers[2], signal.SIGKILL)
        _, error = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        assert re.fullmatch(r"gossip: the demo failed: node c ended with code -9: .*\n", error)
        assert not any(is_running(pid) for pid in workers)


def test_a_reader_that_leaves_ends_the_demo_without_a_word() -> None:
    with demo_process() as (process, workers):
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(2 * PATIENCE) == 1
        assert process.stderr.read() == ""
        assert not any(is_running(pid) for pid in workers)


@contextmanager
def demo_process() -> Iterator[tuple["subprocess.Popen[str]", list[int]]]:
    """The demo in a process of its own, as soon as its workers run, and their process ids."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        told = next((line for line in process.stdout if line.strip().startswith("process")), "")
        workers = [int(pid) for pid in told.split()[1:]]
        assert len(workers) == 5
        assert all(is_running(pid) for pid in workers)
        yield process, workers
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def is_running(pid: int) -> bool:
    """Whether a process is there and not merely waiting for its parent to take note of its end."""
    if Path("/proc/self/stat").exists():
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
        except (FileNotFoundError, ProcessLookupError):
            return False
    else:
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return state.strip()[:1] not in ("", "Z")


def until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + PATIENCE
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < deadline, "workers outlive the demo"
        time.sleep(0.05)
