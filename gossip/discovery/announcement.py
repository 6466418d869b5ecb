"""What a node announces on its local network, and what to make of the announcements of others.

Nothing secret is in it: names, the node's id, its addresses, and the key id that is in the header of every datagram
anyway. Nobody vouches for any of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from crdts.embedding import composed

from ..protocol.errors import MalformedMessage
from ..protocol.identity import NODE_ID_BYTES, name_is_valid
from ..protocol.wire.seal import KEY_ID_BYTES, VERSION


@dataclass(frozen=True, slots=True)
class Card:
    """Who a node is and what it must share with others so that they can read each other."""

    node_id: str
    name: str
    cluster: str
    key_id: str
    """The key id of its seal's header, which depends on cluster key and name."""
    version: int = VERSION

    def text(self) -> dict[str, str]:
        """As the fields of a DNS TXT record."""
        return {
            "v": str(self.version),
            "cluster": self.cluster,
            "key": self.key_id,
            "name": self.name,
            "id": self.node_id,
        }


@dataclass(frozen=True, slots=True)
class Announcement:
    """A card and where its node is reached."""

    card: Card
    hosts: tuple[str, ...]
    port: int


@dataclass(frozen=True, slots=True)
class Seen:
    """An instance of the service as the network tells of it. Anybody may have said anything."""

    instance: str
    text: Mapping[bytes, bytes | None]
    port: int
    hosts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Lost:
    """An instance that was taken back, or has not been heard of for long."""

    instance: str


Sighting: TypeAlias = Seen | Lost


def parse_card(seen: Seen) -> Card:
    """The card of an announcement; raises `MalformedMessage`."""
    node_id = _field(seen.text, b"id")
    if node_id != seen.instance:
        raise MalformedMessage("an announcement is called by its node's id")
    card = Card(
        _hex(node_id, NODE_ID_BYTES),
        _name(_field(seen.text, b"name")),
        _name(_field(seen.text, b"cluster")),
        _hex(_field(seen.text, b"key"), KEY_ID_BYTES),
        _version(_field(seen.text, b"v")),
    )
    if not 0 < seen.port <= 65_535:
        raise MalformedMessage("an announcement has a port")
    return card


def _field(text: Mapping[bytes, bytes | None], key: bytes) -> str:
    value = text.get(key)
    if value is None:
        raise MalformedMessage(f"an announcement has the field {key.decode()!r}")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise MalformedMessage("the fields of an announcement are UTF-8") from None


def _name(text: str) -> str:
    if not name_is_valid(text):
        raise MalformedMessage("a name is short and printable")
    return text


def _hex(text: str, size: int) -> str:
    if len(text) != 2 * size or not set(text) <= set("0123456789abcdef"):
        raise MalformedMessage("an id is hexadecimal, of fixed length")
    return text


def _version(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 3):
        raise MalformedMessage("a protocol version is a small number")
    return int(text)


def why_unreadable(mine: Card, theirs: Card) -> str | None:
    """Why two nodes cannot read each other's datagrams, for people; None if they can."""
    if theirs.version != mine.version:
        return f"it speaks protocol version {theirs.version}, this node speaks {mine.version}"
    if theirs.cluster != mine.cluster and composed(theirs.cluster) == mine.cluster:
        return (
            f"its cluster {mine.cluster!r} has a name of another spelling there ({theirs.cluster!a}, here "
            f"{mine.cluster!a}); start it with this release, or with the name spelled like here"
        )
    if theirs.cluster != mine.cluster:
        return f"it belongs to cluster {theirs.cluster!r}, this node to {mine.cluster!r}"
    if theirs.key_id != mine.key_id:
        return "it has another cluster key, or one of the two has none"
    return None
