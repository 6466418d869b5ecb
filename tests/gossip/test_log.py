"""Log lines: what is for people is named ``noun.verb``, and the rest is not written."""

import logging
import re
from pathlib import Path

import pytest
import structlog

from gossip import log as log_module
from gossip import open_node
from gossip.log import LogLoss, log_notice, logger_for, safe_log
from gossip.protocol import Notify, notices

from .live import FAST, Journal, acquainted

NAMES = [value for name, value in vars(notices).items() if name.isupper()]


def test_every_event_is_a_noun_and_a_verb() -> None:
    ours = [value for name, value in vars(log_module).items() if name.isupper() and isinstance(value, str)]
    assert len(ours) >= 5
    for event in NAMES + ours:
        assert re.fullmatch(r"[a-z]+\.[a-z]+", event)


def test_notices_for_people_are_written_with_their_fields_and_others_are_not() -> None:
    journal = Journal()
    for event in NAMES:
        log_notice(journal.logger, Notify(event, {"member": "b"}))
    written = {line["event"]: line for line in journal.lines}
    assert written[notices.MEMBER_FAILED] == {"event": "member.failed", "level": "warning", "member": "b"}
    assert written[notices.FINGERPRINT_MISMATCHED]["level"] == "error"
    assert notices.DATA_RECEIVED not in written
    assert notices.MEMBER_PROGRESSED not in written


def test_the_library_leaves_the_configuration_of_structlog_alone() -> None:
    before = structlog.get_config()
    logger_for("a").warning("some.thing")
    assert structlog.get_config() == before
    assert not structlog.is_configured()


def test_values_cannot_break_out_of_their_line(caplog: object) -> None:
    log = logger_for("a")
    log.warning("member.joined", member="evil\nnode.stopped")
    text = caplog.text  # type: ignore[attr-defined]
    assert len(text.strip().splitlines()) == 1


def test_a_traceback_of_an_application_that_configured_nothing_shows_no_variables(
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret = "-".join(["the", "cluster", "key"])  # so that the text stands nowhere in the source
    try:
        raise ValueError(len(secret))
    except ValueError as error:
        logger_for("a").error("listener.failed", exc_info=error)
    assert "ValueError: 15" in caplog.text
    assert secret not in caplog.text
    assert "\x1b" not in caplog.text


def test_a_line_of_an_application_that_configured_nothing_is_the_event_and_its_fields(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "gossip"):
        logger_for("a").info("member.joined", member="b", epoch=2)
    assert [record.getMessage() for record in caplog.records] == ["member.joined node=a member=b epoch=2"]


def test_the_readme_lists_every_event_that_is_written() -> None:
    text = (Path(log_module.__file__).parent / "README.md").read_text()
    listed = set(re.findall(r"\w+\.\w+", text.partition("## Log events")[2].partition("through structlog")[0]))
    ours = {value for name, value in vars(log_module).items() if name.isupper() and isinstance(value, str)}
    assert listed == ours | set(log_module._LEVELS)


def test_a_line_whose_logger_raises_is_lost_and_counted() -> None:
    class Faulty:
        def info(self, event: str, **fields: object) -> None:
            raise OSError(28, "No space left on device")

        def error(self, event: str, **fields: object) -> None:
            raise RuntimeError("of the logger")

    log = safe_log(Faulty())
    assert safe_log(log) is log
    assert log.loss == LogLoss(0, None)
    log.info("a", x=1)
    assert log.loss == LogLoss(1, "No space left on device")
    log.error("b")
    log.debug("c")
    assert log.loss.lines == 3


async def test_a_logger_that_raises_ends_no_node() -> None:
    def raises(*_: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    faulty = structlog.wrap_logger(None, processors=[raises])
    async with open_node("a", log=faulty, config=FAST) as a, open_node("b", join=[a.address], config=FAST) as b:
        await acquainted(a, b)
        a.orset("s").add(1)
        assert await a.synced() == 1
        assert a.log_loss.lines >= 3  # started, unsealed, member joined
        assert a.log_loss.why == "Broken pipe"
        assert b.log_loss == LogLoss(0, None)
