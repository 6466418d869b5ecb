"""The simulator finds the bugs that others have made: each, planted into the protocol, in 200 seeds of a scenario."""

from dataclasses import replace

import pytest

from simulations.campaign.runner import run_scenario
from simulations.scenario.file import load_scenario
from simulations.scenario.scenario import Scenario

from .planted import OF_TRANSACTIONS, PLANTED, Plant
from .planted_members import PLANTED as OF_MEMBERSHIP
from .planted_storage import OF_NAMES, OF_POWER, OF_SLOWNESS
from .planted_storage import PLANTED as OF_STORAGE

PLANTS = {
    **dict.fromkeys(PLANTED, "chaos"),
    **dict.fromkeys(OF_TRANSACTIONS, "transactions"),
    **OF_MEMBERSHIP,
    **dict.fromkeys(OF_STORAGE, "crashing-disks"),
    **dict.fromkeys(OF_NAMES, "crashing-clones"),
    **dict.fromkeys(OF_POWER, "power-losses"),
    **dict.fromkeys(OF_SLOWNESS, "slow-disks"),
}
"""And the scenario that finds each."""
SEEDS = range(200)
FEWER = 100
"""Nodes of the large scenarios here."""

LIKELY = {
    "context_newer_than_its_snapshot": 1,
    "counter_never_bumped": 6,
    "difference_joined_before_all_is_known": 3,
    "dots_leave_before_the_disk_has_them": 5,
    "epoch_ignored_in_hearsay": 13,
    "fold_before_the_last_range": 3,
    "name_saved_behind_the_batches": 15,
    "own_seq_reused_after_a_crash": 16,
    "nonce_left_out_of_receipts": 1,
    "part_written_before_its_batches": 6,
    "prekilled_dots_left_out_of_checkpoints": 50,
    "prekilled_dots_left_out_of_states": 4,
    "range_skipped": 3,
    "receipts_before_the_disk": 2,
    "replaced_in_place_despite_a_gap": 28,
    "row_numbers_reused": 2,
    "stale_incarnation_accepted": 2,
    "stamp_for_each_write": 5,
    "states_not_saved": 1,
    "trimmed_log_not_noticed": 1,
    "writer_lent_before_it_is_whole": 19,
    "writer_lent_twice": 5,
    "youngest_given_away": 2,
}
"""Seeds that have found these before: tried first, as most of the others do not."""


def load(name: str) -> Scenario:
    scenario = load_scenario(name)
    return replace(scenario, nodes=min(scenario.nodes, FEWER))


def finds(plant: Plant, scenario: Scenario, seed: int) -> bool:
    with plant():
        return not run_scenario(scenario, seed).passed


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(plant: Plant) -> None:
    scenario, first = load(PLANTS[plant]), LIKELY.get(plant.__name__, 0)
    found = next((seed for seed in (first, *SEEDS) if finds(plant, scenario, seed)), None)
    assert found is not None, f"{plant.__doc__} Not found in {len(SEEDS)} seeds"
    assert run_scenario(scenario, found).passed, "the seed fails without the bug as well"
