"""Who misses much is slow to blame, up to a limit, and recovers."""

from gossip.protocol.membership.health import MAX_SCORE, Health


def test_a_node_begins_healthy() -> None:
    assert Health().factor == 1


def test_every_miss_adds_one_timeout_up_to_a_limit_and_every_answer_takes_one_away() -> None:
    health = Health()
    health.worsen()
    health.worsen(2)
    assert health.factor == 4
    health.worsen(1000)
    assert health.factor == MAX_SCORE + 1
    for _ in range(MAX_SCORE):
        health.improve()
    assert health.factor == 1
    health.improve()
    assert health.factor == 1
