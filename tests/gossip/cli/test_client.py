"""The caller's end of the control socket, against nodes that are slow, full, or gone."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gossip.cli import client
from gossip.cli.client import NodeUnreachable, ask, follow
from gossip.control.server import SOCKET_FILE
from gossip.protocol.errors import LocalError
from gossip.storage.datadir import DataDir


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / SOCKET_FILE))
        listener.listen(0)
        listener.settimeout(20)
        yield listener


def answering(listener: socket.socket, *answers: bytes) -> threading.Thread:
    """Take one call for each answer."""

    def serve() -> None:
        for answer in answers:
            connection, _ = listener.accept()
            with connection, connection.makefile("rwb") as file:
                file.readline()
                file.write(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_who_starts_or_stops_on_a_directory_is_named(tmp_path: Path) -> None:
    with (
        DataDir(tmp_path),
        pytest.raises(NodeUnreachable, match=f"process {os.getpid()} is starting or stopping there; wait"),
    ):
        ask(tmp_path, "ls")
    with pytest.raises(NodeUnreachable, match="no node runs on"):
        ask(tmp_path, "ls")


def test_an_answer_is_returned_and_an_error_raised_in_the_words_of_the_node(
    listener: socket.socket, tmp_path: Path
) -> None:
    thread = answering(listener, b'{"result": [1]}\n', b'{"error": "not today"}\n')
    assert ask(tmp_path, "ls") == [1]
    with pytest.raises(LocalError, match=r"^not today$"):
        ask(tmp_path, "ls")
    thread.join()


def test_a_caller_waits_its_turn_when_many_call(listener: socket.socket, tmp_path: Path) -> None:
    """Beyond the backlog a Unix socket refuses callers that do not wait, as if nobody were there."""
    crowd = []
    while True:
        early = socket.socket(socket.AF_UNIX)
        early.setblocking(False)
        crowd.append(early)
        if early.connect_ex(str(tmp_path / SOCKET_FILE)):
            break
    got: list[object] = []
    caller = threading.Thread(target=lambda: got.append(ask(tmp_path, "ls")))
    caller.start()
    for early in crowd:
        early.close()
    thread = answering(listener, *[b""] * (len(crowd) - 1), b'{"result": "at last"}\n')
    caller.join()
    thread.join()
    assert got == ["at last"]


def test_a_node_that_hangs_up_without_a_word_is_told_of(listener: socket.socket, tmp_path: Path) -> None:
    thread = answering(listener, b"", b'{"result": 1}\n')
    with pytest.raises(NodeUnreachable, match="stopped before it answered"):
        ask(tmp_path, "ls")
    followed = follow(tmp_path, "watch", name=None)
    assert next(followed) == 1
    with pytest.raises(NodeUnreachable, match="has stopped"):
        next(followed)
    thread.join()


def test_a_node_that_does_not_answer_is_not_waited_for_for_ever(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "TIMEOUT", 0.1)
    with pytest.raises(NodeUnreachable, match=r"did not answer within .* s; it may be busy or paused"):
        ask(tmp_path, "ls")


def test_a_socket_left_behind_is_a_node_that_does_not_run(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / SOCKET_FILE))
    with pytest.raises(NodeUnreachable, match="no node runs on"):
        ask(tmp_path, "ls")
