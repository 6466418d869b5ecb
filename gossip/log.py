"""Log lines: ``noun.verb`` events with fields. This library never configures structlog; its command line does."""

import logging
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

import structlog

from .limiter import LineLimiter
from .protocol import Notify, notices

NODE_STARTED: Final = "node.started"
NODE_STOPPED: Final = "node.stopped"
NODE_UNSEALED: Final = "node.unsealed"
WRITES_UNSAVED: Final = "writes.unsaved"
WRITES_UNSHARED: Final = "writes.unshared"
DISK_FAILED: Final = "disk.failed"
DISK_SLOW: Final = "disk.slow"
DISK_RECOVERED: Final = "disk.recovered"
DATA_DAMAGED: Final = "data.damaged"
DATA_CUT: Final = "data.cut"
DATA_UNREAD: Final = "data.unread"
DATAGRAM_REFUSED: Final = "datagram.refused"
SEED_UNRESOLVED: Final = "seed.unresolved"
DISCOVERY_STARTED: Final = "discovery.started"
DISCOVERY_FAILED: Final = "discovery.failed"
NEIGHBOUR_UNREADABLE: Final = "neighbour.unreadable"
PORT_TAKEN: Final = "port.taken"
LOOPBACK_ADVERTISED: Final = "loopback.advertised"
LISTENER_FAILED: Final = "listener.failed"
REQUEST_FAILED: Final = "request.failed"
CLOCK_WRONG: Final = "clock.wrong"

_LEVELS: Final[dict[str, str]] = {
    notices.MEMBER_JOINED: "info",
    notices.MEMBER_RESTARTED: "info",
    notices.MEMBER_RETURNED: "info",
    notices.MEMBER_MOVED: "info",
    notices.MEMBER_LEFT: "info",
    notices.MEMBER_FAILED: "warning",
    notices.MEMBERS_PARTIAL: "info",
    notices.MEMBERS_COMPLETE: "info",
    notices.MEMBER_SUSPECTED: "debug",
    notices.MEMBER_FORGOTTEN: "debug",
    notices.MEMBER_RETIRED: "info",
    notices.WRITER_CHOSEN: "debug",
    notices.WRITER_BEQUEATHED: "debug",
    notices.IDENTITY_CONTESTED: "error",
    notices.IDENTITY_FORKED: "warning",
    notices.WRITES_REPEATED: "warning",
    notices.IDENTITY_RETIRED: "error",
    notices.INPUT_REJECTED: "warning",
    notices.EVENTS_REFUSED: "warning",
    notices.STAMP_REFUSED: "warning",
    notices.FINGERPRINT_MISMATCHED: "error",
    notices.STREAM_FAILED: "warning",
    notices.SEED_SILENT: "warning",
    notices.STREAM_FINISHED: "debug",
    notices.STATE_JOINED: "info",
    notices.DIFFERENCE_JOINED: "info",
}
"""Events that are not listed are for waiting tasks, too frequent for a log."""


_ONCE: Final = frozenset(
    {
        notices.STREAM_FAILED,
        notices.INPUT_REJECTED,
        notices.STAMP_REFUSED,
        notices.FINGERPRINT_MISMATCHED,
        notices.IDENTITY_CONTESTED,
        DATAGRAM_REFUSED,
    }
)
"""Events that are written once a minute for each `reason`: a stranger or a faulty peer can cause them at will."""
MOST_LINES: Final = 240
"""Lines of any other event in a minute, at most. It is that many because a whole cluster may come or go at once."""


def logger_for(name: str) -> Any:
    """The logger of one node, bound with its name.

    It hands its lines to the standard library's logger "gossip", so that in an application that configured nothing
    only warnings appear, on standard error. Where structlog is not configured, its defaults are not used either: they
    would print everything to standard output, with colours, a second time stamp, and tracebacks that show local
    variables, one of which may be the cluster key.
    """
    processors: list[Any] | None = [structlog.processors.format_exc_info, _render]
    if structlog.is_configured():
        processors = None
    return structlog.wrap_logger(logging.getLogger("gossip"), processors=processors).bind(node=name)


def _render(_: Any, __: str, fields: MutableMapping[str, Any]) -> str:
    """``noun.verb key=value ...``, and a traceback below if there is one."""
    event, exception = fields.pop("event"), fields.pop("exception", None)
    line = " ".join([event, *(f"{key}={_on_one_line(value)}" for key, value in fields.items())])
    return f"{line}\n{exception}" if exception else line


def _on_one_line(value: object) -> str:
    text = str(value)
    return text if text.isprintable() else repr(text)


@dataclass(frozen=True, slots=True)
class LogLoss:
    """The log lines that could not be written."""

    lines: int
    """How many lines are lost."""
    why: str | None
    """Why the last one is lost; None if no line is."""


class SafeLog:
    """Hands lines to a logger. A line that the logger raises for is lost and counted: a node must not end for its log.

    Of the lines that others can cause, only some are written each minute; the next line of the kind has the number of
    those that were swallowed.
    """

    LEVELS: Final = ("debug", "info", "warning", "error")

    def __init__(self, log: Any, clock: Callable[[], float] = monotonic) -> None:
        self._log = log
        self._clock = clock
        self._limiter = LineLimiter()
        self._lines = 0
        self._why: str | None = None

    def debug(self, event: str, **fields: Any) -> None:
        self._write("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        once = event in _ONCE
        kind = f"{event} {fields.get('reason')}" if once else event
        swallowed = self._limiter.admit(self._clock(), kind, 1 if once else MOST_LINES)
        if swallowed is None:
            return
        if swallowed:
            fields = {**fields, "swallowed": swallowed}
        try:
            getattr(self._log, level)(event, **fields)
        except Exception as error:
            self.lose(error)

    def lose(self, error: Exception) -> None:
        """Count a line that could not be written because of ``error``."""
        self._lines += 1
        self._why = (error.strerror if isinstance(error, OSError) else None) or f"{error!r:.200}"

    @property
    def loss(self) -> LogLoss:
        return LogLoss(self._lines, self._why)


def safe_log(log: Any) -> SafeLog:
    """``log`` inside a `SafeLog`; ``log`` itself if it is one."""
    return log if isinstance(log, SafeLog) else SafeLog(log)


def log_notice(log: Any, notice: Notify) -> None:
    """Write down what the engine reports, if it is for people."""
    level = _LEVELS.get(notice.event)
    if level is not None:
        getattr(log, level)(notice.event, **notice.fields)
