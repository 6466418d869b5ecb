"""Very many writers of nobody: marking waits for the disk and for a late event loop; looking at them is cheap."""

from unittest.mock import patch

import pytest

from crdts import Event
from crdts.delta import events_delta
from gossip.protocol import Config, Effect, Persist
from gossip.protocol.retirement.unknown import LONGEST_PAUSE, MARK_INTERVAL, MARKED_AT_ONCE
from gossip.protocol.retirement.writers import LAG_SHARE, OPEN_AT_ONCE, STEP, Closing

from ..support import Rig


def rig_with(count: int, *, slow_disk: bool = False) -> Rig:
    """A node whose list of members has settled, with ``count`` writers in its context that belong to no member."""
    rig = Rig(config=Config.local(), slow_disk=slow_disk)
    writers = [f"r{number:07x}" for number in range(count)]
    rig.replica.merge(events_delta([Event(writer, 1, b"", b"", None, ()) for writer in writers]))
    rig.pass_time(10.0)
    return rig


def marked(rig: Rig) -> int:
    """How many writers something was said of."""
    return len(rig.kernel.limits)


def tokens(effects: list[Effect]) -> list[int]:
    return [effect.token for effect in effects if isinstance(effect, Persist)]


def test_no_more_writers_are_marked_before_the_disk_has_saved_the_last_ones_or_a_second_has_passed() -> None:
    rig = rig_with(10 * MARKED_AT_ONCE, slow_disk=True)
    rig.engine.retire_unknown(rig.now)
    rig.tick()
    effects = rig.pass_time(LONGEST_PAUSE / 2)
    assert marked(rig) == MARKED_AT_ONCE
    rig.engine.persisted(rig.now, tokens(effects)[-1])
    effects = rig.pass_time(2 * MARK_INTERVAL)
    assert marked(rig) == 2 * MARKED_AT_ONCE
    rig.pass_time(LONGEST_PAUSE + MARK_INTERVAL)
    assert marked(rig) == 3 * MARKED_AT_ONCE, "where others write all the time the disk may never have everything"


@pytest.mark.parametrize("late", [0.0, 0.1, 60.0])
def test_a_step_that_comes_late_is_followed_by_a_longer_pause(late: float) -> None:
    rig = rig_with(10 * MARKED_AT_ONCE)
    rig.engine.retire_unknown(rig.now)
    rig.now += late
    rig.done(rig.engine.tick(rig.now))
    assert marked(rig) == MARKED_AT_ONCE
    pause = min(max(MARK_INTERVAL, LAG_SHARE * late), LONGEST_PAUSE)
    rig.pass_time(0.9 * pause)
    assert marked(rig) == MARKED_AT_ONCE
    rig.pass_time(0.1 * pause + MARK_INTERVAL / 2)
    assert marked(rig) == 2 * MARKED_AT_ONCE


@pytest.mark.parametrize("late", [0.0, 0.03, 60.0])
def test_a_round_of_closing_that_comes_late_is_followed_by_a_longer_pause(late: float) -> None:
    rig = rig_with(5 * MARKED_AT_ONCE)
    rig.engine.retire_unknown(rig.now)
    rig.pass_time(1.0)
    closing = rig.engine._retiring.closing
    rig.now = closing.deadline() + late
    rig.done(rig.engine.tick(rig.now))
    most = rig.engine._out.config.probe_interval
    assert closing.deadline() - rig.now == pytest.approx(min(max(STEP, LAG_SHARE * late), most))


def test_a_round_looks_at_a_bounded_number_of_open_writers_and_in_the_end_at_all() -> None:
    rig = rig_with(2 * OPEN_AT_ONCE + 100)
    original, looked = Closing._is_to_close, list[str]()

    def looks(closing: Closing, writer: str) -> bool:
        looked.append(writer)
        return original(closing, writer)

    with patch.object(Closing, "_is_to_close", looks):
        for _ in range(3):
            before = len(looked)
            rig.pass_time(rig.engine._out.config.probe_interval)
            assert len(looked) - before <= 2 * OPEN_AT_ONCE
        rig.pass_time(5.0)
    assert len(dict.fromkeys(looked)) >= 2 * OPEN_AT_ONCE + 100
