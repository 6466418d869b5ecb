"""Lines that others can cause: so many are written in a minute, and the next one says how many were not."""

from gossip.limiter import KINDS_KEPT, PERIOD, LineLimiter
from gossip.log import MOST_LINES, SafeLog
from gossip.protocol import notices

from .live import Journal


def test_so_many_pass_in_a_period_and_the_next_tells_how_many_did_not() -> None:
    limiter = LineLimiter()
    assert [limiter.admit(0.0, "a", 2) for _ in range(5)] == [0, 0, None, None, None]
    assert limiter.admit(PERIOD / 2, "a", 2) is None
    assert limiter.admit(PERIOD / 2, "b", 2) == 0
    assert [limiter.admit(PERIOD, "a", 2) for _ in range(3)] == [4, 0, None]


def test_the_kinds_that_are_counted_are_bounded() -> None:
    limiter = LineLimiter()
    for number in range(10 * KINDS_KEPT):
        assert limiter.admit(0.0, str(number), 1) == 0
    assert len(limiter._counts) == KINDS_KEPT


def test_streams_that_fail_are_written_once_a_minute_for_each_reason_with_the_number_that_was_swallowed() -> None:
    journal, now = Journal(), [0.0]
    log = SafeLog(journal.logger, lambda: now[0])
    for _ in range(1000):
        log.warning(notices.STREAM_FAILED, reason="stranger", member=None)
    log.warning(notices.STREAM_FAILED, reason="member", member="b")
    now[0] = 61.0
    log.warning(notices.STREAM_FAILED, reason="stranger", member=None)
    assert [line.get("swallowed") for line in journal.named(notices.STREAM_FAILED)] == [None, None, 999]


def test_a_member_that_comes_and_goes_writes_a_bounded_number_of_lines() -> None:
    journal = Journal()
    log = SafeLog(journal.logger, lambda: 0.0)
    for _ in range(10_000):
        log.warning(notices.MEMBER_FAILED, member="b")
        log.info(notices.MEMBER_RETURNED, member="b")
    assert len(journal.lines) == 2 * MOST_LINES
