"""Log lines: ``noun.verb`` events with fields. This library never configures structlog; its command line does."""

import logging
from typing import Any, Final

import structlog

from .protocol import Notify, notices

NODE_STARTED: Final = "node.started"
NODE_STOPPED: Final = "node.stopped"
NODE_UNSEALED: Final = "node.unsealed"
WRITES_UNSHARED: Final = "writes.unshared"
DATAGRAM_REFUSED: Final = "datagram.refused"
SEED_UNRESOLVED: Final = "seed.unresolved"
LISTENER_FAILED: Final = "listener.failed"
REQUEST_FAILED: Final = "request.failed"

_LEVELS: Final[dict[str, str]] = {
    notices.MEMBER_JOINED: "info",
    notices.MEMBER_RESTARTED: "info",
    notices.MEMBER_RETURNED: "info",
    notices.MEMBER_MOVED: "info",
    notices.MEMBER_LEFT: "info",
    notices.MEMBER_FAILED: "warning",
    notices.MEMBERS_FULL: "warning",
    notices.INPUT_REJECTED: "warning",
    notices.STAMP_REFUSED: "warning",
    notices.FINGERPRINT_MISMATCHED: "error",
    notices.STREAM_FAILED: "info",
    notices.STREAM_FINISHED: "debug",
    notices.STATE_JOINED: "info",
}
"""Events that are not listed are for waiting tasks, too frequent for a log."""


def logger_for(name: str) -> Any:
    """The logger of one node, bound with its name.

    It hands its lines to the standard library's logger "gossip", so that in an application that configured nothing
    only warnings appear, on standard error: structlog's own default would print everything to standard output.
    """
    return structlog.wrap_logger(logging.getLogger("gossip")).bind(node=name)


def log_notice(log: Any, notice: Notify) -> None:
    """Write down what the engine reports, if it is for people."""
    level = _LEVELS.get(notice.event)
    if level is not None:
        getattr(log, level)(notice.event, **notice.fields)
