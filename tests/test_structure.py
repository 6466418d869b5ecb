"""Who may import whom, what is public, and what nothing may depend on: the order of a set."""

import ast
import importlib
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"crdts", "gossip", "simulations"}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> Iterator[str]:
    """The full name of everything a module imports, wherever in it, as ``package.module.name``."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inside = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            origin = ".".join(part for part in (inside, node.module) if part)
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def attributes(path: Path) -> Iterator[str]:
    """Every ``module.name`` that is spelled out, such as ``random.choice``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"


def roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


EDGE = {"__main__.py", "plot.py", "pools.py", "report.py", "file.py", "sweep.py"}
"""Modules of the simulations, besides their command line, that may touch files, processes and the clock."""
SIMULATED = [path for path in modules("simulations") if path.name not in EDGE and path.parent.name != "cli"]
PURE = [*modules("crdts"), *modules("gossip/protocol"), *SIMULATED]
"""Modules that do no I/O, read no clock, and do the same at every run."""


@pytest.mark.parametrize("path", modules("crdts"), ids=name_of)
def test_crdts_imports_nothing_of_ours_and_one_library(path: Path) -> None:
    assert roots(path) - sys.stdlib_module_names <= {"crdts", "cbor2"}


@pytest.mark.parametrize("path", modules("gossip/protocol"), ids=name_of)
def test_the_protocol_imports_crdts_and_two_libraries(path: Path) -> None:
    assert roots(path) - sys.stdlib_module_names <= {"crdts", "gossip", "cbor2", "cryptography"}
    of_gossip = {name for name in imports(path) if name.startswith("gossip.")}
    assert {name for name in of_gossip if not name.startswith("gossip.protocol")} == set()


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_the_pure_parts_touch_neither_network_nor_files_nor_threads(path: Path) -> None:
    outside = {
        "asyncio",
        "concurrent",
        "io",
        "multiprocessing",
        "os",
        "pathlib",
        "select",
        "selectors",
        "signal",
        "socket",
        "sqlite3",
    }
    assert not roots(path) & (outside | {"ssl", "subprocess", "tempfile", "threading", "trio"})


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_only_the_edge_of_the_api_reads_the_system_clock(path: Path) -> None:
    if name_of(path) in {"crdts/clock.py", "crdts/store.py"}:
        assert {name for name in attributes(path) if name.startswith("time.")} == {"time.time"}
    else:
        assert not roots(path) & {"time", "datetime"}


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_chance_is_an_argument(path: Path) -> None:
    assert not roots(path) & {"secrets", "uuid"}
    drawn = {name for name in (*imports(path), *attributes(path)) if name.startswith("random.")}
    # A cluster key is drawn by the system unless a caller brings a generator: keys must not be repeatable by default.
    assert drawn <= {"random.Random"} | ({"random.SystemRandom"} if path.name == "seal.py" else set())
    made = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    generators = [call for call in made if ast.unparse(call.func) in {"Random", "random.Random"}]
    if path in SIMULATED:
        assert all(call.args for call in generators), "a run is decided by its seed"
    else:
        assert not generators, "a generator made here has a seed of its own"


@pytest.mark.parametrize("path", modules("gossip"), ids=name_of)
def test_gossip_does_not_know_the_simulations(path: Path) -> None:
    assert "simulations" not in roots(path)


@pytest.mark.parametrize("path", modules("simulations"), ids=name_of)
def test_simulations_use_no_network_and_no_threads_of_their_own(path: Path) -> None:
    assert not roots(path) & {"trio", "asyncio", "socket", "threading"}


@pytest.mark.parametrize("path", SIMULATED, ids=name_of)
def test_what_runs_in_a_simulation_knows_nothing_of_its_command_line(path: Path) -> None:
    assert not roots(path) & {"click", "rich", "distributed", "matplotlib"}
    assert not [name for name in imports(path) if name.startswith(("gossip.cli", "simulations.cli"))]


@pytest.mark.parametrize("path", [path for package in sorted(OURS) for path in modules(package)], ids=name_of)
def test_no_package_imports_its_tests(path: Path) -> None:
    assert not roots(path) & {"tests", "pytest", "hypothesis"}


# ---- no circles


def file_of(name: str, files: Collection[str]) -> str | None:
    """The file of ours that a full name is imported from; None if it is not from ours."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        stem = "/".join(parts[:end])
        for file in (f"{stem}.py", f"{stem}/__init__.py"):
            if file in files:
                return file
    return None


def circles(arrows: Mapping[str, Iterable[str]]) -> list[set[str]]:
    """The largest sets in which each file imports each other one, directly or through others."""
    reached: dict[str, set[str]] = {}
    for start in arrows:
        seen, ahead = set[str](), [start]
        while ahead:
            news = [file for file in arrows[ahead.pop()] if file not in seen]
            seen.update(news)
            ahead += news
        reached[start] = seen
    found: list[set[str]] = []
    for file in sorted(arrows):
        circle = {other for other in reached[file] if file in reached[other]}
        if circle and circle not in found:
            found.append(circle)
    return found


def test_there_is_no_circle_of_files_even_of_imports_for_types_only() -> None:
    files = {name_of(path): path for package in sorted(OURS) for path in modules(package)}
    arrows = {
        name: {file for each in imports(path) if (file := file_of(each, files)) is not None}
        for name, path in files.items()
    }
    assert circles(arrows) == []


FOLDERS: Final = sorted({path.parent for package in OURS for path in modules(package)})


@pytest.mark.parametrize("parent", FOLDERS, ids=name_of)
def test_there_is_no_circle_of_the_folders_inside_another(parent: Path) -> None:
    """Files that stand in the parent itself do not count: some are above its folders, and some below."""
    files = {name_of(path): path for package in sorted(OURS) for path in modules(package)}
    inside = [name_of(folder) for folder in FOLDERS if folder.parent == parent]
    arrows: dict[str, set[str]] = {folder: set() for folder in inside}
    for name, path in files.items():
        here = next((folder for folder in inside if name.startswith(f"{folder}/")), None)
        targets = [file_of(each, files) or "" for each in imports(path)] if here is not None else []
        there = {folder for folder in inside for target in targets if target.startswith(f"{folder}/")}
        arrows[here or parent.name] = arrows.get(here or parent.name, set()) | (there - {here})
    assert circles({folder: arrows[folder] for folder in inside}) == []


PROTOCOL: Final = ["wire", "membership", "dissemination", "sync", "succession", "retirement"]
"""The folders of the protocol; each may import those before it."""


@pytest.mark.parametrize(
    "path", [each for each in modules("gossip/protocol") if each.parent.name in PROTOCOL], ids=name_of
)
def test_the_folders_of_the_protocol_import_those_below_them(path: Path) -> None:
    below = PROTOCOL[: PROTOCOL.index(path.parent.name) + 1]
    parts = [
        name.removeprefix("gossip.protocol.").split(".")[0] for name in imports(path) if "gossip.protocol." in name
    ]
    assert {part for part in parts if part in PROTOCOL} <= set(below)


@pytest.mark.parametrize(
    ("arrows", "found"),
    [
        ({"a": ["b"], "b": ["c"], "c": []}, []),
        ({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}, []),
        ({"a": ["a"]}, [{"a"}]),
        ({"a": ["b"], "b": ["a"], "c": ["a"]}, [{"a", "b"}]),
        ({"a": ["b"], "b": ["c", "d"], "c": ["a"], "d": ["e"], "e": ["d"]}, [{"a", "b", "c"}, {"d", "e"}]),
    ],
)
def test_the_search_for_circles_finds_them(arrows: dict[str, list[str]], found: list[set[str]]) -> None:
    assert circles(arrows) == found


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("crdts.kernel.Kernel", "crdts/kernel.py"),
        ("crdts.kernel", "crdts/kernel.py"),
        ("crdts.types.sets", "crdts/types/sets.py"),
        ("crdts.Replica", "crdts/__init__.py"),
        ("trio.Event", None),
    ],
)
def test_an_import_leads_to_a_file(name: str, file: str | None) -> None:
    assert file_of(name, {name_of(path) for path in modules("crdts")}) == file


# ---- one module spells replica ids

SPELLED: Final = re.compile(r"node_id|\.hex\(|epoch|nonce|writer|replica|life|lives|fence")
"""What a replica id is made of or stands in, in the source of an expression."""
OTHER_DOTS: Final = {
    "gossip/discovery/mdns.py": "names in the DNS",
    "gossip/protocol/membership/updates.py": "an incarnation, for people",
    "gossip/protocol/identity.py": "this is the module",
}


def spellings(tree: ast.AST) -> Iterator[str]:
    """Expressions that put a replica id together, or take one apart."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            for part, after in pairwise(node.values):
                joined = isinstance(after, ast.Constant) and str(after.value)[:2] in {".", "-", "/", ".*"}
                if joined and isinstance(part, ast.FormattedValue) and SPELLED.search(ast.unparse(part.value)):
                    yield ast.unparse(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            parts = node.func.attr in {"partition", "rpartition", "split", "rsplit", "removeprefix", "startswith"}
            dots = any(isinstance(arg, ast.Constant) and arg.value in {".", "-", ".*"} for arg in node.args)
            if parts and dots and SPELLED.search(ast.unparse(node.func.value)):
                yield ast.unparse(node)


@pytest.mark.parametrize("path", [p for package in sorted(OURS) for p in modules(package)], ids=name_of)
def test_only_one_module_spells_and_parses_replica_ids(path: Path) -> None:
    if name_of(path) not in OTHER_DOTS:
        assert list(spellings(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("f'{peer.node_id.hex()}.{peer.epoch}'", True),
        ("f'{node_id}.{epoch}-{nonce}'", True),
        ("context.within(f'{node_id.hex()}.', f'{node_id.hex()}/')", True),
        ("f'{node_id.hex()}.*'", True),
        ("writer.partition('.')[0]", True),
        ("lives[-1].partition('-')[2]", True),
        ("f'{writer} is not closed'", False),
        ("f'{peer.name}. It is gone'", False),
        ("host.partition('.')", False),
    ],
)
def test_the_search_for_spelled_replica_ids_finds_them(code: str, found: bool) -> None:
    assert bool(list(spellings(ast.parse(code)))) == found


# ---- ids have types of their own

IDS: Final = re.compile(
    r"_*((own|other|peer)_id|node_ids?|nodes?_of|fenced_(by|nodes)|senders?|helpers?|requesters?"
    r"|(own_|other_|peer_|present_)?(replicas?|writers?)(_ids?)?(_of)?|lives?(_of)?|fences?(_of)?|former|holders?)"
)
"""Names of what is, or holds, a node id or a replica id."""
TEXT: Final = {
    ("crdts/types/base.py", "replica_id"): "a caller names a replica",
    ("crdts/types/bounded.py", "holder"): "a caller names a replica, or a member of a node",
    ("crdts/types/bounded.py", "replica_id"): "a caller names a replica",
    ("crdts/replica.py", "other_id"): "a caller names a replica",
    ("crdts/replica.py", "peer_id"): "a caller names a replica",
    ("crdts/replica.py", "replica_id"): "a caller names a replica",
    ("crdts/replica.py", "writer_id"): "a caller names a replica",
    ("crdts/replica.py", "writer_ids"): "a caller names replicas",
    ("crdts/schema.py", "replica_id"): "it is checked there",
    ("crdts/store.py", "lives_of"): "a caller names a member",
    ("crdts/store.py", "replica_id"): "a caller names a replica",
    ("gossip/discovery/announcement.py", "node_id"): "hexadecimal digits, as in the DNS",
    ("gossip/storage/datadir.py", "_holder"): "a process, for people",
    ("gossip/discovery/neighbours.py", "node_id"): "hexadecimal digits, as in the DNS",
    ("gossip/naming.py", "_own_id"): "hexadecimal digits, as in `Member.id`",
    ("gossip/naming.py", "node_of"): "a caller names a member",
    ("gossip/node.py", "replica_id"): "a caller names a replica",
}
"""Where an id is text, or a name is another thing's."""
MAKERS: Final = {
    "crdts/types/bounded.py": "a caller names a replica",
    "crdts/context.py": "the type itself",
    "crdts/reconcile/messages.py": "a bound below all replica ids",
    "crdts/joining.py": "a bound below all replica ids",
    "crdts/schema.py": "checks text, and reads keys that are checked",
    "gossip/demo/cluster.py": "a worker that has not said its id",
    "gossip/naming.py": "a caller names a replica",
    "gossip/node.py": "a caller names a replica",
    "gossip/protocol/identity.py": "makes and parses ids",
    "gossip/storage/former.py": "reads a file",
    "gossip/storage/hints.py": "reads a file",
    "simulations/world/world.py": "draws ids",
}
"""Modules that may say that text or bytes are an id."""


def bare_ids(tree: ast.AST) -> Iterator[str]:
    """The names of ids that are annotated with ``str`` or ``bytes``."""
    for node in ast.walk(tree):
        match node:
            case ast.arg(arg=name, annotation=ast.expr() as said):
                pass
            case ast.AnnAssign(target=ast.Name(id=name) | ast.Attribute(attr=name), annotation=said):
                pass
            case ast.FunctionDef(name=name, returns=ast.expr() as said):
                pass
            case _:
                continue
        if IDS.fullmatch(name) and {"str", "bytes"} & {
            part.id for part in ast.walk(said) if isinstance(part, ast.Name)
        }:
            yield name


def makes_ids(path: Path) -> bool:
    """True if the module says of text or bytes that they are an id."""
    calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
    return not calls.isdisjoint({"NewType", "NodeId", "ReplicaId"})


@pytest.mark.parametrize("path", [p for package in sorted(OURS) for p in modules(package)], ids=name_of)
def test_node_ids_and_replica_ids_have_types_of_their_own(path: Path) -> None:
    said = {name for file, name in TEXT if file == name_of(path)}
    assert set(bare_ids(ast.parse(path.read_text()))) - said == set()


@pytest.mark.parametrize("path", [p for package in sorted(OURS) for p in modules(package)], ids=name_of)
def test_text_becomes_an_id_only_where_it_comes_in(path: Path) -> None:
    assert name_of(path) in MAKERS or not makes_ids(path)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("def f(node_id: bytes): pass", True),
        ("class A:\n    replica: str", True),
        ("class A:\n    replica_id: str | None = None", True),
        ("self._lives: dict[str, None] = {}", True),
        ("def f(writers: Iterable[str]) -> None: pass", True),
        ("def node_of(writer: ReplicaId) -> bytes | None: pass", True),
        ("def f(node_id: NodeId, writer: ReplicaId | None): pass", False),
        ("def f(writers: dict[ReplicaId, int]): pass", False),
        ("def f(name: str, data: bytes): pass", False),
    ],
)
def test_the_search_for_ids_without_a_type_finds_them(code: str, found: bool) -> None:
    assert bool(list(bare_ids(ast.parse(code)))) == found


def test_every_exception_for_ids_is_needed() -> None:
    paths = [path for package in sorted(OURS) for path in modules(package)]
    found = {(name_of(path), name) for path in paths for name in bare_ids(ast.parse(path.read_text()))}
    assert TEXT.keys() - found == set()
    assert MAKERS.keys() - {name_of(path) for path in paths if makes_ids(path)} == set()


# ---- public names

PUBLIC = {
    "crdts": [
        *(
            "BoundedCounter",
            "Change",
            "Context",
            "CrdtError",
            "DWFlag",
            "DecodeError",
            "Delta",
            "Dot",
            "EWFlag",
            "Event",
            "ForeignDelta",
        ),
        *("GCounter", "GSet", "HybridClock", "InTransaction", "InsufficientRights", "InvalidValue", "LWWMap"),
        *("LWWRegister", "LocalError", "LogTrimmed", "MVRegister", "ORMap", "ORSet", "OutOfStep", "PNCounter", "RWSet"),
        *("Reconciliation", "RemoteError", "Replica", "ReplicaId", "Stats", "Transaction", "UnsupportedType", "Value"),
        *("WriterRetired", "WrongClock", "decode", "decode_context", "encode", "encode_context"),
    ],
    "gossip": [
        *("Address", "Change", "Config", "ConfigError", "DamagedData", "DataDirInUse", "DiskFailed", "GossipError"),
        *("KeyFormatError", "LogLoss", "Storage", "StorageError", "UnknownFormat"),
        *("LocalError", "Member", "MemberAlive", "Node", "NodeRetired", "NotRunning", "RemoteError", "Statistics"),
        *("SyncTimeout", "TransportFaults", "UnknownMember", "Version", "Watch", "WrongThread", "new_key", "open_node"),
        "short_collections",
    ],
    "gossip.protocol": [
        *(
            "Address",
            "Close",
            "Config",
            "Effect",
            "Engine",
            "Hint",
            "Identity",
            "Member",
            "NodeId",
            "Notify",
            "OpenStream",
        ),
        *("Persist", "Remember", "Rename", "Seal", "Send", "Statistics", "Write", "new_key", "parse_key", "seal_for"),
    ],
    "crdts.embedding": [
        *(
            "BOUNDED",
            "DELTA_BYTES",
            "END_OF_TIME",
            "MAX_INT",
            "MAX_NESTING",
            "MAX_PREKILLED",
            "MAX_REPLICA_ID_BYTES",
            "MAX_VALUE_BYTES",
            "MAX_WRITERS",
            "MIN_MESSAGE_BYTES",
            "PART_EVENTS",
            "RECONCILIATION_VERSION",
            "RETIRED",
            "STAMPED",
            "TYPES",
            "TYPE_OF_TAG",
            "Accessors",
            "Batch",
            "ContextMark",
            "Crdt",
            "DotRange",
            "Joining",
            "Kernel",
            "Limit",
            "Store",
            "Sweep",
        ),
        *(
            "check_replica_id",
            "composed",
            "date_of",
            "encode_value",
            "event_bytes",
            "events_delta",
            "name_bytes",
            "names_of",
            "pack",
            "packed",
            "receivers",
            "restored",
            "same",
            "state_delta",
            "strict_loads",
            "told_apart",
            "type_tag",
            "view",
            "winner",
        ),
    ],
    "simulations": [
        *("Cluster", "EventQueue", "Link", "Network", "Node", "Observer", "Recording", "Scenario", "ScenarioError"),
        *("Topology", "load_scenario", "run_scenario"),
    ],
}


@pytest.mark.parametrize("path", [*modules("gossip"), *modules("simulations")], ids=name_of)
def test_nobody_imports_past_the_two_faces_of_crdts(path: Path) -> None:
    files = {name_of(each) for each in modules("crdts")}
    assert {file_of(each, files) for each in imports(path)} <= {"crdts/__init__.py", "crdts/embedding.py", None}


@pytest.mark.parametrize(("package", "names"), PUBLIC.items(), ids=PUBLIC.keys())
def test_the_public_names_are_these(package: str, names: list[str]) -> None:
    module = importlib.import_module(package)
    assert sorted(module.__all__) == sorted(names)
    if not hasattr(module, "__path__"):
        assert {name for name in vars(module) if not name.startswith("_")} == set(names)
        return
    folder = package.replace(".", "/")
    submodules = {path.stem for path in modules(folder)} | {path.name for path in (ROOT / folder).iterdir()}
    importable = {name for name in vars(module) if not name.startswith("_")} - submodules
    assert importable == set(names)


# ---- the order of a set


def set_iterations(tree: ast.AST) -> Iterator[int]:
    """Lines where a loop or a comprehension that keeps an order goes over a set that is made right there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.AsyncFor):
            sources = [node.iter]
        elif isinstance(node, ast.ListComp | ast.GeneratorExp | ast.DictComp):
            sources = [generator.iter for generator in node.generators]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"list", "tuple", "iter", "enumerate", "next"}:
            sources = node.args
        else:
            continue
        yield from (node.lineno for source in sources if is_set(source))


def is_set(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):
        return is_set(node.left) or is_set(node.right)
    call = isinstance(node, ast.Call) and ast.unparse(node.func) in {"set", "frozenset"}
    return call or isinstance(node, ast.Set | ast.SetComp)


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_nothing_depends_on_the_order_of_a_set(path: Path) -> None:
    assert list(set_iterations(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("for x in {1, 2}: pass", True),
        ("for x in set(y): pass", True),
        ("[x for x in {y for y in z}]", True),
        ("list(set(a) - b)", True),
        ("for x in sorted({1, 2}): pass", False),
        ("for x in [1, 2]: pass", False),
        ("{x for x in set(y)}", False),
        ("sorted(x for x in y)", False),
    ],
)
def test_the_search_for_set_iterations_finds_them(code: str, found: bool) -> None:
    assert bool(list(set_iterations(ast.parse(code)))) == found
