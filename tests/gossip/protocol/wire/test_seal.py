"""What a seal lets through, and what it keeps out."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.protocol import Seal, new_key, notices, parse_key, seal_for
from gossip.protocol.errors import ConfigError, KeyFormatError, RemoteError, Unauthentic, UnknownKey, UnknownVersion
from gossip.protocol.wire import seal as seals
from gossip.protocol.wire.seal import GREETING_BYTES, OVERHEAD_BYTES, SALT_BYTES, VERSION, FrameSeal
from simulations import Cluster

from ..support import KEY, OTHER_KEY

RNG = random.Random(1)
SEALS = pytest.mark.parametrize("seal", [seal_for(KEY), seal_for(None)], ids=["keyed", "plain"])


def pair(seal: Seal) -> tuple[FrameSeal, FrameSeal]:
    """Both ends of a fresh stream."""
    ours, theirs = RNG.randbytes(SALT_BYTES), RNG.randbytes(SALT_BYTES)
    opener = seal.frames(seal.greeting(theirs), ours, opened_by_us=True)
    return opener, seal.frames(seal.greeting(ours), theirs, opened_by_us=False)


@SEALS
@given(st.binary(max_size=2000))
def test_a_message_comes_out_as_it_went_in(seal: Seal, message: bytes) -> None:
    sealed = seal.seal(message, RNG)
    assert seal.open(sealed) == message
    assert len(sealed) <= len(message) + OVERHEAD_BYTES


@SEALS
def test_every_flipped_bit_is_noticed(seal: Seal) -> None:
    sealed = seal.seal(b"attack at dawn", RNG)
    for i in range(8 * len(sealed)):
        altered = bytearray(sealed)
        altered[i // 8] ^= 1 << i % 8
        with pytest.raises(RemoteError):
            seal.open(bytes(altered))


@SEALS
def test_every_truncation_is_noticed(seal: Seal) -> None:
    sealed = seal.seal(b"attack at dawn", RNG)
    for size in range(len(sealed)):
        with pytest.raises(RemoteError):
            seal.open(sealed[:size])


def test_refusals_say_what_is_wrong() -> None:
    seal = seal_for(KEY)
    sealed = seal.seal(b"message", RNG)
    with pytest.raises(UnknownKey):
        seal_for(OTHER_KEY).open(sealed)
    with pytest.raises(UnknownVersion):
        seal.open(bytes([VERSION + 1]) + sealed[1:])
    with pytest.raises(Unauthentic):
        seal.open(sealed[:-1] + b"\0")
    with pytest.raises(Unauthentic):
        seal.open(b"")


@pytest.mark.parametrize(("mine", "theirs"), [(KEY, OTHER_KEY), (KEY, None), (None, KEY)])
def test_another_key_and_no_key_open_nothing(mine: bytes | None, theirs: bytes | None) -> None:
    with pytest.raises(UnknownKey):
        seal_for(mine).open(seal_for(theirs).seal(b"x" * 40, RNG))
    with pytest.raises(UnknownKey):
        seal_for(mine).frames(seal_for(theirs).greeting(b"s" * SALT_BYTES), b"t" * SALT_BYTES, opened_by_us=True)


def test_a_sealed_message_shows_nothing_of_its_content_and_never_looks_the_same_twice() -> None:
    seal = seal_for(KEY)
    first, second = seal.seal(b"plain text " * 9, RNG), seal.seal(b"plain text " * 9, RNG)
    assert b"plain" not in first
    assert first[5:] != second[5:]


@SEALS
def test_frames_open_in_the_order_they_were_sealed(seal: Seal) -> None:
    opener, acceptor = pair(seal)
    frames = [b"", b"one", b"two" * 1000]
    assert [acceptor.open(sealed) for sealed in [opener.seal(frame) for frame in frames]] == frames
    assert [opener.open(sealed) for sealed in [acceptor.seal(frame) for frame in frames]] == frames


@SEALS
def test_a_frame_out_of_place_is_refused(seal: Seal) -> None:
    opener, acceptor = pair(seal)
    first, second = opener.seal(b"first"), opener.seal(b"second")
    with pytest.raises(Unauthentic):
        acceptor.open(second)
    assert acceptor.open(first) == b"first"
    with pytest.raises(Unauthentic):
        acceptor.open(first)
    assert acceptor.open(second) == b"second"


@SEALS
def test_a_frame_cannot_be_sent_back_to_who_sealed_it(seal: Seal) -> None:
    opener, _ = pair(seal)
    with pytest.raises(Unauthentic):
        opener.open(opener.seal(b"echo"))


@SEALS
def test_a_frame_of_another_stream_is_refused(seal: Seal) -> None:
    (opener, _), (_, acceptor) = pair(seal), pair(seal)
    with pytest.raises(Unauthentic):
        acceptor.open(opener.seal(b"frame"))


@SEALS
def test_a_stream_recorded_and_played_again_meets_another_salt(seal: Seal) -> None:
    ours, theirs, fresh = (RNG.randbytes(SALT_BYTES) for _ in range(3))
    recorded = seal.frames(seal.greeting(theirs), ours, opened_by_us=True).seal(b"introduction")
    acceptor = seal.frames(seal.greeting(ours), fresh, opened_by_us=False)
    with pytest.raises(Unauthentic):
        acceptor.open(recorded)


@SEALS
@pytest.mark.parametrize("size", [0, 1, 7, 8, 15, 16, 17])
def test_a_frame_shorter_than_its_seal_is_refused(seal: Seal, size: int) -> None:
    _, acceptor = pair(seal)
    with pytest.raises(Unauthentic):
        acceptor.open(bytes(size))


@SEALS
def test_a_greeting_of_another_version_is_refused(seal: Seal) -> None:
    greeting = seal.greeting(b"s" * SALT_BYTES)
    assert len(greeting) == GREETING_BYTES
    with pytest.raises(UnknownVersion):
        seal.frames(b"\x09" + greeting[1:], b"t" * SALT_BYTES, opened_by_us=False)


@pytest.mark.parametrize("key", [None, bytes(32)])
def test_nodes_of_two_protocol_versions_refuse_each_other_and_say_why(
    key: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(2, seed=1, key=key)
    monkeypatch.setattr(seals, "VERSION", VERSION - 1)
    cluster.seal = seal_for(key)
    former = cluster.add()
    monkeypatch.undo()
    cluster[0].join([former.address])
    cluster.run(10.0)
    former.replica.orset("s").add("former")
    cluster[0].replica.orset("s").add("present")
    cluster.run(10.0)
    assert [len(node.engine.members(node.now)) for node in cluster.nodes] == [1, 1, 0]
    assert [set(node.replica.orset("s")) for node in cluster.nodes] == [{"present"}, {"present"}, {"former"}]
    for node, theirs, ours in ((cluster[0], VERSION - 1, VERSION), (former, VERSION, VERSION - 1)):
        told = [each.fields for each in node.notices if each.event == notices.INPUT_REJECTED]
        assert [each["reason"] for each in told] == ["unknown_version"]
        assert str(told[0]["detail"]).startswith(f"protocol version {theirs}, this node speaks {ours}: another release")


def test_a_key_is_read_as_text_as_bytes_and_with_the_newline_of_its_file() -> None:
    text = new_key(random.Random(7))
    key = parse_key(text)
    assert len(key) == 32
    assert parse_key(key) == parse_key(text + "\n") == parse_key(text.encode()) == key
    assert new_key() != new_key()


@pytest.mark.parametrize(
    "text", ["", "abc", "not base64!", "AAAA", new_key(random.Random(1))[:-4], b"\xff" * 31, "ключ"]
)
def test_what_is_no_key_is_refused_with_advice(text: str | bytes) -> None:
    with pytest.raises(KeyFormatError, match="gossip keygen"):
        parse_key(text)


@pytest.mark.parametrize("key", [KEY, None], ids=["keyed", "plain"])
def test_clusters_of_different_names_cannot_read_each_other_even_under_one_key(key: bytes | None) -> None:
    mine, theirs = seal_for(key, "tea"), seal_for(key, "coffee")
    with pytest.raises(UnknownKey, match="another key, or under the name of another cluster"):
        mine.open(theirs.seal(b"x" * 40, RNG))
    with pytest.raises(UnknownKey):
        mine.frames(theirs.greeting(b"s" * SALT_BYTES), b"t" * SALT_BYTES, opened_by_us=True)
    assert mine.key_id != theirs.key_id
    assert seal_for(key, "tea").open(mine.seal(b"x", RNG)) == b"x"


def test_not_only_the_header_but_the_keys_depend_on_the_name() -> None:
    mine, theirs = seal_for(KEY, "tea"), seal_for(KEY, "coffee")
    sealed = theirs.seal(b"x" * 40, RNG)
    with pytest.raises(Unauthentic):
        mine.open(mine.greeting(b"")[:5] + sealed[5:])


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb", "\x1b[31m", None, 7])
def test_what_cannot_name_a_cluster_is_refused(name: object) -> None:
    with pytest.raises(ConfigError, match="a cluster's name is 1 to 64 bytes of printable text"):
        seal_for(KEY, name)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", [None, bytes(range(32))], ids=["plain", "keyed"])
def test_a_cluster_has_one_seal_however_its_name_is_composed(key: bytes | None) -> None:
    composed, decomposed = seal_for(key, "caf\u00e9"), seal_for(key, "cafe\u0301")
    assert composed.key_id == decomposed.key_id
    assert decomposed.open(composed.seal(b"message", random.Random(1))) == b"message"
