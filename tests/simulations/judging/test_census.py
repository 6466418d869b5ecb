"""Who counts whom as failed: what is excused, what is not, and when everybody is right about everybody."""

from collections.abc import Callable
from unittest.mock import patch

import pytest

from gossip.protocol import Address, Config, Notify, notices
from simulations import Cluster
from simulations.campaign.runner import Run
from simulations.judging.census import GRACE, LONGEST, Census
from simulations.judging.idle import Rest
from simulations.scenario.file import load_scenario


class Town:
    """A cluster of nodes that know each other, and what its census finds."""

    def __init__(self, nodes: int = 6, **options: object) -> None:
        self.broken: list[str] = []
        self.census = Census(lambda oracle, _what, _node: self.broken.append(oracle))
        settings = {"seed": 1, "warm": True, **options}
        self.cluster = Cluster(nodes, observers=[self.census], **settings)  # type: ignore[arg-type]
        self.census.watch(self.cluster)
        self.cluster.run(2 * GRACE)

    def fail(self, who: int, whom: int) -> None:
        """``who`` says that it counts ``whom`` as failed."""
        self.tell(notices.MEMBER_FAILED, who, whom)

    def tell(self, event: str, who: int, whom: int) -> None:
        member_id = self.cluster[whom].engine.identity.node_id.hex()
        self.cluster.tell("noticed", self.cluster[who], Notify(event, {"member_id": member_id}))


# ---- in the end


def test_all_are_right_about_all_at_a_warm_start_and_when_one_was_noticed_to_be_gone() -> None:
    town = Town()
    assert town.census.wrong() == ""
    town.cluster[2].stop()
    assert town.census.wrong() == "n0 is wrong about n2"
    town.cluster.run(30.0)
    assert town.census.wrong() == ""


def test_to_know_an_earlier_life_is_not_to_know_who_is_there() -> None:
    town = Town()
    town.cluster[2].stop()
    town.cluster.cut([0, 1, 3, 4, 5], [2])
    town.cluster.restart(2)
    assert town.census.wrong() == "n0 is wrong about n2"
    town.cluster.heal()
    town.cluster.run(20.0)
    assert town.census.wrong() == ""


def test_it_is_not_enough_to_have_been_right_once() -> None:
    town = Town()
    town.cluster.cut([0, 1, 2], [3, 4, 5])
    town.cluster.run(20.0)
    assert town.census.wrong() == "n0 is wrong about n3, n4, n5"


# ---- false failures


def pause(cluster: Cluster, index: int) -> None:
    cluster[index].pause()
    cluster[index].resume()


DISTURBANCES: dict[str, Callable[[Cluster], object]] = {
    "nothing": lambda cluster: None,
    "a cut of others": lambda cluster: cluster.cut([4], [5]),
    "a cut between them": lambda cluster: cluster.cut([0], [1]),
    "a pause of who says so": lambda cluster: pause(cluster, 0),
    "a pause of who is failed": lambda cluster: pause(cluster, 1),
    "loss": lambda cluster: cluster.set_link(loss=0.1),
    "weather that is over": lambda cluster: cluster.add_weather(loss=0.1)(),
    "being heard by few": lambda cluster: cluster.add_cut([[1], [0, 2, 3, 4, 5]], one_way=True),
    "that another is heard by few": lambda cluster: cluster.add_cut([[2], [0, 1, 3, 4, 5]], one_way=True),
}
NO_EXCUSE = {"nothing", "a cut of others", "that another is heard by few"}


@pytest.mark.parametrize("disturbance", DISTURBANCES)
def test_to_count_one_as_failed_is_excused_by_what_disturbed_the_two_and_nothing_else(disturbance: str) -> None:
    town = Town()
    DISTURBANCES[disturbance](town.cluster)
    town.fail(0, 1)
    assert town.broken == (["nobody who is there is counted as failed"] if disturbance in NO_EXCUSE else [])
    assert town.census.false_failures == {("n0", "n1"): 1}


def test_who_is_gone_or_paused_may_be_counted_as_failed() -> None:
    town = Town()
    town.cluster[1].stop()
    town.cluster[2].pause()
    town.fail(0, 1)
    town.fail(0, 2)
    assert town.broken == []
    assert not town.census.false_failures


def test_who_is_counted_as_failed_for_long_without_a_reason_is_found() -> None:
    town = Town()
    town.cluster.set_link(loss=0.01)
    town.fail(0, 1)
    town.cluster.run(LONGEST + 1.0)
    with patch.object(Census, "_counts_as", lambda *_: True):
        town.census.check()
    assert town.broken == ["who is there is found again"]


def test_who_runs_has_not_left() -> None:
    town = Town()
    town.tell(notices.MEMBER_LEFT, 0, 1)
    assert town.broken == ["nobody who is there is counted as gone on purpose"]
    town.broken.clear()
    town.cluster[1].leave()
    town.cluster.run(1.0)
    assert town.broken == []


def test_who_hears_nobody_must_not_come_back() -> None:
    town = Town()
    town.cluster.add_cut([[0, 2, 3, 4, 5], [1]], one_way=True)
    town.cluster.run(2 * GRACE)
    town.broken.clear()
    town.tell(notices.MEMBER_RETURNED, 0, 1)
    assert town.broken == ["who hears nobody does not come back"]


def test_who_is_down_must_not_come_back() -> None:
    town = Town()
    town.cluster[1].stop()
    town.cluster.run(2 * GRACE)
    town.tell(notices.MEMBER_RETURNED, 0, 1)
    assert town.broken == ["who hears nobody does not come back"]


def test_who_is_down_for_long_must_not_be_counted_as_alive() -> None:
    town = Town()
    town.cluster[1].stop()
    town.cluster.run(LONGEST + 1.0)
    town.census.check()
    assert town.broken == []
    with patch.object(Census, "_counts_as", lambda *_: True):
        town.census.check()
    assert town.broken == ["who is gone is found out"] * 5


def test_only_the_deaf_are_counted_as_failed_and_only_they_are_wrong_about_others() -> None:
    run = Run(load_scenario("deaf"), 1)
    assert run.finish().passed
    assert run.census.false_failures
    assert all({"n4", "n7"} & set(pair) for pair in run.census.false_failures)


def test_an_agent_that_slept_is_back_at_once_and_takes_nobody_for_dead() -> None:
    town = Town()
    town.cluster[1].pause()
    town.cluster.run(30.0)
    assert town.census.wrong().endswith("is wrong about n1")
    town.cluster[1].resume()
    town.cluster.run(3.0)
    assert town.census.wrong() == ""
    assert all(who != "n1" for who, _ in town.census.false_failures)


# ---- views


def test_nodes_with_partial_views_are_in_one_piece_and_evenly_known() -> None:
    town = Town(60, view=8)
    assert (town.census.pieces(), town.census.uneven(), town.census.dead_links()) == ("", "", 0.0)


def test_a_node_that_is_in_no_view_and_has_none_is_apart() -> None:
    town = Town(20, view=4)
    apart = town.cluster[3].engine
    everybody = type(apart).view
    ids = apart.identity.node_id
    with patch.object(
        type(apart), "view", lambda self: () if self is apart else [each for each in everybody(self) if each != ids]
    ):
        assert town.census.pieces() == "1 of 20 nodes are not with the others"


def test_a_node_that_is_in_every_view_is_in_too_many() -> None:
    town = Town(60, view=4)
    engine = town.cluster[0].engine
    everybody = type(engine).view
    with patch.object(type(engine), "view", lambda self: [*everybody(self), engine.identity.node_id]):
        assert town.census.uneven().startswith("in-degrees deviate by")


def test_entries_of_the_dead_are_counted() -> None:
    town = Town(20, view=4)
    for index in range(10):
        town.cluster[index].stop()
    assert 0.3 < town.census.dead_links() < 0.7


# ---- rest


def test_what_nodes_send_at_rest_does_not_grow_with_the_cluster() -> None:
    """The issue allows a quarter more from a hundred to a thousand nodes."""
    measured = []
    for nodes in (100, 1000):
        cluster = Cluster(nodes, seed=1, warm=True)
        cluster.run(1.0)
        rest = Rest()
        rest.begin(cluster)
        cluster.run(3.0)
        rest.end(cluster)
        assert rest.bytes_a_node_second is not None
        measured.append(rest.bytes_a_node_second)
    assert 200 < measured[0] < 400
    assert measured[1] < 1.25 * measured[0]


def test_more_than_the_limit_is_dear_and_loss_is_an_excuse_for_some_of_it() -> None:
    cluster = Cluster(3, seed=1, warm=True, config=Config.lan())
    rest = Rest()
    rest.bytes_a_node_second = 900.0
    assert rest.dear(cluster) == "900 bytes a node and second, 727 allowed"
    cluster.set_link(loss=0.1)
    assert rest.dear(cluster) == ""


def test_a_node_that_greets_somebody_is_restless() -> None:
    cluster = Cluster(3, seed=1)
    cluster.run(1.0)
    assert Rest.restless(cluster) == ""
    cluster[1].engine._members._greeter.add_candidate(cluster.queue.now, Address("10.9.9.9", 1))
    assert Rest.restless(cluster) == "n1 greets 1 addresses"
