"""Where a node says that it is, on machines with all kinds of interfaces."""

import pytest

from gossip.discovery.interfaces import LOOPBACK, MAX_ANNOUNCED, Interface, Place, list_interfaces, place_of

LO = Interface(("127.0.0.1", "::1"))
WIRED = Interface(("10.0.0.5", "2001:db8::5", "fe80::5"))
WIRELESS = Interface(("192.168.1.5", "fe80::6"))
MACHINE = [LO, WIRED, WIRELESS]
HERE = (LOOPBACK,)


@pytest.mark.parametrize(
    ("bound", "place"),
    [
        ("0.0.0.0", Place(("10.0.0.5", "192.168.1.5"), ("10.0.0.5", "192.168.1.5"))),
        (
            "::",
            Place(
                ("10.0.0.5", "2001:db8::5", "fe80::5", "192.168.1.5", "fe80::6"),
                ("10.0.0.5", "fe80::5", "192.168.1.5", "fe80::6"),
            ),
        ),
        ("10.0.0.5", Place(("10.0.0.5",), ("10.0.0.5",))),
        ("2001:db8::5", Place(("2001:db8::5",), ("2001:db8::5",))),
        ("fe80::6%wlan0", Place(("fe80::6",), ("fe80::6",))),
        ("10.0.0.99", Place((), ())),
    ],
)
def test_a_node_is_where_it_listens(bound: str, place: Place) -> None:
    assert place_of(bound, MACHINE) == place
    assert not place.stays_here


@pytest.mark.parametrize("bound", ["127.0.0.1", "127.8.8.8", "::1"])
def test_a_node_on_loopback_speaks_on_loopback_alone(bound: str) -> None:
    place = place_of(bound, MACHINE)
    assert place == Place((bound,), HERE)
    assert place.stays_here


@pytest.mark.parametrize("bound", ["0.0.0.0", "::"])
def test_without_a_network_there_is_still_this_machine(bound: str) -> None:
    assert place_of(bound, [LO]) == Place((LOOPBACK,), HERE)


def test_a_machine_with_a_hundred_bridges_announces_some_of_its_addresses() -> None:
    bridges = [Interface((f"172.17.{number}.1",)) for number in range(100)]
    assert len(place_of("0.0.0.0", bridges).addresses) == MAX_ANNOUNCED


def test_this_machine_has_loopback() -> None:
    assert any(LOOPBACK in interface.addresses for interface in list_interfaces())
