"""Writes a `Scenario` as TOML that reads back as the same."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, Final

from ..faults.registry import Fault
from ..world.latency import Constant, LogNormal, Sum, Table, Uniform
from ..world.link import Link
from ..world.topology import FAR, NEAR, Topology
from .reader import Replay
from .scenario import Scenario
from .workload import Workload

_ESCAPED: Final = re.compile(r'["\\\x00-\x1f\x7f]')
_SHORT: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
_TABLES: Final = {"config", "topology", "workload", "faults", "chaos", "writes"}


def dump_scenario(scenario: Scenario, replay: Replay | None = None) -> str:
    """TOML that reads back as an equal scenario; only what differs from the defaults is written.

    ``replay``: the failure that the file is kept for.
    """
    return "\n".join(_lines(scenario, replay)) + "\n"


def _lines(scenario: Scenario, replay: Replay | None) -> Iterator[str]:
    blank = Scenario(name="")
    yield f"name = {_value(scenario.name)}"
    yield from _pairs((name, value) for name, value in _changed(scenario, blank) if name not in _TABLES)
    if scenario.writes:
        yield "writes = ["
        for write in scenario.writes:
            yield f"    {_value([write.at, write.node, write.operation, write.number])},"
        yield "]"
    if not scenario.workload:
        yield "workload = []"
    yield from _table("config", scenario.config)
    yield from _topology(scenario.topology)
    if scenario.chaos is not None:
        yield from _table("chaos", _changed(scenario.chaos, type(scenario.chaos)()), even_if_empty=True)
    if scenario.workload != blank.workload:
        for workload in scenario.workload:
            yield from _table("workload", _changed(workload, Workload()), several=True)
    for fault in scenario.faults:
        yield from _table("fault", _fault(fault), several=True)
    if replay is not None:
        yield from _table("replay", [("seed", replay.seed), ("oracle", replay.oracle)])


def _topology(topology: Topology) -> Iterator[str]:
    plain = [(name, value) for name, value in _changed(topology, Topology()) if name not in ("near", "far")]
    yield from _table("topology", plain)
    yield from _table("topology.near", _changed(topology.near, NEAR))
    yield from _table("topology.far", _changed(topology.far, FAR))


def _fault(fault: Fault) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = [("kind", fault.kind)]
    for field in fields(fault):
        value = getattr(fault, field.name)
        if value != field.default or field.name == "at":
            found.append((field.name, dict(value) if field.name == "link" else value))
    return found


def _changed(thing: Any, usual: Any) -> list[tuple[str, Any]]:
    """The fields in which a dataclass differs from another."""
    both = [(field.name, getattr(thing, field.name), getattr(usual, field.name)) for field in fields(thing)]
    return [(name, value) for name, value, other in both if value != other and name != "name"]


def _table(
    name: str, pairs: Iterable[tuple[str, Any]], *, several: bool = False, even_if_empty: bool = False
) -> Iterator[str]:
    rows = list(_pairs(pairs))
    if rows or several or even_if_empty:
        yield ""
        yield f"[[{name}]]" if several else f"[{name}]"
        yield from rows


def _pairs(pairs: Iterable[tuple[str, Any]]) -> Iterator[str]:
    for key, value in pairs:
        yield f"{key} = {_value(value)}"


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value)
        case int() | float():
            return repr(value)
        case dict():
            return "{" + ", ".join(_pairs(value.items())) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_value, value)) + "]"
        case _:
            return _value(_latency(value))


def _latency(value: Any) -> Any:
    match value:
        case Constant():
            return value.seconds
        case Uniform():
            return [value.least, value.most]
        case LogNormal():
            return {"median": value.median, "sigma": value.sigma}
        case Table():
            return {"table": value.seconds}
        case Sum():
            return {"sum": value.parts}
        case Link():
            return dict(_changed(value, NEAR))
        case _:
            raise TypeError(f"{type(value).__name__} cannot stand in a scenario file")


def _text(value: str) -> str:
    """A string; one of several lines as such."""
    lines = value.split("\n")
    escaped = [_ESCAPED.sub(lambda found: _SHORT.get(found[0], f"\\u{ord(found[0]):04x}"), line) for line in lines]
    if len(lines) == 1:
        return f'"{escaped[0]}"'
    return '"""\n' + "\n".join(escaped) + '"""'
