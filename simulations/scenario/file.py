"""Scenario files: those that come with the package, by name, and anybody's, by path. See scenarios/README.md."""

import tomllib
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

from ..errors import ScenarioError
from .document import parse_document
from .overrides import Override, override
from .reader import Replay, ScenarioFile, read_document
from .scenario import Scenario
from .writer import dump_scenario

__all__ = [
    "Override",
    "Replay",
    "ScenarioFile",
    "dump_scenario",
    "load_file",
    "load_scenario",
    "parse_file",
    "parse_scenario",
    "parse_value",
    "scenario_names",
]

SUFFIX: Final = ".toml"
MAX_BYTES: Final = 16 << 20
"""The largest scenario file in bytes. It may hold the writes of a whole run."""


def scenario_names() -> list[str]:
    """The names of the scenarios that come with the package, sorted."""
    return sorted(file.name.removesuffix(SUFFIX) for file in _folder().iterdir() if file.name.endswith(SUFFIX))


def load_scenario(name_or_path: str) -> Scenario:
    """A scenario that comes with the package, by its name, or any file, by its path; raises `ScenarioError`."""
    return load_file(name_or_path).scenario


def load_file(name_or_path: str, overrides: Sequence[Override] = ()) -> ScenarioFile:
    """The same, with what the file says of a failure, and with some values replaced by others."""
    file: Traversable = _folder() / f"{name_or_path}{SUFFIX}"
    names = scenario_names()
    if name_or_path not in names:
        file = Path(name_or_path)
        if not file.is_file() and "/" not in name_or_path and not name_or_path.endswith(SUFFIX):
            near = get_close_matches(name_or_path, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise ScenarioError(
                f"there is no scenario {name_or_path!r}{hint} There are {', '.join(names)}; "
                f"or give the path of a {SUFFIX} file"
            )
    try:
        with file.open("rb") as source:
            data = source.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ScenarioError(f"{name_or_path} is no scenario: it has more than {MAX_BYTES >> 20} MiB")
        text = data.decode()
    except OSError as error:
        raise ScenarioError(
            f"cannot read {name_or_path}: {error.strerror}; give the path of a {SUFFIX} file, "
            "or a name that `gossip sim list` shows"
        ) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ScenarioError(f"{name_or_path}:{line}: this is no TOML: it is not UTF-8") from None
    return parse_file(
        text, name_or_path if isinstance(file, Path) and name_or_path not in names else file.name, overrides
    )


def parse_scenario(text: str, source: str) -> Scenario:
    """The scenario in the text of a file; ``source`` is the file's name, for messages. Raises `ScenarioError`."""
    return parse_file(text, source).scenario


def parse_file(text: str, source: str, overrides: Sequence[Override] = ()) -> ScenarioFile:
    """The same, with what the file says of a failure, and with some values replaced by others."""
    document = parse_document(text, source)
    for each in overrides:
        override(document, each)
    return read_document(document)


def parse_value(text: str) -> Any:
    """A value as TOML has it; anything else is text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


def _folder() -> Traversable:
    return files("simulations") / "scenarios"
