"""What an entry takes in memory, each measurement in a process of its own so that nothing else is counted.

`python -m tests.bench.memory CONTESTANT ENTRIES FILE` holds so many entries set one by one and writes them to FILE as
a whole state, or, if FILE has something in it, loads them from there. It prints bytes.
"""

import gc
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from . import samples
from .contestants import ALL, Contestant

_STATM = Path("/proc/self/statm")


def bytes_per_entry(contestant: type[Contestant], entries: int) -> tuple[float, float]:
    """Resident bytes an entry: set one by one, and loaded from a whole state."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.bench.memory", contestant.name, str(entries), f"{folder}/state"]
        built, loaded = (
            int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout) for _ in range(2)
        )
    return built / entries, loaded / entries


def _resident() -> int:
    """Resident bytes of this process; where the system does not tell, the most there ever were."""
    gc.collect()
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _build(kind: type[Contestant], entries: int) -> tuple[int, Contestant]:
    before = _resident()
    replica = kind(1)
    for i in range(entries):
        replica.put(samples.key(i), samples.value(i))
    return _resident() - before, replica


def _load(kind: type[Contestant], entries: int, data: bytes) -> int:
    before = _resident()
    replica = kind(2)
    replica.apply(data)
    assert replica.get(samples.key(entries - 1)) == samples.value(entries - 1)  # which also ends a lazy load
    return _resident() - before


def _main(name: str, count: str, path: str) -> None:
    kind, entries, file = next(kind for kind in ALL if kind.name == name), int(count), Path(path)
    _, warm = _build(kind, 100)  # whatever is made once, on first use, is no part of an entry
    kind(3).apply(warm.dump())
    if file.exists():
        taken = _load(kind, entries, file.read_bytes())
    else:
        taken, replica = _build(kind, entries)
        file.write_bytes(replica.dump())
    print(taken)


if __name__ == "__main__":
    _main(*sys.argv[1:])
