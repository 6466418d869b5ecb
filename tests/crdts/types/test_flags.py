"""Flags: which way they are at first, and which way wins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdts import DWFlag, EWFlag, Replica
from crdts.delta import NOTHING

AnyFlag = EWFlag | DWFlag
BOTH = pytest.mark.parametrize("kind", [EWFlag, DWFlag])


def test_an_enable_wins_flag_is_off_at_first_and_a_disable_wins_flag_is_on() -> None:
    assert EWFlag("a").value() is False
    assert DWFlag("a").value() is True


@BOTH
def test_a_flag_is_as_it_was_last_set(kind: type[AnyFlag]) -> None:
    a, b = kind("a"), kind("b")
    a.enable()
    assert a.value() is b.merge(a).value() is True
    b.disable()
    assert b.value() is a.merge(b).value() is False
    a.enable()
    assert a.value() is b.merge(a).value() is True


def test_turning_a_flag_the_way_it_is_at_first_takes_no_dot_where_it_is_that_way() -> None:
    on, off = DWFlag("a"), EWFlag("a")
    assert on.enable() is off.disable() is NOTHING
    on.disable()
    off.enable()
    assert on.enable()
    assert off.disable()
    assert on.enable() is off.disable() is NOTHING


def test_turning_a_flag_the_way_that_wins_takes_a_new_dot_so_as_to_win_over_what_is_concurrent() -> None:
    a, b = EWFlag("a"), EWFlag("b")
    b.merge(a.enable())
    disabled, enabled = b.disable(), a.enable()
    assert enabled
    assert a.merge(disabled).value() is b.merge(enabled).value() is True
    c, d = DWFlag("c"), DWFlag("d")
    d.merge(c.disable())
    enabled, disabled = d.enable(), c.disable()
    assert disabled
    assert c.merge(enabled).value() is d.merge(disabled).value() is False


@BOTH
def test_concurrent_changes_in_the_losing_way_are_undone_by_one_who_has_seen_them(kind: type[AnyFlag]) -> None:
    a, b, c = kind("a"), kind("b"), kind("c")
    wins, loses = ("enable", "disable") if kind is EWFlag else ("disable", "enable")
    getattr(a, wins)()
    getattr(b, wins)()
    c.merge(a).merge(b)
    getattr(c, loses)()
    assert a.merge(c).value() is b.merge(c).value() is (kind is DWFlag)
    assert c.stats().entries == 0


@BOTH
def test_a_flag_takes_one_entry_however_often_it_is_turned(kind: type[AnyFlag]) -> None:
    a = kind("a")
    for _ in range(100):
        a.enable()
        a.disable()
        a.enable()
        a.disable()
    assert a.stats().entries == (0 if kind is EWFlag else 1)


def test_flags_of_one_name_and_two_types_are_two_flags() -> None:
    replica = Replica("a")
    replica.ewflag("f").enable()
    replica.dwflag("f").disable()
    assert replica.ewflag("f").value() is True
    assert replica.dwflag("f").value() is False
    assert [obj.kind for obj in replica.objects()] == ["dwflag", "ewflag"]
    assert repr(replica.dwflag("f")) == "<DWFlag 'f' of 'a': False>"


@BOTH
@given(st.lists(st.booleans(), max_size=20))
def test_alone_it_is_a_variable(kind: type[AnyFlag], steps: list[bool]) -> None:
    a = kind("a")
    for on in steps:
        (a.enable if on else a.disable)()
        assert a.value() is on


def test_a_flag_can_be_asked_like_a_condition() -> None:
    on, off = EWFlag("a"), DWFlag("a")
    assert not on
    assert off
    on.enable()
    off.disable()
    assert on
    assert not off
