"""What the nodes of a cluster share."""

from simulations.world.world import address_of


def test_addresses_are_of_one_node_each() -> None:
    addresses = [address_of(index) for index in range(70_000)]
    assert len(set(addresses)) == 70_000
    assert addresses[0].host == "10.0.0.1"
    assert addresses[250].host == "10.0.1.1"
    assert all(0 <= int(part) < 256 for address in addresses for part in address.host.split("."))
