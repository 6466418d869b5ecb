"""Addresses as people write them, and names as systems resolve them."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip import Address, ConfigError
from gossip.addresses import is_loopback, resolve, split_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:4747", "127.0.0.1", 4747),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("localhost:1", "localhost", 1),
        ("db-1.example.org:65535", "db-1.example.org", 65_535),
        ("[::1]:80", "::1", 80),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        ("a:00080", "a", 80),
    ],
)
def test_host_and_port_are_told_apart(text: str, host: str, port: int) -> None:
    assert split_address(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "host", "host:", ":80", "host:port", "host:-1", "host:+1", "host:1.5", "host: 1", "host:1 "),
        *("host:65536", "host:99999999999", "host:²", "::1", "::1:80", "[::1]", "[::1]80", "[]:80", "[::1:80"),
        *("host:\x00", "a\x00b:1", "a\nb:1", "1:" + "9" * 5_000),
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not an address; write HOST:PORT, or \[IPV6\]:PORT"):
        split_address(text)


@given(st.ip_addresses(), st.integers(0, 65_535))
def test_an_address_that_was_printed_is_read_again(host: object, port: int) -> None:
    address = Address(str(host), port)
    assert split_address(str(address)) == address


@given(st.text())
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        host, port = split_address(text)
    except ConfigError:
        return
    assert host
    assert 0 <= port <= 65_535


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.1", False),
        ("fe80::1%eth0", False),
    ],
)
def test_loopback_is_what_never_leaves_the_machine(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


async def test_a_name_resolves_within_a_family() -> None:
    assert await resolve("localhost", 5, socket.AF_INET) == [Address("127.0.0.1", 5)]
    assert await resolve("::1", 5) == [Address("::1", 5)]
    assert await resolve("::1", 5, socket.AF_INET) == []


@pytest.mark.parametrize("host", ["nowhere.invalid", "x" * 64 + ".invalid", "..", "a..b", "ü" * 99])
async def test_a_name_that_is_nobodys_resolves_to_nothing(host: str) -> None:
    assert await resolve(host, 5) == []
