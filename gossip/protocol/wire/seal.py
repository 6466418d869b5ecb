"""Seals: what makes bytes from the network ours. AES-256-GCM-SIV under keys derived from the cluster key and name.

GCM-SIV (RFC 8452) and not plain GCM, because all nodes share one key and draw nonces at random: a repeated nonce
costs it nothing but the knowledge that two messages were equal.

Every sealed thing starts with a header of protocol version and key id, which is authenticated. Both key id and keys
depend on the cluster's name, so clusters of different names cannot read each other even under one key. A node without
a key uses `PlainSeal`, whose checksum guards against accidents only; the driver keeps such a node on loopback.
"""

import base64
import binascii
import random
from hashlib import blake2b
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from crdts.embedding import composed

from ..errors import ConfigError, KeyFormatError, Unauthentic, UnknownKey, UnknownVersion
from ..identity import MAX_NAME_BYTES, name_is_valid

VERSION: Final = 2
"""Of the protocol. A node refuses all that comes in another version, and says so in its log: members of two versions
would take each other for failed, as neither answers the pings of the other."""
KEY_BYTES: Final = 32
DEFAULT_CLUSTER: Final = "default"
"""The cluster's name where nobody says otherwise."""
HEADER_BYTES: Final = 5
KEY_ID_BYTES: Final = 4
"""Of the header, behind the version."""
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
SALT_BYTES: Final = 16
"""Random bytes each side of a stream contributes to its keys."""
GREETING_BYTES: Final = HEADER_BYTES + SALT_BYTES
OVERHEAD_BYTES: Final = HEADER_BYTES + NONCE_BYTES + TAG_BYTES
"""What sealing adds to a datagram at most."""


class FrameSeal(Protocol):
    """Seals the frames of one stream, bound to it, to their direction and to their position."""

    def seal(self, frame: bytes) -> bytes: ...

    def open(self, sealed: bytes) -> bytes: ...


class Seal(Protocol):
    """Seals datagrams, and starts the seals of streams."""

    @property
    def key_id(self) -> bytes:
        """What the header of everything sealed shows in the clear: equal for the same key and cluster name."""

    def seal(self, message: bytes, rng: random.Random) -> bytes: ...

    def open(self, data: bytes) -> bytes:
        """The message inside ``data``; raises a `RemoteError` if it was not sealed by a holder of our key."""

    def mark(self, data: bytes) -> bytes:
        """Bytes that differ from those of every other sealed datagram. Empty if this seal makes equal datagrams of
        equal messages."""

    def greeting(self, salt: bytes) -> bytes:
        """The first bytes each side sends on a stream, in the clear: header and salt."""

    def frames(self, greeting: bytes, salt: bytes, *, opened_by_us: bool) -> FrameSeal:
        """The frame seal of a stream, from the peer's greeting and our own salt."""


def new_key(rng: random.Random | None = None) -> str:
    """A fresh cluster key, as the text that people pass around: 32 random bytes in URL-safe base64."""
    return base64.urlsafe_b64encode((rng or random.SystemRandom()).randbytes(KEY_BYTES)).decode()


def parse_key(text: str | bytes) -> bytes:
    """The 32 bytes of a cluster key given as those bytes or as `new_key`'s text; raises `KeyFormatError`."""
    if not isinstance(text, str | bytes):
        raise KeyFormatError(f"a cluster key is text or {KEY_BYTES} bytes, not {type(text).__name__}")
    if isinstance(text, bytes) and len(text) == KEY_BYTES:
        return text
    try:
        raw = text.encode() if isinstance(text, str) else text
        key = base64.b64decode(raw.strip(), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise KeyFormatError("the cluster key is not base64; make one with `gossip keygen`") from None
    if len(key) != KEY_BYTES:
        raise KeyFormatError(f"the cluster key is {len(key)} bytes, not {KEY_BYTES}; make one with `gossip keygen`")
    return key


def _derive(key: bytes, info: bytes, salt: bytes | None = None) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt, info).derive(key)


def _check_header(data: bytes, header: bytes, minimum: int) -> None:
    if len(data) < HEADER_BYTES:
        raise Unauthentic(f"{len(data)} bytes are too few")
    if data[0] != header[0]:
        raise UnknownVersion(
            f"protocol version {data[0]}, this node speaks {header[0]}: "
            "another release of gossip-crdts, or something else that uses this port"
        )
    if data[:HEADER_BYTES] != header:
        raise UnknownKey("sealed under another key, or under the name of another cluster, or not sealed at all")
    # Behind the header: what is not sealed at all may be shorter than anything that is sealed.
    if len(data) < minimum:
        raise Unauthentic(f"{len(data)} bytes are too few")


class KeyedSeal:
    """Seals under one cluster key. A later version will hold several, found by the key id in the header."""

    def __init__(self, key: bytes, cluster: str) -> None:
        self._key = key
        self._cluster = cluster.encode()
        self._cipher = AESGCMSIV(self._key_for(b"datagram"))
        self.key_id = blake2b(self._key_for(b"key id"), digest_size=KEY_ID_BYTES).digest()
        self._header = bytes([VERSION]) + self.key_id

    def _key_for(self, purpose: bytes, salt: bytes | None = None) -> bytes:
        return _derive(self._key, b"gossip-crdts %b in %b" % (purpose, self._cluster), salt)

    def seal(self, message: bytes, rng: random.Random) -> bytes:
        nonce = rng.randbytes(NONCE_BYTES)
        return self._header + nonce + self._cipher.encrypt(nonce, message, self._header)

    def open(self, data: bytes) -> bytes:
        _check_header(data, self._header, OVERHEAD_BYTES)
        body = HEADER_BYTES + NONCE_BYTES
        try:
            return self._cipher.decrypt(data[HEADER_BYTES:body], data[body:], self._header)
        except InvalidTag:
            raise Unauthentic("the seal is broken") from None

    def mark(self, data: bytes) -> bytes:
        return data[-TAG_BYTES:]

    def greeting(self, salt: bytes) -> bytes:
        return self._header + salt

    def frames(self, greeting: bytes, salt: bytes, *, opened_by_us: bool) -> FrameSeal:
        _check_header(greeting, self._header, GREETING_BYTES)
        theirs = greeting[HEADER_BYTES:]
        salts = salt + theirs if opened_by_us else theirs + salt
        out, back = (b"opener", b"acceptor") if opened_by_us else (b"acceptor", b"opener")
        return _KeyedFrames(
            AESGCMSIV(self._key_for(b"stream from " + out, salts)),
            AESGCMSIV(self._key_for(b"stream from " + back, salts)),
            self._header,
        )


class _KeyedFrames:
    """One key for each direction of one stream; the nonce is the frame's position."""

    def __init__(self, outgoing: AESGCMSIV, incoming: AESGCMSIV, header: bytes) -> None:
        self._outgoing, self._incoming, self._header = outgoing, incoming, header
        self._sent = self._received = 0

    def seal(self, frame: bytes) -> bytes:
        nonce = self._sent.to_bytes(NONCE_BYTES, "big")
        self._sent += 1
        return self._outgoing.encrypt(nonce, frame, self._header)

    def open(self, sealed: bytes) -> bytes:
        nonce = self._received.to_bytes(NONCE_BYTES, "big")
        try:
            frame = self._incoming.decrypt(nonce, sealed, self._header)
        except (InvalidTag, ValueError):  # ValueError: shorter than a tag
            raise Unauthentic("the seal of a frame is broken, or it is out of place") from None
        self._received += 1
        return frame


class PlainSeal:
    """No secrecy and no authenticity: a checksum against accidents. For loopback only."""

    _SUM_BYTES: Final = 8

    def __init__(self, cluster: str) -> None:
        self.key_id = blake2b(cluster.encode(), digest_size=KEY_ID_BYTES, person=b"gossip plain").digest()
        self._header = bytes([VERSION]) + self.key_id

    def seal(self, message: bytes, rng: random.Random) -> bytes:  # noqa: ARG002  # the shape of `Seal`
        return self._header + self._sum(message, b"datagram") + message

    def open(self, data: bytes) -> bytes:
        body = HEADER_BYTES + self._SUM_BYTES
        _check_header(data, self._header, body)
        message = data[body:]
        if self._sum(message, b"datagram") != data[HEADER_BYTES:body]:
            raise Unauthentic("the checksum is wrong")
        return message

    def mark(self, data: bytes) -> bytes:  # noqa: ARG002  # the shape of `Seal`
        return b""

    def greeting(self, salt: bytes) -> bytes:
        return self._header + salt

    def frames(self, greeting: bytes, salt: bytes, *, opened_by_us: bool) -> FrameSeal:
        _check_header(greeting, self._header, GREETING_BYTES)
        theirs = greeting[HEADER_BYTES:]
        return _PlainFrames(salt + theirs, theirs + salt, opened_by_us=opened_by_us)

    @classmethod
    def _sum(cls, message: bytes, place: bytes) -> bytes:
        return blake2b(message, digest_size=cls._SUM_BYTES, key=place).digest()


class _PlainFrames:
    def __init__(self, outgoing: bytes, incoming: bytes, *, opened_by_us: bool) -> None:
        self._outgoing = (b"o" if opened_by_us else b"a") + outgoing
        self._incoming = (b"a" if opened_by_us else b"o") + incoming
        self._sent = self._received = 0

    def seal(self, frame: bytes) -> bytes:
        self._sent += 1
        return PlainSeal._sum(frame, b"%b%d" % (self._outgoing, self._sent)) + frame

    def open(self, sealed: bytes) -> bytes:
        frame = sealed[PlainSeal._SUM_BYTES :]
        if PlainSeal._sum(frame, b"%b%d" % (self._incoming, self._received + 1)) != sealed[: PlainSeal._SUM_BYTES]:
            raise Unauthentic("the checksum of a frame is wrong, or it is out of place")
        self._received += 1
        return frame


def seal_for(key: bytes | None, cluster: str = DEFAULT_CLUSTER) -> Seal:
    """The seal of the cluster of that name: keyed, or plain without a key. Raises `ConfigError` for no name.

    Spellings of ``cluster`` that differ only in how letters are composed give the same seal.
    """
    if not isinstance(cluster, str) or not name_is_valid(cluster):
        raise ConfigError(f"a cluster's name is 1 to {MAX_NAME_BYTES} bytes of printable text, not {cluster!r}")
    cluster = composed(cluster)
    return KeyedSeal(key, cluster) if key is not None else PlainSeal(cluster)
