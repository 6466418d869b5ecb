"""The engine as its driver sees it: time, bounds, and parts that know nothing of each other."""

import ast
import random
from pathlib import Path

import pytest

import gossip.protocol
from crdts import Replica
from gossip.protocol import Address, Config, Effect, Persist, Send
from gossip.protocol.wire.messages import Digest, Offer, Push, Relay, Update, Updates
from simulations import Cluster, Link

from .support import Puppet, Rig, of_type

PACKAGE = Path(gossip.protocol.__file__).parent


def busy(rig: Rig, rng: random.Random, puppet: Puppet) -> list[Effect]:
    """One thing that may happen."""
    match rng.randrange(6):
        case 0:
            rig.replica.orset("s").add(rng.randrange(100))
            return []
        case 1:
            return rig.seed(Address(f"10.7.0.{rng.randrange(1, 9)}", 1))
        case 2:
            return rig.receive(puppet.address, puppet.says(Offer()))
        case 3:
            return rig.receive(puppet.address, puppet.says(Push(Replica("w").orset("s").add(1), 3, 0)))
        case 4:
            return rig.done(rig.engine.await_acks(rig.now, rng.choice([0, 1, 100])))
        case _:
            return rig.receive(puppet.address, puppet.hello())


@pytest.mark.parametrize("seed", range(10))
def test_after_a_tick_nothing_is_due_any_more(seed: int) -> None:
    """A deadline that stays in the past would make the driver spin."""
    rng, rig, puppet = random.Random(seed), Rig(seed=seed), Puppet()
    puppet.meets(rig)
    for _ in range(300):
        busy(rig, rng, puppet)
        if rng.random() < 0.5:
            rig.tick()
            for _ in range(3):
                if rig.engine.deadline() > rig.now:
                    break
                rig.tick()
            assert rig.engine.deadline() > rig.now
        else:
            rig.pass_time(rng.choice([0.001, 0.1, 3.0]))


@pytest.mark.parametrize("seed", range(10))
def test_before_the_deadline_a_tick_has_nothing_to_do(seed: int) -> None:
    """Otherwise something waits that no deadline tells of."""
    rng, rig, puppet = random.Random(seed), Rig(seed=seed), Puppet()
    puppet.meets(rig)
    for _ in range(300):
        busy(rig, rng, puppet)
        early = (rig.now + rig.engine.deadline()) / 2
        if rig.now < early < rig.engine.deadline():
            rig.now = early
            assert rig.engine.tick(rig.now) == []
        rig.tick()


def test_a_long_sleep_is_caught_up_with_in_one_tick() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    rig.pass_time(1.0)
    rig.now += 7 * 24 * 3600.0
    assert len(of_type(Send, rig.done(rig.engine.tick(rig.now)))) <= 2
    assert rig.engine.deadline() > rig.now
    assert rig.states() == {"puppet": "suspect"}
    assert rig.engine.statistics().lags == 1


def test_ticks_at_one_instant_do_nothing_twice() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    rig.tick()
    assert rig.engine.tick(rig.now) == []
    assert rig.engine.tick(rig.now) == []


def test_any_clock_will_do() -> None:
    for start in (0.0, 1e-9, 1e6, 1.8e9):
        rig, puppet = Rig(), Puppet()
        rig.now = start
        puppet.meets(rig)
        rig.replica.orset("s").add(1)
        assert of_type(Relay, puppet.hears(rig.pass_time(0.1)))
        assert of_type(Digest, puppet.hears(rig.pass_time(3.0)))
        rig.pass_time(15.0)
        assert rig.states() == {"puppet": "failed"}


def test_what_was_written_before_anybody_came_reaches_the_first_that_does() -> None:
    cluster = Cluster(1, seed=1)
    cluster[0].replica.orset("s").add(1)
    cluster.run(10.0)
    cluster.add()
    cluster.run_until_converged(timeout=5)


def test_leaving_tells_every_member_that_is_there() -> None:
    rig = Rig(epoch=3)
    puppets = [Puppet(f"p{i}", host=f"10.2.0.{i}") for i in range(5)]
    for puppet in puppets:
        puppet.meets(rig)
    puppets[0].leaves(rig)
    effects = rig.done(rig.engine.leave())
    goodbye = Updates((Update(rig.identity.node_id, "left", 3, 0, nonce=""),))
    assert [puppet.hears(effects) for puppet in puppets] == [[], *[[goodbye]] * 4]


def test_a_stamp_from_the_far_future_is_kept_counted_and_not_followed() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    far = Replica("w").register("r").set("from the future", timestamp=4e9)
    rig.receive(puppet.address, puppet.says(Push(far, 1, 0)))
    assert rig.replica.register("r").get() == "from the future"
    assert rig.engine.statistics().stamps_refused == 1
    rig.replica.register("other").set(1)
    assert rig.replica.register("other").timestamp is not None
    assert rig.replica.register("other").timestamp < 3e9  # type: ignore[operator]


def test_what_one_engine_keeps_stays_bounded_whatever_strangers_and_members_send() -> None:
    """Everything with a length inside the engine, after a flood, is within the limits of its configuration."""
    config = Config(full_membership_max=20, view_size=16, max_candidates=30, max_held=50, max_streams=4)
    rig = Rig(config=config, slow_disk=True)
    rng = random.Random(1)
    persisted = 0
    for i in range(3000):
        puppet = Puppet(f"p{i % 500}", host=f"10.2.{i % 250}.{i % 7}")
        effects = rig.receive(puppet.address, puppet.hello())
        if rng.random() < 0.05:
            puppet.meets(rig)
        effects += rig.receive(puppet.address, puppet.says(Digest(bytes(8), i), Offer()))
        conn = rig.engine.next_conn()
        rig.engine.stream_opened(rig.now, conn, puppet.address)
        rig.replica.orset("s").add(i % 50)
        if i % 20 == 0:
            effects += rig.pass_time(0.05)
            tokens = [effect.token for effect in of_type(Persist, effects)]
            persisted = max([persisted, *tokens])
            rig.engine.persisted(rig.now, persisted)
    for name, size in sizes(rig.engine).items():
        assert size <= 260, f"{name} holds {size}"


def sizes(root: object) -> dict[str, int]:
    """The length of every container that belongs to the engine, by where it is; the replica's own are not ours."""
    found: dict[str, int] = {}
    queue: list[tuple[str, object]] = [("engine", root)]
    seen: set[int] = set()
    while queue:
        path, thing = queue.pop()
        if id(thing) in seen or isinstance(thing, Replica | str | bytes | random.Random):
            continue
        seen.add(id(thing))
        if hasattr(thing, "__len__") and hasattr(thing, "__iter__"):
            found[path] = len(thing)
            items = thing.values() if isinstance(thing, dict) else thing
            queue += [(f"{path}[]", item) for item in items]
        if type(thing).__module__.startswith("gossip.protocol"):
            slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
            names = [*getattr(thing, "__dict__", {}), *slots]
            queue += [(f"{path}.{name}", getattr(thing, name, None)) for name in names if name != "kernel"]
    return found


def test_the_core_does_no_input_or_output_and_reads_no_clock() -> None:
    allowed = {"abc", "bisect", "crdts", "cbor2", "cryptography"} | {
        *("base64", "binascii", "collections", "dataclasses", "functools", "hashlib", "ipaddress", "itertools"),
        *("abc", "bisect", "math", "random", "typing"),
    }
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for name in names:
                assert name.split(".")[0] in allowed, f"{path.name} imports {name}"
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random":
                assert node.attr in {"Random", "SystemRandom"}, f"{path.name} uses the global random.{node.attr}"


@pytest.mark.parametrize("seed", range(3))
def test_a_cluster_on_a_bad_network_and_slow_disks_settles_and_falls_silent(seed: int) -> None:
    cluster = Cluster(6, seed=seed, link=Link(loss=0.2, duplication=0.2, latency=(0.001, 0.2)), disk_delay=0.05)
    rng = random.Random(seed)
    for i in range(400):
        replica = rng.choice(cluster.nodes).replica
        replica.orset("s").add(i)
        replica.orset("s").remove(rng.randrange(i + 1))
        replica.lwwmap("m").set(f"{i % 7}", "x" * rng.choice([1, 100, 2000]))
        cluster.run(0.01)
    cluster.run_until_converged(timeout=60)
    cluster.set_link(loss=0.0, duplication=0.0, latency=0.001)
    cluster.run(10.0)
    before = cluster.network.datagrams
    streams = [node.engine.statistics().streams_opened for node in cluster.nodes]
    cluster.run(20.0)
    assert cluster.network.datagrams - before < 6 * 20 * 4.5, "a probe and its answer, twice a second"
    assert [node.engine.statistics().streams_opened for node in cluster.nodes] == streams
