"""On which line of a TOML document each key, table and array element stands.

The standard library's reader tells where a document is no TOML, but not where a value came from. This one walks a
document that is known to be TOML, and keeps nothing but the lines.
"""

import re
import tomllib
from typing import Final, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Keys, and places in arrays from 0: ``("fault", 2, "node")``."""

_BLANK: Final = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR: Final = re.compile(r"[^,\]}#\n]*")
_STRINGS: Final = (
    (re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}', re.DOTALL), '"""'),
    (re.compile(r"'''(?:[^']|'(?!''))*'{3,5}"), "'''"),
    (re.compile(r'"(?:[^"\\\n]|\\.)*"'), '"'),
    (re.compile(r"'[^'\n]*'"), "'"),
)


def lines_of(text: str) -> dict[Path, int]:
    """The line, from 1, of every key, table and array element of a document that `tomllib` accepts.

    A table that only dotted keys or deeper headers name has the line of the first of them.
    """
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.document()
    return scanner.lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._text = text
        self._at = 0
        self._counted = 0, 1
        self._tables: dict[Path, int] = {}
        """How many tables each array of tables has so far."""

    def document(self) -> None:
        """Walk all of it."""
        table: Path = ()
        self._blank()
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._blank()

    # ---- structure

    def _header(self) -> Path:
        """``[a.b]`` or ``[[a.b]]``: the table that the following keys belong to."""
        line = self._line()
        several = self._text.startswith("[[", self._at)
        self._at += 2 if several else 1
        *outer, last = self._dotted()
        self._at += 2 if several else 1
        path: Path = ()
        for key in outer:
            path = self._inside((*path, key), line)
        path = (*path, last)
        if not several:
            self.lines.setdefault(path, line)
            return path
        self.lines.setdefault(path, line)
        number = self._tables[path] = self._tables.get(path, -1) + 1
        self.lines[(*path, number)] = line
        return (*path, number)

    def _inside(self, path: Path, line: int) -> Path:
        """A table on the way to another; of an array of tables, the latest."""
        self.lines.setdefault(path, line)
        return (*path, self._tables[path]) if path in self._tables else path

    def _pair(self, table: Path) -> None:
        """``a.b = value``."""
        line = self._line()
        path = table
        for key in self._dotted():
            path = (*path, key)
            self.lines.setdefault(path, line)
        self._at += 1  # the equals sign
        self._blank()
        self._value(path)

    def _value(self, path: Path) -> None:
        opening = self._text[self._at : self._at + 1]
        if opening == "[":
            self._array(path)
        elif opening == "{":
            self._inline_table(path)
        elif opening in {'"', "'"}:
            self._string()
        else:
            self._take(_SCALAR)

    def _array(self, path: Path) -> None:
        self._at += 1
        number = 0
        while self._next() != "]":
            self.lines[(*path, number)] = self._line()
            self._value((*path, number))
            number += 1
            if self._next() == ",":
                self._at += 1
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while self._next() != "}":
            self._pair(path)
            if self._next() == ",":
                self._at += 1
        self._at += 1

    # ---- words

    def _dotted(self) -> list[str]:
        """A key of one or several parts, with what is blank around it."""
        keys = [self._key()]
        while self._next() == ".":
            self._at += 1
            keys.append(self._key())
        return keys

    def _key(self) -> str:
        if self._next() in {'"', "'"}:
            quoted: str = tomllib.loads(f"key = {self._string()}")["key"]
            return quoted
        return self._take(_BARE_KEY)

    def _string(self) -> str:
        for pattern, opening in _STRINGS:
            if self._text.startswith(opening, self._at) and (found := pattern.match(self._text, self._at)):
                self._at = found.end()
                return found[0]
        raise AssertionError("a document that is no TOML")

    def _next(self) -> str:
        """What comes after blanks."""
        self._blank()
        return self._text[self._at : self._at + 1]

    def _blank(self) -> None:
        self._take(_BLANK)

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        assert found, "a document that is no TOML"
        self._at = found.end()
        return found[0]

    def _line(self) -> int:
        at, line = self._counted
        self._counted = self._at, line + self._text.count("\n", at, self._at)
        return self._counted[1]
