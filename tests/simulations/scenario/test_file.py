"""Scenario files: what they may say, and that each mistake is told with its line."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import simulations
from gossip.protocol import Config
from simulations import Link, Topology
from simulations.campaign.runner import run_scenario
from simulations.errors import ScenarioError
from simulations.faults.chaos import DRAWS, Chaos
from simulations.faults.registry import FAULTS, LAYOUTS, ClockJump, Crash, Fault, Forge, Partition, Weather
from simulations.scenario.file import (
    Replay,
    dump_scenario,
    load_scenario,
    parse_file,
    parse_scenario,
    parse_value,
    scenario_names,
)
from simulations.scenario.operations import OPERATIONS, Write
from simulations.scenario.overrides import Override
from simulations.scenario.scenario import Scenario
from simulations.scenario.toml_lines import lines_of
from simulations.scenario.workload import PATTERNS, Workload
from simulations.world.latency import Constant, LogNormal, Sum, Table, Uniform
from simulations.world.topology import FAR, KINDS, LAN

README = (Path(simulations.__file__).parent / "scenarios" / "README.md").read_text()

# ---- what a file may say


def test_an_empty_file_is_a_scenario_of_the_defaults_named_after_the_file() -> None:
    assert parse_scenario("", "somewhere/quiet.toml") == Scenario(name="quiet")


def test_everything_a_file_says_is_in_the_scenario() -> None:
    text = """
        name = "all of it"
        nodes = 4
        duration = 30
        start = "warm"
        sealed = true
        writes = [[1, 0, "set.add", 3]]
        [config]
        fanout = 3
        probe_interval = 2
        [topology]
        kind = "slow-edge"
        edge_every = 2
        [topology.near]
        latency = 0.001
        [topology.far]
        loss = 0.1
        [chaos]
        count = 3
        kinds = ["crash", "wipe"]
        [[workload]]
        kind = "zipf"
        rate = 1
        [[workload]]
        [[fault]]
        kind = "weather"
        link = {loss = 0.3, latency = [0.1, 0.2]}
        [[fault]]
        kind = "partition"
        at = 2
        groups = [[0], [1, 2, 3]]
    """
    assert parse_scenario(text, "x.toml") == Scenario(
        name="all of it",
        nodes=4,
        duration=30.0,
        start="warm",
        sealed=True,
        writes=(Write(1.0, 0, "set.add", 3),),
        config=(("fanout", 3), ("probe_interval", 2.0)),
        topology=Topology(
            kind="slow-edge", edge_every=2, near=Link(latency=0.001), far=Link(latency=FAR.latency, loss=0.1)
        ),
        chaos=Chaos(count=3, kinds=("crash", "wipe")),
        workload=(Workload(kind="zipf", rate=1.0), Workload()),
        faults=(
            Weather(link=(("loss", 0.3), ("latency", Uniform(0.1, 0.2)))),
            Partition(at=2.0, groups=((0,), (1, 2, 3))),
        ),
    )


@pytest.mark.parametrize(
    ("text", "latency"),
    [
        ("0.5", Constant(0.5)),
        ("[1, 2]", Uniform(1.0, 2.0)),
        ("{median = 0.1}", LogNormal(0.1)),
        ("{median = 0.1, sigma = 2}", LogNormal(0.1, 2.0)),
        ("{table = [0.1, 0.2, 0.9]}", Table((0.1, 0.2, 0.9))),
        ("{sum = [0.5, [1, 2]]}", Sum((Constant(0.5), Uniform(1.0, 2.0)))),
    ],
)
def test_a_latency_is_given_in_several_ways(text: str, latency: object) -> None:
    assert parse_scenario(f"[link]\nlatency = {text}", "x.toml").topology.near.latency == latency


def test_a_node_that_joins_later_may_be_named_and_one_that_never_does_may_not() -> None:
    text = 'nodes = 3\n[[fault]]\nkind = "join"\n[[fault]]\nkind = "pause"\nnode = {}\n'
    parse_scenario(text.format(3), "x.toml")
    with pytest.raises(ScenarioError, match=r"x.toml:6: there is no node 4: there are 4 at most"):
        parse_scenario(text.format(4), "x.toml")


@pytest.mark.parametrize("extra", ['[[fault]]\nkind = "churn"\nevery = 20', '[chaos]\ncount = 4\nkinds = ["join"]'])
def test_newcomers_of_churn_and_of_chaos_may_be_named(extra: str) -> None:
    text = f'nodes = 3\nwrites = [[1, {{}}, "set.add", 1]]\n{extra}\n'
    parse_scenario(text.format(6), "x.toml")
    with pytest.raises(ScenarioError, match=r"x.toml:2: there is no node 7"):
        parse_scenario(text.format(7), "x.toml")


# ---- what it may not say

MISTAKES = [
    ("no toml", 'title = "x"\nnodes = = 3\n', 2, "no TOML"),
    ("the end is missing", 'title = "x"\nabout = """\nno end', 3, "no TOML"),
    ("a key twice", "nodes = 3\n\nnodes = 4\n", 3, "no TOML"),
    ("deep nesting", "\n\nwrites = " + "[" * 20_000, 1, "too deeply"),
    ("an unknown key", "nodes = 3\n# comment\nduratoin = 5\n", 3, "unknown key 'duratoin' .* did you mean 'duration'"),
    ("a field by its inner name", '\n[[faults]]\nkind = "join"\n', 2, "did you mean 'fault'"),
    ("an unknown table", "[confg]\nfanout = 1\n", 1, "did you mean 'config'"),
    ("a whole number as text", 'nodes = "3"\n', 1, "nodes is a whole number, not '3'"),
    ("a whole number as a fraction", "\nnodes = 3.0\n", 2, "nodes is a whole number, not 3.0"),
    ("true as a number", "nodes = true\n", 1, "nodes is a whole number, not true"),
    ("true as a fraction", "duration = true\n", 1, "duration is a number, not true"),
    ("a number as true", "sealed = 1\n", 1, "sealed is true or false, not 1"),
    ("a number as text", "\n\ntitle = 3\n", 3, "title is text"),
    ("infinity", "duration = inf\n", 1, "duration is a number, not inf"),
    ("no number", "[link]\nloss = nan\n", 2, "loss is a number, not nan"),
    (
        "flapping without end",
        "[[fault]]\nkind = 'flap'\nof = [1]\nup = 1e-9\n",
        4,
        "up is .* at least 0.001, not 1e-09",
    ),
    ("churn without end", "[[fault]]\nkind = 'churn'\nevery = 1e-9\n", 3, "every is .* at least 0.001, not 1e-09"),
    ("too many writes", "duration = 60\n[[workload]]\nrate = 1e9\n", 2, "rate makes .* at most 1,000,000"),
    ("too many nodes", "\nnodes = 100001\n", 2, "nodes is at most 100,000, not 100,001"),
    ("too long a tail", "[link]\nlatency = {median = 1, sigma = 11}\n", 2, "sigma is at most 10, not 11"),
    ("a jump past 2112", "[[fault]]\nkind = 'clock-jump'\nnode = 1\nby = 1e10\n", 1, "by is .* at most 1e.08 either"),
    ("a clock past 2112", "\nclock_skew = 1e10\n", 2, "clock_skew is .* at most 1e.08"),
    ("no nodes", 'title = "x"\nnodes = 0\n', 2, "nodes is at least 1, not 0"),
    ("an unknown start", 'nodes = 3\nstart = "hot"\nview = 2', 2, "boot or warm, not 'hot'"),
    ("an unknown profile", 'profile = "moon"\n[config]\nfanout = 3\n', 1, "lan, wan or local"),
    ("skew below zero", "disk_delay = 1.0\nclock_skew = -1.0\n", 2, "clock_skew is not negative"),
    ("an unknown setting", "[config]\nfanout = 3\nfanuot = 4\n", 3, "did you mean 'fanout'"),
    ("a setting out of range", "[config]\nfanout = 3\n\nhops = 0\n", 4, "hops must be"),
    ("a setting of the wrong type", "[config]\nfanout = 3.5\n", 2, "fanout is a whole number"),
    ("a share above one", "[link]\nmtu = 900\nloss = 3\nbandwidth = 9", 3, "loss is a share from 0 to 1"),
    ("a dotted key", "nodes = 3\ntopology.far.loss = 3\n", 2, "loss is a share"),
    ("an inline table", "topology = {kind = 'lan', far = {loss = 3}}\n", 1, "loss is a share"),
    ("an unknown topology", "[topology]\nedge_every = 3\nkind = 'ring'\n", 3, "not 'ring'"),
    ("the link twice", "[topology.near]\nloss = 0.1\n[link]\nloss = 0.2\n", 3, "is short for"),
    ("a table that is none", "nodes = 3\nlink = 3\n", 2, "link is a table, not 3"),
    ("a latency of three", "[link]\n\nlatency = [1, 2, 3]\n", 3, r"\[least, most\]"),
    ("a latency upside down", "[link]\nlatency = [2, 1]\n", 2, "latency is"),
    ("a latency of nothing", "[link]\nlatency = {mean = 1}\n", 2, "latency is a number"),
    ("a latency with too much", "[link]\nlatency = {median = 1, sgima = 1}\n", 2, "did you mean 'sigma'"),
    ("a table of latencies in no order", "[link]\nlatency = {table = [\n1,\n0.5]}\n", 2, "growing order"),
    ("a word among latencies", "[link]\nlatency = {table = [\n1,\n'x']}\n", 4, "is a number"),
    ("workload as a table", "[workload]\nrate = 3\n", 1, "workload is a list"),
    ("the second workload", "[[workload]]\nrate = 3\n[[workload]]\nrate = 0\n", 4, "rate is above 0"),
    ("an unknown workload", "[[workload]]\n[[workload]]\n[[workload]]\nkind = 'x'\n", 4, "a workload is one of"),
    ("a fault without a kind", "nodes = 2\n\n[[fault]]\nnode = 1\n", 3, "a fault has a kind"),
    ("an unknown kind", "[[fault]]\nat = 1\nkind = 'crush'\n", 3, "did you mean 'crash'"),
    ("a kind that is none", "[[fault]]\nat = 1\nkind = 3\n", 3, "there is no fault 3"),
    ("a fault without its node", "nodes = 2\n[[fault]]\nkind = 'crash'\n", 2, "a fault of kind crash has node"),
    ("a key of another fault", "[[fault]]\nkind='crash'\nnode=1\nof=[1]\n", 4, "unknown key 'of' in a fault of kind"),
    ("a fault before the start", "[[fault]]\nkind = 'join'\nat = -1\n", 3, "at is in seconds"),
    ("a fault after the end", "duration = 9\n[[fault]]\nkind = 'join'\nat = 10\n", 4, "after the end"),
    ("an unknown tail", "[[fault]]\nkind = 'crash'\nnode = 1\ntail = 'half'\nwipe = true\n", 4, "tail is one of"),
    ("an unknown layout", "[[fault]]\nkind = 'partition'\ngroups = 'thirds'\n", 3, "groups are"),
    ("a node in two groups", "[[fault]]\nkind = 'partition'\ngroups = [[1, 2],\n[2, 3]]\n", 3, "named twice"),
    ("a group of words", "[[fault]]\nkind = 'partition'\ngroups = [[1, 2],\n['x']]\n", 4, "whole number"),
    ("nobody", "[[fault]]\nkind = 'flap'\nof = []\n", 3, "not an empty one"),
    ("a node that is not there", "nodes = 3\n[[fault]]\nkind = 'flap'\nof = [1, 3]\n", 4, "there is no node 3"),
    ("a node below zero", "[[fault]]\nkind = 'crash'\nnode = -1\n", 3, "there is no node -1"),
    ("weather of no link", "[[fault]]\nkind = 'weather'\nlink = {los = 0.3}\n", 3, "did you mean 'loss'"),
    ("impossible weather", "[[fault]]\nkind = 'weather'\n[fault.link]\nmtu = 1\nloss = 3\n", 5, "loss is a share"),
    ("an unknown kind of chaos", "[chaos]\ncount = 3\nkinds = ['rain']\n", 3, "kinds are some of"),
    ("writes as a word", "writes = 'many'\n", 1, "writes is a list"),
    ("a write of three", "writes = [\n  [1, 0, 'set.add', 1],\n  [1, 0, 'set.add'],\n]\n", 3, "a write is"),
    ("a write of words", "writes = [\n  ['x', 0, 'set.add', 1],\n]\n", 2, "a write is"),
    ("an unknown operation", "writes = [\n  [1, 0,\n 'set.ad', 1],\n]\n", 3, "did you mean 'set.add'"),
    ("a write at nobody", "writes = [\n# here\n[1, 0, 'set.add', 1],\n[1, 10, 'set.add', 1]]\n", 4, "no node 10"),
    ("a write before the start", "writes = [\n[-1, 0, 'set.add', 1]]\n", 2, "not negative"),
    ("a write of a number below zero", "writes = [[1, 0, 'set.add',\n-1]]\n", 2, "not negative"),
    ("a write after the end", "writes = [\n[61, 0, 'set.add', 1]]\n", 2, "after the end"),
    ("writing after the end", "[[workload]]\nuntil = 61\n", 2, "after the end"),
    ("a replay without a seed", "nodes = 3\n[replay]\noracle = 'x'\n", 2, "replay has seed"),
    ("after text of many lines", 'about = """\none\ntwo\n[nodes]\n"""\nnodes = 0\n', 6, "nodes"),
    ("after other quotes", "about = '''\nit's \"\"\"\n'''\nnodes = 0\n", 4, "nodes"),
    ("after an escaped quote", 'title = "a\\"#b"\nname = \'#\' # comment = 3\nnodes = 0\n', 3, "nodes"),
    ("after Windows lines", 'title = "x"\r\nabout = """\r\na\r\n"""\r\nnodes = 0\r\n', 5, "nodes"),
    ("a quoted key", "\"no\\u0064es\" = 3\n'dur ation' = 0\n", 2, "unknown key 'dur ation'"),
]


@pytest.mark.parametrize(("text", "line", "what"), [case[1:] for case in MISTAKES], ids=[case[0] for case in MISTAKES])
def test_a_mistake_is_told_with_its_line(text: str, line: int, what: str) -> None:
    with pytest.raises(ScenarioError) as told:
        parse_file(text, "some/file.toml")
    assert re.match(rf"some/file\.toml:{line}: ", str(told.value)), str(told.value)
    assert re.search(what, str(told.value)), str(told.value)


def test_lines_are_found_whatever_a_table_looks_like() -> None:
    text = "a.b = 1 # c\n[x.y]\n'q r'.s = [ # [\n 1, [2,\n 3], {t = 4},\n]\n[[x.z]]\n[x.z.w]\n[[x.z]]\n"
    text += "d = 1979-05-27 07:32:00\n"
    tomllib.loads(text)
    assert lines_of(text) == {
        ("a",): 1,
        ("a", "b"): 1,
        ("x",): 2,
        ("x", "y"): 2,
        ("x", "y", "q r"): 3,
        ("x", "y", "q r", "s"): 3,
        ("x", "y", "q r", "s", 0): 4,
        ("x", "y", "q r", "s", 1): 4,
        ("x", "y", "q r", "s", 1, 0): 4,
        ("x", "y", "q r", "s", 1, 1): 5,
        ("x", "y", "q r", "s", 2): 5,
        ("x", "y", "q r", "s", 2, "t"): 5,
        ("x", "z"): 7,
        ("x", "z", 0): 7,
        ("x", "z", 0, "w"): 8,
        ("x", "z", 1): 9,
        ("x", "z", 1, "d"): 10,
    }


# ---- values from elsewhere


def test_values_from_the_command_line_stand_in_for_those_of_the_file() -> None:
    text = "nodes = 3\n[link]\nloss = 0.5\n[[workload]]\nrate = 1\n[[workload]]\nrate = 2\n"
    changes = [
        Override("nodes", 5, "--nodes"),
        Override("topology.near.loss", 0.1, "--loss"),
        Override("topology.far.loss", 0.2, "--loss"),
        Override("workload.keys", 7, "--set workload.keys"),
        Override("workload.1.rate", 9, "--set workload.1.rate"),
        Override("config.fanout", 2, "--set config.fanout"),
    ]
    found = parse_file(text, "x.toml", changes).scenario
    assert (found.nodes, found.topology.near.loss, found.topology.far.loss) == (5, 0.1, 0.2)
    assert found.topology.far.latency == FAR.latency
    assert [(each.rate, each.keys) for each in found.workload] == [(1.0, 7), (9.0, 7)]
    assert found.config == (("fanout", 2),)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("nodes", 0, "--here: nodes is at least 1"),
        ("nods", 3, "--here: unknown key 'nods'"),
        ("nodes.x", 3, "--here: nodes is a whole number, not {'x': 3}"),
        ("fault.0.at.x", 3, "--here: fault.0.at has no parts"),
        ("", 3, "--here: a key is words"),
        ("a..b", 3, "--here: a key is words"),
        ("workload.1.rate", 3, "--here: there is no workload.1"),
        ("workload.rate", "x", "--here: workload.rate is a number"),
        ("fault.at", 3, "--here: there is no fault in this scenario"),
        ("link.loss", 2, "--here: loss is a share"),
        ("duration", 10, "x.toml:1: 20 s is after the end"),
    ],
)
def test_a_mistake_on_the_command_line_is_told_as_such(key: str, value: object, message: str) -> None:
    text = {"duration": "writes = [[20, 0, 'set.add', 1]]", "fault.0.at.x": "fault = [{kind = 'join', at = 1}]"}.get(
        key, ""
    )
    with pytest.raises(ScenarioError, match=re.escape(message)):
        parse_file(text, "x.toml", [Override(key, value, "--here")])


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("0.5", 0.5), ("true", True), ("warm", "warm"), ("[1]", [1]), ("a\nb = 1", "a\nb = 1")],
)
def test_a_value_on_the_command_line_is_read_as_toml_or_else_as_text(text: str, value: object) -> None:
    assert parse_value(text) == value


# ---- there and back

SECONDS = st.floats(0, 60, allow_subnormal=False)
SHARES = st.floats(0, 1)
PLAIN = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SIMPLE = st.one_of(
    st.builds(Constant, SECONDS),
    st.builds(lambda a, b: Uniform(*sorted((a, b))), SECONDS, SECONDS),
    st.builds(LogNormal, SECONDS, st.floats(0, 10)),
    st.builds(lambda found: Table(tuple(sorted(found))), st.lists(SECONDS, min_size=2, max_size=5)),
)
LATENCIES = SIMPLE | st.builds(lambda parts: Sum(tuple(parts)), st.lists(SIMPLE, min_size=1, max_size=3))
LINKS = st.builds(
    Link, latency=LATENCIES, loss=SHARES, burst_every=SECONDS, corruption=SHARES, mtu=st.integers(0, 9000)
)
NODES = st.integers(0, 3)
GROUPS = st.sampled_from([*LAYOUTS, ((0, 1), (2, 3)), ((0,), (1,), (2, 3))])
GIVEN = {
    "node": NODES,
    "by": st.floats(-99, 99),
    "of": st.lists(NODES, min_size=1, unique=True).map(tuple),
    "at": SECONDS,
    "seconds": SECONDS,
    "groups": GROUPS,
    "delay": SECONDS,
    "every": st.floats(0.1, 9),
    "down": st.floats(0.1, 9),
    "up": st.floats(0.1, 9),
    "tail": st.sampled_from(["lost", "torn", "kept", "reordered"]),
    "wipe": st.booleans(),
    "power": st.booleans(),
    "write": st.integers(1, 99),
    "full": st.booleans(),
    "stay": st.floats(0.1, 9),
    "killed": st.booleans(),
    "writes": st.integers(0, 9),
    "share": SHARES,
    "link": st.fixed_dictionaries({"loss": SHARES, "latency": LATENCIES}).map(lambda link: tuple(link.items())),
}


def faults(kind: type[Fault]) -> st.SearchStrategy[Fault]:
    if kind.kind == "retire":
        return st.builds(kind, node=st.just(0), by=st.integers(1, 3), at=SECONDS)
    return st.builds(kind, **{field.name: GIVEN[field.name] for field in fields(kind)})


SCENARIOS = st.builds(
    Scenario,
    name=PLAIN,
    title=PLAIN,
    about=PLAIN,
    nodes=st.integers(4, 6),
    duration=st.floats(200.0, 500.0),
    settle=st.floats(0.1, 99),
    start=st.sampled_from(["boot", "warm"]),
    profile=st.sampled_from(["lan", "wan", "local"]),
    config=st.sampled_from([(), (("fanout", 2), ("probe_interval", 0.5))]),
    sealed=st.booleans(),
    disk=st.booleans(),
    durability=st.sampled_from(["full", "normal"]),
    clock_drift=st.floats(0, 0.5),
    topology=st.builds(Topology, kind=st.sampled_from(KINDS), near=LINKS, far=LINKS) | st.just(LAN),
    workload=st.lists(
        st.builds(Workload, kind=st.sampled_from(list(PATTERNS)), rate=st.floats(0.1, 9), until=SECONDS), max_size=3
    ).map(tuple),
    faults=st.lists(st.one_of([faults(kind) for kind in FAULTS.values()]), max_size=5).map(tuple),
    chaos=st.none() | st.builds(Chaos, count=st.integers(0, 9), kinds=st.sampled_from([tuple(DRAWS), ("join",)])),
    writes=st.lists(st.builds(Write, SECONDS, NODES, st.sampled_from(list(OPERATIONS)), NODES), max_size=4).map(tuple),
    membership=st.booleans(),
)


@settings(max_examples=80, deadline=None)
@given(SCENARIOS)
def test_a_scenario_written_to_a_file_is_read_back_as_the_same(scenario: Scenario) -> None:
    assert parse_scenario(dump_scenario(scenario), "other.toml") == scenario


def test_whole_seconds_are_the_same_run_once_they_are_written_to_a_file() -> None:
    faults = (Forge(at=1, seconds=2), ClockJump(at=2, node=0, by=3))
    scenario = Scenario(name="x", nodes=3, duration=5.0, faults=faults, writes=(Write(1, 0, "set.add", 1),))
    read = parse_scenario(dump_scenario(scenario), "x.toml")
    assert repr(read.faults) == repr(scenario.faults)
    assert run_scenario(read, 1).trace == run_scenario(scenario, 1).trace


@pytest.mark.parametrize("seed", range(5))
def test_what_chance_has_drawn_is_written_and_read_back_as_the_same(seed: int) -> None:
    drawn = load_scenario("chaos").concrete(seed)
    text = dump_scenario(drawn, Replay(seed, "what broke"))
    found = parse_file(text, "other.toml")
    assert (found.scenario, found.replay) == (drawn, Replay(seed, "what broke"))
    assert found.scenario.concrete(seed) == drawn


def test_only_what_is_unusual_is_written() -> None:
    scenario = Scenario(name="x", faults=(Crash(at=3.0, node=1),), about="one\ntwo")
    assert dump_scenario(scenario) == (
        'name = "x"\nabout = """\none\ntwo"""\n\n[[fault]]\nkind = "crash"\nat = 3.0\nnode = 1\n'
    )


# ---- where they are


def test_a_scenario_is_loaded_by_name_or_by_path(tmp_path: Path) -> None:
    assert load_scenario("partition-heal").name == "partition-heal"
    path = tmp_path / "mine.toml"
    path.write_text("nodes = 3")
    assert load_scenario(str(path)) == Scenario(name="mine", nodes=3)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"there is no scenario 'partition-hale'; did you mean 'partition-heal'\?"):
        load_scenario("partition-hale")
    with pytest.raises(ScenarioError, match=r"No such file"):
        load_scenario(str(tmp_path / "none.toml"))
    with pytest.raises(ScenarioError, match=r"Is a directory"):
        load_scenario(str(tmp_path))
    (tmp_path / "bytes.toml").write_bytes(b"nodes = 3\ntitle = '\xff'")
    with pytest.raises(ScenarioError, match=r"bytes.toml:2: this is no TOML: it is not UTF-8"):
        load_scenario(str(tmp_path / "bytes.toml"))


# ---- the documentation


def test_the_readme_names_every_key_and_every_value_of_a_choice() -> None:
    words = set(re.findall(r"`\"?([\w.-]+)\"?`", README)) | set(re.findall(r"`\[+([\w.]+)\]+`", README))
    keys = {field.name for cls in (Scenario, Workload, Chaos, Link, Topology, Replay) for field in fields(cls)}
    keys |= {field.name for cls in FAULTS.values() for field in fields(cls)}
    assert keys - {"faults"} <= words
    choices = {
        *FAULTS,
        *LAYOUTS,
        *PATTERNS,
        *KINDS,
        *OPERATIONS,
        "boot",
        "warm",
        "lan",
        "wan",
        "local",
        "wipe",
        "full",
        "normal",
        "power-loss",
        "blackout",
    }
    assert choices <= words


def test_the_readme_has_each_fault_s_keys_in_its_row() -> None:
    rows = {match[1]: match[0] for match in re.finditer(r"^\| `([\w-]+)` \|.*\|$", README, re.MULTILINE)}
    for kind, cls in FAULTS.items():
        assert {f.name for f in fields(cls)} - {"at", "seconds"} <= set(re.findall(r"`(\w+)`", rows[kind])), kind


def test_the_readme_has_the_defaults() -> None:
    for cls in (Scenario, Workload, Chaos, Link):
        for field in fields(cls):
            rows = [line for line in README.splitlines() if line.startswith("|") and f"`{field.name}`" in line]
            if type(field.default) in (int, float):
                assert any(f"{field.default:g}" in re.findall(r"[\d.]+", row.split("|")[-2]) for row in rows), (
                    field.name
                )


def test_the_readme_s_example_is_a_scenario() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    scenario = parse_scenario(example, "example.toml")
    assert len(scenario.faults) == 2


def test_every_setting_of_a_node_can_be_given() -> None:
    text = "[config]\n" + "".join(f"{field.name} = {getattr(Config.lan(), field.name)}\n" for field in fields(Config))
    assert parse_scenario(text, "x.toml").node_config() == Config.lan()


def test_the_shipped_scenarios_are_there() -> None:
    named = "partition-heal one-way lossy-lan flapping rolling-restart mass-restart crash-no-disk clone clock-skew"
    assert {*named.split(), "two-datacentres", "churn", "slow-agent", "thousand-nodes"} <= set(scenario_names())


def test_a_file_that_never_ends_is_no_scenario() -> None:
    with pytest.raises(ScenarioError, match="/dev/zero is no scenario: it has more than 16 MiB"):
        load_scenario("/dev/zero")
