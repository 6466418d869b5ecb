"""Faults on demand."""

from gossip import Address, TransportFaults

HERE, THERE = Address("127.0.0.1", 1), Address("127.0.0.1", 2)


def test_without_faults_everything_passes() -> None:
    faults = TransportFaults()
    assert not any(faults.drops(HERE) or faults.separates(HERE) for _ in range(1_000))


def test_loss_is_the_share_that_is_dropped_and_the_same_for_the_same_seed() -> None:
    def dropped(seed: int) -> list[bool]:
        faults = TransportFaults(loss=0.3, seed=seed)
        return [faults.drops(HERE) for _ in range(10_000)]

    assert 2_800 < sum(dropped(1)) < 3_200
    assert dropped(1) == dropped(1) != dropped(2)


def test_loss_may_change_at_any_time_and_parts_nobody() -> None:
    faults = TransportFaults(loss=1.0)
    assert faults.drops(HERE)
    assert not faults.separates(HERE)
    faults.loss = 0.0
    assert not faults.drops(HERE)


def test_a_cut_concerns_the_addresses_it_names_until_it_is_healed() -> None:
    faults = TransportFaults()
    faults.cut(THERE)
    assert faults.drops(THERE)
    assert faults.separates(THERE)
    assert not faults.drops(HERE)
    faults.cut(HERE)
    assert faults.separates(HERE)
    assert faults.separates(THERE)
    faults.heal()
    assert not faults.separates(HERE)
    assert not faults.drops(THERE)
