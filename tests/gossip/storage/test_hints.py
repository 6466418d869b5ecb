"""Former members as a row of bytes: what was written is read back, and anything else is no hint and no error."""

import cbor2
import pytest

from gossip.protocol import Address, Hint
from gossip.protocol.membership.hints import HINTS
from gossip.storage.hints import decode_hints, encode_hints

KEY = b"key1"
SOME = (
    Hint(b"12345678", "a", 1, Address("10.0.0.1", 4747)),
    Hint(b"87654321", "b", 9, Address("fe80::1%eth0", 1), 3),
)


def test_what_was_written_is_read_back_under_the_same_key_only() -> None:
    assert decode_hints(encode_hints(SOME, KEY), KEY) == SOME
    assert decode_hints(encode_hints(SOME, KEY), b"key2") == ()


@pytest.mark.parametrize(
    "row",
    [
        None,
        b"",
        b"\xff",
        7,
        cbor2.dumps([KEY]),
        cbor2.dumps([KEY, 5]),
        cbor2.dumps([KEY, [[b"short", "a", 1, "10.0.0.1", 1, 0]]]),
        cbor2.dumps([KEY, [[b"12345678", "", 1, "10.0.0.1", 1, 0]]]),
        cbor2.dumps([KEY, [[b"12345678", "a", 0, "10.0.0.1", 1, 0]]]),
        cbor2.dumps([KEY, [[b"12345678", "a", 1, "some.host", 1, 0]]]),
        cbor2.dumps([KEY, [[b"12345678", "a", 1, "10.0.0.1", 70_000, 0]]]),
        cbor2.dumps([KEY, [[b"12345678", "a", 1, "10.0.0.1", 1, -1]]]),
        cbor2.dumps([KEY, [[b"12345678", 5, 1, "10.0.0.1", 1, 0]]]),
    ],
)
def test_what_is_no_row_of_hints_holds_none(row: object) -> None:
    assert decode_hints(row, KEY) == ()


def test_more_than_are_kept_are_not_read() -> None:
    many = [Hint(i.to_bytes(8), "a", 1, Address("10.0.0.1", 1)) for i in range(HINTS + 5)]
    assert len(decode_hints(encode_hints(many, KEY), KEY)) == HINTS
