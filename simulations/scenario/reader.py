"""Makes a `Scenario` of a TOML document, and tells of everything that is wrong in it by its line."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, replace
from difflib import get_close_matches
from typing import Any, Final, TypeVar

from gossip.protocol import Config
from gossip.protocol.errors import ConfigError

from ..errors import ScenarioError
from ..faults.chaos import Chaos
from ..faults.registry import FAULTS, Churn, Clone, Fault, Join, Workers
from ..world.latency import Constant, Latency, LogNormal, Sum, Table, Uniform
from ..world.link import Link
from ..world.topology import FAR, NEAR, Topology
from .document import Document
from .operations import OPERATIONS, Write
from .scenario import Scenario
from .toml_lines import Path
from .workload import Workload

T = TypeVar("T")

LISTS: Final = {"workload": "workload", "fault": "faults"}
"""Arrays of tables, and the fields of `Scenario` that they fill."""
ROUNDING: Final = 1e-6
"""Seconds that sums of times may be off by."""
NODE_FIELDS: Final = ("node", "by", "of", "groups")
"""Fields of faults that name nodes; a `by` that is no whole number is seconds."""
MAX_NUMBER: Final = 1e300
"""Numbers are smaller than that, either way, and are numbers."""
_PROFILES: Final = ("lan", "wan", "local")


@dataclass(frozen=True, slots=True)
class Replay:
    """What a file that was kept of a failure says of it: the table ``[replay]``."""

    seed: int
    oracle: str = ""
    """The rule that was broken."""


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """A scenario, and the failure that it was kept for, if it was."""

    scenario: Scenario
    replay: Replay | None = None


def read_document(document: Document) -> ScenarioFile:
    """The scenario that a document describes; raises `ScenarioError`."""
    reader = _Reader(document)
    return ScenarioFile(reader.scenario(), reader.replay())


class _Reader:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._error = document.error

    # ---- the whole

    def scenario(self) -> Scenario:
        content = self._document.content
        plain = {field.name: field for field in fields(Scenario) if field.name not in _SPECIAL}
        self._check_keys((), content, [*plain, *_KEYS])
        values = {key: self._convert(plain[key].type, (key,), content[key]) for key in content if key in plain}
        values.setdefault("name", self._document.source.rpartition("/")[2].removesuffix(".toml"))
        if "config" in content:
            values["config"] = self._config(content["config"], values.get("profile"))
        if "topology" in content or "link" in content:
            values["topology"] = self._topology()
        if "workload" in content:
            values["workload"] = self._several("workload", self._workload)
        if "fault" in content:
            values["faults"] = self._several("fault", self._fault)
        if "chaos" in content:
            values["chaos"] = self._build(Chaos, ("chaos",), content["chaos"])
        if "writes" in content:
            values["writes"] = self._writes(content["writes"])
        scenario = self._construct(Scenario, (), values)
        self._check_times(scenario)
        self._check_nodes(scenario)
        return scenario

    def replay(self) -> Replay | None:
        content = self._document.content
        return self._build(Replay, ("replay",), content["replay"]) if "replay" in content else None

    # ---- its parts

    def _config(self, table: Any, profile: Any) -> tuple[tuple[str, Any], ...]:
        values = self._values(Config, ("config",), table)
        preset: Config = getattr(Config, profile if profile in _PROFILES else "lan")()
        for key, value in values.items():
            try:
                replace(preset, **{key: value})
            except ConfigError as error:
                raise self._error(("config", key), str(error)) from None
        return tuple(values.items())

    def _topology(self) -> Topology:
        content = self._document.content
        table = self._table(("topology",), content.get("topology", {}))
        if "link" in content and "near" in table:
            raise self._error(("link",), "[link] is short for [topology.near]; give one of them")
        values = self._values(Topology, ("topology",), table)
        if "link" in content:
            values["near"] = self._link(NEAR, ("link",), content["link"])
        return self._construct(Topology, ("topology",), values)

    def _link(self, base: Link, path: Path, table: Any) -> Link:
        """What ``base`` becomes by what a table says."""
        return self._construct(lambda **values: replace(base, **values), path, self._values(Link, path, table))

    def _several(self, key: str, read: Callable[[Path, Any], T]) -> tuple[T, ...]:
        listed = self._list((key,), self._document.content[key])
        return tuple(read((key, number), table) for number, table in enumerate(listed))

    def _workload(self, path: Path, table: Any) -> Workload:
        return self._build(Workload, path, table)

    def _fault(self, path: Path, table: Any) -> Fault:
        kind = self._table(path, table).get("kind")
        if kind is None:
            raise self._error(path, f"a fault has a kind: {', '.join(FAULTS)}")
        if not isinstance(kind, str) or kind not in FAULTS:
            hint = _hint(kind, FAULTS) if isinstance(kind, str) else "."
            raise self._error((*path, "kind"), f"there is no fault {_shown(kind)}{hint} There are {', '.join(FAULTS)}")
        rest = {key: value for key, value in table.items() if key != "kind"}
        return self._build(FAULTS[kind], path, rest, besides=["kind"], called=f"a fault of kind {kind}")

    def _writes(self, value: Any) -> tuple[Write, ...]:
        return tuple(self._write(("writes", number), row) for number, row in enumerate(self._list(("writes",), value)))

    def _write(self, path: Path, row: Any) -> Write:
        if not _is_write(row):
            raise self._error(path, f'a write is [at, node, "operation", number], not {_shown(row)}')
        at, node, operation, number = row
        if operation not in OPERATIONS:
            hint = f"{_hint(operation, OPERATIONS)} There are {', '.join(OPERATIONS)}"
            raise self._error((*path, 2), f"there is no operation {_shown(operation)}{hint}")
        if number < 0:
            raise self._error((*path, 3), f"the number of a write is not negative, not {number}")
        return Write(self._seconds((*path, 0), at), node, operation, number)

    # ---- what only the whole can tell

    def _check_times(self, scenario: Scenario) -> None:
        """Whatever came after the end would do so while the nodes are given time to come together."""
        end = scenario.duration
        when: list[tuple[Path, float]] = [
            *((("fault", number, "at"), fault.at) for number, fault in enumerate(scenario.faults)),
            *((("writes", number), write.at) for number, write in enumerate(scenario.writes)),
            *((("workload", number, "until"), each.until) for number, each in enumerate(scenario.workload)),
        ]
        for path, at in when:
            if at > end:
                raise self._error(path, f"{at:g} s is after the end: the duration is {end:g} s")
        for number, fault in enumerate(scenario.faults):
            if fault.at + fault.seconds > end + ROUNDING:
                told = f"{fault.seconds:g} s from {fault.at:g} s on is after the end: the duration is {end:g} s"
                raise self._error(("fault", number, "seconds"), f"{told}; leave it out to last until the end")
        for number, each in enumerate(scenario.workload):
            if each.start > end:
                raise self._error(("workload", number, "start"), f"{each.start:g} s is after the end, {end:g} s")

    def _check_nodes(self, scenario: Scenario) -> None:
        """A fault or a write at a node that can never be would silently do nothing."""
        most = most_nodes(scenario)
        named: list[tuple[Path, list[int]]] = [(("writes", i), [write.node]) for i, write in enumerate(scenario.writes)]
        for number, fault in enumerate(scenario.faults):
            found = [(key, _indexes(getattr(fault, key, None))) for key in NODE_FIELDS]
            named += [(("fault", number, key), indexes) for key, indexes in found]
        for path, indexes in named:
            if len(set(indexes)) < len(indexes):
                raise self._error(path, f"a node is named twice in {indexes}")
            wrong = [index for index in indexes if not 0 <= index < most]
            if wrong:
                raise self._error(path, f"there is no node {wrong[0]}: there are {most} at most, counted from 0")

    # ---- tables

    def _build(self, cls: type[T], path: Path, table: Any, *, besides: Iterable[str] = (), called: str = "") -> T:
        return self._construct(cls, path, self._values(cls, path, table, besides=besides, called=called))

    def _values(
        self, cls: type[Any], path: Path, table: Any, *, besides: Iterable[str] = (), called: str = ""
    ) -> dict[str, Any]:
        """The fields of a dataclass that a table gives, each converted."""
        known: dict[str, Field[Any]] = {field.name: field for field in fields(cls)}
        self._check_keys(path, self._table(path, table), [*besides, *known], called)
        if missing := [name for name, field in known.items() if _is_required(field) and name not in table]:
            raise self._error(path, f"{called or _called(path)} has {', '.join(missing)} as well, which is not here")
        return {key: self._convert(known[key].type, (*path, key), value) for key, value in table.items()}

    def _construct(self, make: Callable[..., T], path: Path, values: dict[str, Any]) -> T:
        """Make an object, or blame the value that keeps it from being made."""
        try:
            return make(**values)
        except ScenarioError as error:
            raise self._error((*path, *_blamed(make, values)), str(error)) from None

    def _check_keys(self, path: Path, table: Mapping[str, Any], known: Iterable[str], called: str = "") -> None:
        allowed = sorted(known)
        for key in table:
            if key not in allowed:
                where = called or _called(path)
                hint = f"{_hint(key, allowed)} There may be {', '.join(allowed)}"
                raise self._error((*path, key), f"unknown key {_shown(key)} in {where}{hint}")

    # ---- values

    def _convert(self, kind: Any, path: Path, value: Any) -> Any:
        return _CONVERTERS[kind](self, path, value)

    def _table(self, path: Path, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._error(path, f"{_called(path)} is a table, not {_shown(value)}")
        return value

    def _list(self, path: Path, value: Any) -> list[Any]:
        if not isinstance(value, list):
            tables = f"; write [[{path[0]}]]" if path in (("workload",), ("fault",)) else ""
            raise self._error(path, f"{_called(path)} is a list, not {_shown(value)}{tables}")
        return value

    def _int(self, path: Path, value: Any) -> int:
        if type(value) is not int:
            raise self._error(path, f"{_called(path)} is a whole number, not {_shown(value)}")
        return value

    def _float(self, path: Path, value: Any) -> float:
        if type(value) not in (int, float) or not abs(value) < MAX_NUMBER:
            raise self._error(path, f"{_called(path)} is a number, not {_shown(value)}")
        return float(value)

    def _seconds(self, path: Path, value: Any) -> float:
        seconds = self._float(path, value)
        if seconds < 0:
            raise self._error(path, f"the time of a write is in seconds, not negative, not {seconds:g}")
        return seconds

    def _str(self, path: Path, value: Any) -> str:
        if not isinstance(value, str):
            raise self._error(path, f'{_called(path)} is text, in "quotes", not {_shown(value)}')
        return value

    def _bool(self, path: Path, value: Any) -> bool:
        if not isinstance(value, bool):
            raise self._error(path, f"{_called(path)} is true or false, not {_shown(value)}")
        return value

    def _ints(self, path: Path, value: Any) -> tuple[int, ...]:
        found = tuple(self._int((*path, number), each) for number, each in enumerate(self._list(path, value)))
        if not found:
            raise self._error(path, f"{_called(path)} is a list of nodes, and not an empty one")
        return found

    def _strs(self, path: Path, value: Any) -> tuple[str, ...]:
        return tuple(self._str((*path, number), each) for number, each in enumerate(self._list(path, value)))

    def _groups(self, path: Path, value: Any) -> tuple[tuple[int, ...], ...] | str:
        if isinstance(value, str):
            return value
        listed = self._list(path, value)
        return tuple(self._ints((*path, number), each) for number, each in enumerate(listed))

    def _near(self, path: Path, value: Any) -> Link:
        return self._link(FAR if path[-1] == "far" else NEAR, path, value)

    def _changes(self, path: Path, value: Any) -> tuple[tuple[str, Any], ...]:
        """Fields of a link that a fault changes, in order, and valid as such."""
        self._link(NEAR, path, value)
        return tuple(self._values(Link, path, value).items())

    def _latency(self, path: Path, value: Any) -> Latency:
        if isinstance(value, dict):
            return self._distribution(path, value)
        if isinstance(value, list):
            if len(value) != 2:
                raise self._error(path, f"latency is [least, most] in seconds, not {_shown(value)}")
            least, most = (self._float((*path, number), each) for number, each in enumerate(value))
            return self._construct(Uniform, path, {"least": least, "most": most})
        return self._construct(Constant, path, {"seconds": self._float(path, value)})

    def _distribution(self, path: Path, table: dict[str, Any]) -> Latency:
        if list(table) == ["table"]:
            listed = enumerate(self._list((*path, "table"), table["table"]))
            seconds = tuple(self._float((*path, "table", number), each) for number, each in listed)
            return self._construct(Table, path, {"seconds": seconds})
        if list(table) == ["sum"]:
            listed = enumerate(self._list((*path, "sum"), table["sum"]))
            return Sum(tuple(self._latency((*path, "sum", number), each) for number, each in listed))
        if "median" not in table:
            raise self._error(path, "latency is a number, [least, most], {median, sigma}, {table} or {sum}")
        return self._build(LogNormal, path, table, called="latency")


_CONVERTERS: Final[dict[Any, Callable[[_Reader, Path, Any], Any]]] = {
    int: _Reader._int,
    float: _Reader._float,
    str: _Reader._str,
    bool: _Reader._bool,
    tuple[int, ...]: _Reader._ints,
    tuple[str, ...]: _Reader._strs,
    tuple[tuple[int, ...], ...] | str: _Reader._groups,
    tuple[tuple[str, Any], ...]: _Reader._changes,
    Latency | tuple[float, float] | float: _Reader._latency,
    Link: _Reader._near,
}
"""How a value of a document becomes one of a field, by the field's type."""
_SPECIAL: Final = {"config", "topology", "workload", "faults", "chaos", "writes"}
_KEYS: Final = ("config", "topology", "link", "workload", "fault", "chaos", "writes", "replay")


def most_nodes(scenario: Scenario) -> int:
    """How many nodes there can ever be in a run, newcomers and copies included."""
    most = scenario.nodes
    for fault in scenario.faults:
        if isinstance(fault, Churn | Workers):
            lasts = min(fault.seconds or scenario.duration, scenario.duration - fault.at)
            most += (1 + int(lasts / fault.every)) * (len(fault.of) if isinstance(fault, Workers) else 1)
        else:
            most += isinstance(fault, Join | Clone)
    if scenario.chaos is not None and {"join", "clone"} & {*scenario.chaos.kinds}:
        most += scenario.chaos.count
    return most


def only_possible_nodes(scenario: Scenario) -> bool:
    """True if every fault and write is at nodes that there can be, so that the scenario can be read from a file."""
    most = most_nodes(scenario)
    values = [write.node for write in scenario.writes]
    for fault in scenario.faults:
        values += [index for key in NODE_FIELDS for index in _indexes(getattr(fault, key, None))]
    return all(0 <= index < most for index in values)


def _blamed(make: Callable[..., object], values: dict[str, Any]) -> Path:
    """The key without whose value, and those before it, all would be well; none if all of them are needed."""
    required = {f.name for f in fields(make) if _is_required(f)} if isinstance(make, type) else set()
    given = {key: value for key, value in values.items() if key in required}
    if not _makes(make, given):
        return tuple(given) if len(given) == 1 else ()
    for key, value in values.items():
        given[key] = value
        if not _makes(make, given):
            return (key,)
    return ()


def _makes(make: Callable[..., object], values: dict[str, Any]) -> bool:
    try:
        make(**values)
    except ScenarioError:
        return False
    return True


def _is_write(row: object) -> bool:
    if not isinstance(row, list) or len(row) != 4:
        return False
    at, node, operation, number = row
    return type(at) in (int, float) and type(node) is type(number) is int and isinstance(operation, str)


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _indexes(value: object) -> list[int]:
    """The node indexes in the value of a fault's field."""
    return list(_flat(value))


def _flat(value: object) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from _flat(each)


def _called(path: Path) -> str:
    """A part of a document in words."""
    return ".".join(str(part) for part in path if isinstance(part, str)) or "a scenario"


def _hint(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else "."


def _shown(value: object) -> str:
    """A value as TOML has it, more or less, and not too long."""
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
