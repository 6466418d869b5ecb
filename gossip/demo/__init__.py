"""The demo: five processes replay a real history, are cut in two, and heal.

`orchestrator` starts the processes and asks them, `worker` is one of them; `replay` and `partition` are the two acts,
`screen` shows them. `history` and `figures` are the pure parts: what goes in, and what is measured.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from .history import Step


async def run_demo(console: "Console", *, as_json: bool = False, steps: "Sequence[Step] | None" = None) -> int:
    """Run it all on ``console`` and return the exit code: 0 if every result is right, else 1; 128 + n after signal n.

    ``as_json`` prints one JSON object and nothing else. ``steps`` are replayed in place of the whole history. Must run
    in the main thread, where signals are received: SIGINT, SIGTERM and SIGHUP end it with no process left behind.
    """
    from .orchestrator import run  # here, because every worker imports this package and needs none of that

    return await run(console, as_json=as_json, steps=steps)
