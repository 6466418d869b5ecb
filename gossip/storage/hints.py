"""Hints (the members of former lives) as bytes, for the database. Bytes that are damaged give no hints."""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

import cbor2

from ..protocol.identity import MAX_EPOCH, NODE_ID_BYTES, Address, Hint, NodeId, name_is_valid
from ..protocol.membership.hints import HINTS


def encode_hints(hints: Iterable[Hint], key_id: bytes) -> bytes:
    """``hints`` as bytes. ``key_id`` stands for the cluster and key with which they were members."""
    rows = [[h.node_id, h.name, h.epoch, h.address.host, h.address.port, h.missed] for h in hints]
    return cbor2.dumps([key_id, rows])


def decode_hints(row: object, key_id: bytes) -> tuple[Hint, ...]:
    """The hints in ``row``; none if they are of another cluster or key than ``key_id``, or damaged."""
    try:
        theirs, rows = cbor2.loads(row)  # type: ignore[arg-type]
        return tuple(_hint(*each) for each in rows[:HINTS]) if theirs == key_id else ()
    except (ValueError, TypeError, cbor2.CBORDecodeError):
        return ()


def _hint(node_id: Any, name: Any, epoch: Any, host: Any, port: Any, missed: Any) -> Hint:
    if type(node_id) is not bytes or len(node_id) != NODE_ID_BYTES or type(name) is not str or not name_is_valid(name):
        raise ValueError("no member")
    for number, least, most in ((epoch, 1, MAX_EPOCH), (port, 1, 65_535), (missed, 0, MAX_EPOCH)):
        if type(number) is not int or not least <= number <= most:
            raise ValueError("a number out of range")
    ip_address(host)
    return Hint(NodeId(node_id), name, epoch, Address(host, port), missed)
