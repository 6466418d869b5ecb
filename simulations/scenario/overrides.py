"""Values that stand in for those of a scenario file, as `--nodes` and `--set` give them on the command line."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ..errors import ScenarioError
from .document import Document
from .toml_lines import Path

_USUAL: Final = {"workload": 1, "fault": 0}
"""Arrays of tables, and how many tables each has in a file that does not mention it."""


@dataclass(frozen=True, slots=True)
class Override:
    """One value."""

    key: str
    """With dots: ``config.fanout``; ``workload.rate`` is for every workload, and ``workload.0.rate`` for the first."""
    value: Any
    origin: str
    """What to call it in messages, such as ``--nodes``."""


def override(document: Document, change: Override) -> None:
    """Put the value into the document; raises `ScenarioError`."""
    parts: Path = tuple(int(part) if part.isdecimal() else part for part in change.key.split("."))
    if not all(parts[:1]) or "" in parts:
        raise ScenarioError(f"{change.origin}: a key is words with dots between them, not {change.key!r}")
    content = document.content
    parts = _near_or_link(content, parts)
    if str(parts[0]) in _USUAL and len(parts) > 1:
        content.setdefault(str(parts[0]), [{} for _ in range(_USUAL[str(parts[0])])])
    paths = list(_places(content, (), parts, change.origin))
    if not paths:
        raise ScenarioError(f"{change.origin}: there is no {parts[0]} in this scenario to set {change.key} of")
    for path in paths:
        _put(content, path, change)
        document.origins[path] = change.origin


def _near_or_link(content: dict[str, Any], parts: Path) -> Path:
    """``[link]`` and ``[topology.near]`` are the same: whichever the file has."""
    topology = content.get("topology")
    if parts[:2] == ("topology", "near") and "link" in content:
        return ("link", *parts[2:])
    if parts[0] == "link" and isinstance(topology, dict) and "near" in topology:
        return ("topology", "near", *parts[1:])
    return parts


def _places(content: Any, before: Path, parts: Path, origin: str) -> Iterator[Path]:
    """Where exactly the value goes: into each table of an array if no number says into which."""
    head, *rest = parts
    inside: list[tuple[str | int, Any]]
    if isinstance(content, list):
        named = isinstance(head, int)
        if isinstance(head, int) and head >= len(content):
            raise ScenarioError(f"{origin}: there is no {_dotted((*before, head))}; they are counted from 0")
        inside = [(number, each) for number, each in enumerate(content) if not named or number == head]
        rest = rest if named else [head, *rest]
    elif isinstance(content, dict):
        inside = [(str(head), content.get(str(head), {}))]
    else:
        raise ScenarioError(f"{origin}: {_dotted(before)} has no parts")
    for key, each in inside:
        if rest:
            yield from _places(each, (*before, key), tuple(rest), origin)
        else:
            yield (*before, key)


def _put(content: Any, path: Path, change: Override) -> None:
    *outer, last = path
    for part in outer:
        content = content.setdefault(part, {}) if isinstance(content, dict) else content[part]
    content[last] = change.value


def _dotted(path: Path) -> str:
    return ".".join(map(str, path))
