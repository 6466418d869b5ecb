"""Settings are checked once, where they are made, and presets are only settings."""

import inspect
from dataclasses import fields, replace
from typing import Any

import pytest

from gossip.protocol import Config, Identity
from gossip.protocol.errors import ConfigError
from simulations import Cluster

NAMES = [field.name for field in fields(Config)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, -1, True, None, "1", float("nan"), float("inf")])
def test_every_setting_must_be_a_finite_number_above_zero(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        replace(Config(), **{name: value})


@pytest.mark.parametrize("name", [field.name for field in fields(Config) if field.type is int])
def test_what_is_counted_must_be_whole(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be a whole number"):
        replace(Config(), **{name: getattr(Config(), name) + 0.5})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("datagram_bytes", 599),
        ("datagram_bytes", 65_001),
        ("max_frame_bytes", (3 << 19) - 1),
        ("stream_chunk_bytes", 256 * 1024 + 1),
        ("hops", 256),
    ],
)
def test_settings_that_others_could_not_live_with_are_refused(name: str, value: int) -> None:
    with pytest.raises(ConfigError, match=name):
        replace(Config(), **{name: value})


@pytest.mark.parametrize("field", fields(Config), ids=lambda field: field.name)
def test_every_setting_says_what_it_trades(field: Any) -> None:
    _, behind = inspect.getsource(Config).split(f"    {field.name}: ")
    assert behind.split("\n")[1].lstrip().startswith('"""')


@pytest.mark.parametrize(
    "config",
    [
        Config.lan(),
        Config.wan(),
        Config.local(),
        Config(fanout=1, hops=1),
        Config(datagram_bytes=600),
        Config(datagram_bytes=65_000, hops=255),
        Config(stream_chunk_bytes=1, push_buffer_bytes=1, catchup_datagrams=1, max_context_pages=1),
        Config(max_streams=1, max_candidates=1, max_held=1),
    ],
    ids=["lan", "wan", "local", "one at a time", "small", "large", "starved", "narrow"],
)
def test_a_cluster_converges_with_the_most_peculiar_settings(config: Config) -> None:
    cluster = Cluster(4, seed=1, config=config)
    for i, node in enumerate(cluster.nodes):
        for j in range(60):
            node.replica.orset("s").add(f"{i} {j}")
        node.replica.lwwmap("m").set(f"{i}", "x" * 3000)
    cluster.run_until_converged(timeout=60)
    assert len(cluster[0].replica.orset("s")) == 240


@pytest.mark.parametrize(
    ("node_id", "name", "epoch"),
    [
        (b"7 bytes", "n", 1),
        (b"8 bytes.", "", 1),
        (b"8 bytes.", "a\nb", 1),
        (b"8 bytes.", "n" * 65, 1),
        (b"8 bytes.", "n", 0),
    ],
)
def test_an_identity_that_nobody_would_accept_is_refused(node_id: bytes, name: str, epoch: int) -> None:
    with pytest.raises(ConfigError):
        Identity(node_id, name, epoch)


def test_every_life_of_a_node_writes_under_another_replica_id() -> None:
    first, second = Identity(b"8 bytes.", "n", 1), Identity(b"8 bytes.", "n", 2)
    assert first.replica_id != second.replica_id
