"""`gossip` on a disk that breaks: arguments are how, the file that breaks it once it is there, and `DISK_GRACE`.

"hangs" is a disk that does not answer, as a network mount whose server has gone; "fails" one that is full.
"""

import sys
import time
from pathlib import Path
from typing import Any

from gossip import node
from gossip.cli import main
from gossip.storage import patience, writer
from gossip.storage import worker as beside
from gossip.storage.database import Database
from gossip.storage.errors import DiskFailed

HANG_SECONDS = 3600.0

if __name__ == "__main__":
    how, broken = sys.argv[1], Path(sys.argv[2])
    for module in (node, beside, patience, writer):
        module.DISK_GRACE = float(sys.argv[3])
    sys.argv[1:4] = []
    original = Database.write

    def write(self: Database, *args: Any) -> None:
        if broken.exists():
            if how == "fails":
                raise DiskFailed("the disk is full; make room")
            time.sleep(HANG_SECONDS)
        original(self, *args)

    Database.write = write  # type: ignore[method-assign]
    main()
