"""What a node says of itself: tags and version travel, change and survive; nonsense is refused where it is written."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.protocol.errors import ConfigError
from gossip.protocol.profile import Profile, check_tags
from gossip.protocol.wire.codec import MAX_TAG_BYTES, MAX_TAGS, decode_datagram, encode_datagram
from gossip.protocol.wire.messages import Update, Updates
from simulations import Cluster, Link

from .support import Puppet, Rig, acquainted, of_type


@pytest.mark.parametrize(
    "tags",
    [
        {"": "worker"},
        {"role": "two\nlines"},
        {"ro\x1ble": "worker"},
        {"role": "\u202eworker"},
        {"role": 1},
        {1: "worker"},
        {"role": None},
        {"role": "x" * MAX_TAG_BYTES},
        {"role": "é" * (MAX_TAG_BYTES // 2)},
        {f"{i}": "" for i in range(MAX_TAGS + 1)},
    ],
)
def test_tags_that_no_member_would_accept_are_refused(tags: Any) -> None:
    with pytest.raises(ConfigError, match="tag"):
        check_tags(tags)
    rig = Rig()
    with pytest.raises(ConfigError):
        rig.engine.set_tags(tags)
    assert rig.engine.tags == {}


@pytest.mark.parametrize("version", ["1\n2", "\x1b[0m", "v" * 25, "é" * 13])
def test_a_version_that_no_member_would_accept_is_refused(version: str) -> None:
    with pytest.raises(ConfigError, match="version"):
        Profile(version)


TEXT = st.text(st.characters(codec="utf-8"), min_size=0, max_size=20)


@given(st.dictionaries(TEXT, TEXT, max_size=18))
def test_what_is_accepted_here_is_accepted_by_others(tags: dict[str, str]) -> None:
    try:
        checked = check_tags(tags)
    except ConfigError:
        return
    updates = Updates((Update(b"nodeid..", "alive", 1, 0, None, "", checked),))
    assert decode_datagram(encode_datagram(b"nodeid..", 1, [updates]))[2] == [updates]
    assert dict(checked) == tags


def tags_of(cluster: Cluster, name: str) -> list[dict[str, str]]:
    """What each running node believes are the tags of that one."""
    return [dict(m.tags) for node in cluster.running() for m in node.engine.members(0) if m.name == name]


def test_tags_travel_change_at_run_time_and_reach_newcomers_and_those_who_were_away() -> None:
    cluster = Cluster(12, seed=1, link=Link(loss=0.1))
    cluster.run(3.0)
    cluster[3].engine.set_tags({"role": "worker", "zone": "a"})
    cluster.run(3.0)
    assert tags_of(cluster, "n3") == [{"role": "worker", "zone": "a"}] * 11
    cluster.cut([0, 1], list(range(2, 12)))
    cluster[3].engine.set_tags({"role": "chief"})
    cluster.run(20.0)
    cluster.heal()
    cluster.run(10.0)
    assert tags_of(cluster, "n3") == [{"role": "chief"}] * 11
    cluster.add()
    cluster.run(15.0)
    assert tags_of(cluster, "n3") == [{"role": "chief"}] * 12


def test_tags_of_a_failed_member_are_kept() -> None:
    rig, (puppet,) = acquainted(1)
    puppet.tells(rig, puppet.own_row(tags=(("role", "worker"),), version="1.0"))
    rig.pass_time(10.0)
    (member,) = rig.engine.members(rig.now)
    assert (member.state, member.tags, member.version) == ("failed", {"role": "worker"}, "1.0")


def test_version_and_tags_are_told_to_whoever_is_met() -> None:
    rig, puppet = Rig(profile=Profile("1.2.3", check_tags({"role": "worker"}))), Puppet()
    rows = [row for told in of_type(Updates, puppet.meets(rig)) for row in told.rows]
    assert rows[0] == Update(rig.identity.node_id, "alive", 1, 0, None, "1.2.3", (("role", "worker"),), "")
    assert rig.engine.tags == {"role": "worker"}


def test_new_tags_are_a_new_incarnation_that_older_word_does_not_undo() -> None:
    rig, (puppet,) = acquainted(1)
    puppet.tells(rig, puppet.own_row("alive", 2, tags=(("role", "new"),)))
    puppet.tells(rig, puppet.own_row("alive", 1, tags=(("role", "old"),)))
    assert [dict(m.tags) for m in rig.engine.members(0)] == [{"role": "new"}]


def test_the_tags_of_another_are_believed_with_a_newer_incarnation_only() -> None:
    rig, (puppet, teller) = acquainted(2)
    puppet.tells(rig, puppet.own_row("alive", 1, tags=(("role", "own"),)))
    teller.tells(rig, puppet.row("alive", 1, tags=(("role", "made up"),)))
    assert dict(rig.engine.members(0)[-1].tags) == {"role": "own"}
    teller.tells(rig, puppet.row("alive", 2, tags=(("role", "relayed"),), version="2"))
    (member,) = [m for m in rig.engine.members(0) if m.name == puppet.name]
    assert (dict(member.tags), member.version) == ({"role": "relayed"}, "2")


def test_the_keys_of_tags_are_composed_and_their_values_are_not() -> None:
    assert check_tags({"cafe\u0301": "e\u0301"}) == (("caf\u00e9", "e\u0301"),)
    with pytest.raises(ConfigError, match="the tag 'caf\u00e9' is given twice, in two spellings"):
        check_tags({"cafe\u0301": "1", "caf\u00e9": "2"})
