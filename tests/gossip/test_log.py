"""Log lines: what is for people is named ``noun.verb``, and the rest is not written."""

import re

import structlog

from gossip import log as log_module
from gossip.log import log_notice, logger_for
from gossip.protocol import Notify, notices

from .live import Journal

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
