"""A TOML document that knows where its values come from."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ScenarioError
from .toml_lines import Path, lines_of


@dataclass(slots=True)
class Document:
    """A TOML document whose values know where they come from."""

    source: str
    """The name of the file, for messages."""
    content: dict[str, Any]
    lines: Mapping[Path, int]
    origins: dict[Path, str]
    """Values that come from elsewhere, such as the command line, and what to call that."""

    def place(self, path: Path) -> str:
        """Where a value stands, or what it would stand in."""
        inside = [origin for place, origin in self.origins.items() if place[: len(path)] == path]
        if path and path not in self.lines and inside:
            return inside[0]
        while path:
            if path in self.origins:
                return self.origins[path]
            if path in self.lines:
                return f"{self.source}:{self.lines[path]}"
            path = path[:-1]
        return f"{self.source}:1"

    def error(self, path: Path, message: str) -> ScenarioError:
        """An error that says where."""
        return ScenarioError(f"{self.place(path)}: {message}")


def parse_document(text: str, source: str) -> Document:
    """Read TOML; raises `ScenarioError` if it is none."""
    try:
        return Document(source, tomllib.loads(text), lines_of(text), {})
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        found = re.search(r" \(at line (\d+), column \d+\)$", message)
        line = int(found[1]) if found else max(1, len(text.splitlines()))
        what = message[: found.start()] if found else message.removesuffix(" (at end of document)")
        raise ScenarioError(f"{source}:{line}: this is no TOML: {what[:1].lower()}{what[1:]}") from None
    except RecursionError:
        raise ScenarioError(f"{source}:1: values are nested too deeply") from None
