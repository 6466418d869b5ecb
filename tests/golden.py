"""What travels and what is on disk, byte for byte, as pinned while the code moves.

`python -m tests.golden` writes `golden.json` anew. A commit that changes bytes on purpose does so, and says so.
"""

import json
import random
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from gossip.protocol.wire.codec import encode_frame, encode_message
from simulations.campaign.runner import Run
from simulations.scenario.file import load_scenario

from .gossip.protocol.wire.test_codec import FRAMES, MESSAGES
from .gossip.storage.life import Life
from .gossip.storage.test_checkpointer import Keeper

FILE: Final = Path(__file__).with_name("golden.json")
SEEDS: Final = range(20)
LIVES: Final = range(5)
STEPS: Final = 60

Golden = dict[str, str]


def traces() -> Golden:
    """The hash of all datagrams and streams, and of when they were sent, of each seed of the scenario chaos."""
    found = {}
    for seed in SEEDS:
        run = Run(load_scenario("chaos"), seed)
        run.finish()
        found[str(seed)] = run.cluster.network.trace()
    return found


def messages() -> Golden:
    """An example of each message and frame, encoded."""
    encoded = [*((each, encode_message(each)) for each in MESSAGES), *((each, encode_frame(each)) for each in FRAMES)]
    return {f"{number} {type(each).__name__}": data.hex() for number, (each, data) in enumerate(encoded)}


def disks() -> Golden:
    """The hash of all that a database holds after each of some random lives, its tables included."""
    return {str(seed): _disk(seed) for seed in LIVES}


def _disk(seed: int) -> str:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "state.db"
        life = Life(random.Random(seed))
        with closing(Keeper(life, path)) as keeper:
            for _ in range(STEPS):
                life.step()
                keeper.step()
        with closing(sqlite3.connect(path)) as connection:
            return blake2b("\n".join(connection.iterdump()).encode(), digest_size=16).hexdigest()


PARTS: Final[dict[str, Callable[[], Golden]]] = {"traces": traces, "messages": messages, "disks": disks}


def pinned(part: str) -> Golden:
    """What `golden.json` says of one of `PARTS`."""
    found: Golden = json.loads(FILE.read_text())[part]
    return found


if __name__ == "__main__":
    FILE.write_text(json.dumps({part: find() for part, find in PARTS.items()}, indent=1) + "\n")
    sys.stdout.write(f"{FILE} is written anew\n")
