"""Which states are saved: those that were joined, and none that was refused."""

import random

from crdts import Replica
from gossip.protocol import Config, Identity, Persist, seal_for
from gossip.protocol.output import Output


def output_of(replica: Replica) -> Output:
    rng = random.Random(1)
    return Output(Identity.fresh("a", rng), Config.local(), rng, replica, seal_for(None, "test"))


def persisted(output: Output) -> list[Persist]:
    output.save()
    return [effect for effect in output.drain() if isinstance(effect, Persist)]


def test_a_state_that_takes_away_what_is_beyond_a_writers_end_is_saved() -> None:
    """What goes counts as refused, and so the state had been taken for one that was refused as a whole."""
    writer, retiring, replica = Replica("w"), Replica("r"), Replica("a")
    first, second = writer.orset("set").add(1), writer.orset("set").add(2)
    retiring.merge(first).retire("w")
    assert retiring.retired == {"w": 1}
    retiring.orset("set").add(3)
    replica.merge(first).merge(second)
    output = output_of(replica)
    state = retiring.store.kernel.state()
    assert output.join(0.0, state, b"")
    assert {*replica.orset("set")} == {1, 3}
    assert [batch.states for batch in persisted(output)] == [(state,)]


def test_a_state_that_is_refused_is_not_saved() -> None:
    writer, other, replica = Replica("w"), Replica("o"), Replica("a")
    first = writer.orset("set").add(1)
    replica.merge(first).retire("w")
    writer.orset("set").add(2)
    other.merge(writer)
    output = output_of(replica)
    assert not output.join(0.0, other.store.kernel.state(), b"")
    assert {*replica.orset("set")} == {1}
    assert persisted(output) == []
