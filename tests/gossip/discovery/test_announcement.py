"""What a node announces on its network, and what is made of what others announce, who may be anybody."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.discovery.announcement import Card, Seen, parse_card, why_unreadable
from gossip.protocol.errors import MalformedMessage
from gossip.protocol.wire.seal import VERSION

CARD = Card("00112233445566aa", "alice", "default", "deadbeef", VERSION)


def seen(text: dict[bytes, bytes | None], *, instance: str = CARD.node_id, port: int = 4747) -> Seen:
    return Seen(instance, text, port, ["10.0.0.1"])


def text_of(card: Card) -> dict[bytes, bytes | None]:
    return {key.encode(): value.encode() for key, value in card.text().items()}


@pytest.mark.parametrize("card", [CARD, replace(CARD, name="漢" * 21, cluster="tea ☕", version=255)])
def test_a_card_is_read_as_it_was_written(card: Card) -> None:
    assert parse_card(seen(text_of(card))) == card


def test_the_longest_names_fit_the_record() -> None:
    longest = replace(CARD, name="x" * 64, cluster="漢" * 21 + "x")
    fields = [f"{key}={value}".encode() for key, value in longest.text().items()]
    assert max(map(len, fields)) <= 255
    assert sum(len(field) + 1 for field in fields) < 400


def test_fields_of_a_later_release_are_passed_over() -> None:
    assert parse_card(seen(text_of(CARD) | {b"new": b"\xff", b"": None})) == CARD


@pytest.mark.parametrize("key", sorted(text_of(CARD)))
@pytest.mark.parametrize("value", [None, b"", b"\xff\xfe", b"\x1b[31m", b"a\nb", b"x" * 255], ids=ascii)
def test_a_field_that_is_no_such_thing_makes_the_whole_announcement_worthless(key: bytes, value: bytes | None) -> None:
    with pytest.raises(MalformedMessage):
        parse_card(seen(text_of(CARD) | {key: value}))


@pytest.mark.parametrize("key", sorted(text_of(CARD)))
def test_a_field_that_is_missing_does_so_too(key: bytes) -> None:
    with pytest.raises(MalformedMessage, match=f"has the field '{key.decode()}'"):
        parse_card(seen({name: value for name, value in text_of(CARD).items() if name != key}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((b"id", b"00112233445566AA"), (b"id", b"00112233445566a"), (b"key", b"deadbeef00"), (b"key", b"deadbeeg")),
        *((b"v", b"-1"), (b"v", b"1.0"), (b"v", "²".encode()), (b"v", b"1000")),
    ],
)
def test_ids_and_numbers_are_written_in_one_way_only(key: bytes, value: bytes) -> None:
    text = text_of(CARD) | {key: value}
    with pytest.raises(MalformedMessage):
        parse_card(seen(text, instance=(text[b"id"] or b"").decode()))


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_a_port_that_is_nobodys_is_refused(port: int) -> None:
    with pytest.raises(MalformedMessage, match="has a port"):
        parse_card(seen(text_of(CARD), port=port))


def test_nobody_announces_for_another_node() -> None:
    with pytest.raises(MalformedMessage, match="called by its node's id"):
        parse_card(seen(text_of(CARD), instance="ffffffffffffffff"))


@given(
    st.dictionaries(st.sampled_from(sorted(text_of(CARD))) | st.binary(), st.none() | st.binary()),
    st.text(),
    st.integers(),
)
def test_nothing_that_is_announced_raises_anything_else(
    text: dict[bytes, bytes | None], instance: str, port: int
) -> None:
    try:
        card = parse_card(Seen(instance, text_of(CARD) | text, port, []))
    except MalformedMessage:
        return
    assert card.node_id == instance


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (replace(CARD, name="bob", node_id="0" * 16), None),
        (replace(CARD, version=1), f"it speaks protocol version 1, this node speaks {VERSION}"),
        (replace(CARD, cluster="tea"), "it belongs to cluster 'tea', this node to 'default'"),
        (replace(CARD, key_id="00000000"), "it has another cluster key, or one of the two has none"),
    ],
)
def test_what_keeps_two_nodes_apart_is_said(other: Card, reason: str | None) -> None:
    assert why_unreadable(CARD, other) == reason


def test_a_cluster_whose_name_only_looks_the_same_is_told_apart_by_its_code_points() -> None:
    """As an older release announces it, which did not compose names."""
    mine = replace(CARD, cluster="caf\u00e9")
    assert why_unreadable(mine, replace(mine, cluster="cafe\u0301", key_id="00000000")) == (
        "its cluster 'caf\u00e9' has a name of another spelling there ('cafe\\u0301', here 'caf\\xe9'); start it with "
        "this release, or with the name spelled like here"
    )
