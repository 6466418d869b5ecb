"""Addresses as people write them, and names as systems resolve them."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip import Address, ConfigError
from gossip.runtime.addresses import address_of, families_from, is_loopback, resolve, sockaddr_of, split_address


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


# ---- as sockets have them

V4, V6 = socket.AF_INET, socket.AF_INET6
LO = {name: index for index, name in socket.if_nameindex()}.get("lo", 0)


@pytest.mark.parametrize(
    ("sockaddr", "address"),
    [
        (("127.0.0.1", 5), Address("127.0.0.1", 5)),
        (("::1", 5, 0, 0), Address("::1", 5)),
        (("::ffff:10.0.0.1", 5, 0, 0), Address("10.0.0.1", 5)),
        (("fe80::1", 5, 0, 4_000_000_000), Address("fe80::1%4000000000", 5)),
    ],
)
def test_an_address_looks_the_same_whatever_socket_it_came_through(sockaddr: object, address: Address) -> None:
    assert address_of(sockaddr) == address


@pytest.mark.skipif(not LO, reason="the loopback interface has another name here")
def test_a_link_local_address_keeps_its_interface_both_ways() -> None:
    address = address_of(("fe80::1", 5, 0, LO))
    assert address == Address("fe80::1%lo", 5)
    assert sockaddr_of(address, V6) == ("fe80::1", 5, 0, LO)
    assert sockaddr_of(Address("fe80::1%7", 5), V6) == ("fe80::1", 5, 0, 7)


@pytest.mark.parametrize(
    ("host", "family", "sockaddr"),
    [
        ("10.0.0.1", V4, ("10.0.0.1", 5)),
        ("10.0.0.1", V6, ("::ffff:10.0.0.1", 5)),
        ("2001:db8::1", V6, ("2001:db8::1", 5)),
    ],
)
def test_a_socket_gets_addresses_as_it_wants_them(host: str, family: socket.AddressFamily, sockaddr: object) -> None:
    assert sockaddr_of(Address(host, 5), family) == sockaddr


@pytest.mark.parametrize(("host", "family"), [("::1", V4), ("fe80::1%no-such-interface", V6)])
def test_what_a_socket_cannot_reach_is_an_error_of_the_system(host: str, family: socket.AddressFamily) -> None:
    with pytest.raises(OSError, match=r".+"):
        sockaddr_of(Address(host, 5), family)


@pytest.mark.parametrize(
    ("bound", "family"),
    [("0.0.0.0", V4), ("10.0.0.1", V4), ("::", socket.AF_UNSPEC), ("::1", V6), ("fe80::1%eth0", V6)],
)
def test_what_a_node_can_reach_depends_on_where_it_listens(bound: str, family: socket.AddressFamily) -> None:
    assert families_from(bound) == family
