"""State-based types as textbooks give them, to measure against: the whole state travels, and removals stay for good.

After Shapiro et al., A comprehensive study of convergent and commutative replicated data types, 2011.
"""

from typing import Any, TypeAlias

Tag: TypeAlias = tuple[str, int]


class TextbookSet:
    """Observed-remove set: the tags under which each element was added, and the tags that were removed."""

    def __init__(self) -> None:
        self.added: dict[str, set[Tag]] = {}
        self.removed: set[Tag] = set()

    def add(self, element: str, tag: Tag) -> None:
        """Add under ``tag``, which has never been used."""
        self.added.setdefault(element, set()).add(tag)

    def remove(self, element: str) -> None:
        """Remove every add of ``element`` seen here."""
        self.removed |= self.added.pop(element, set())

    def elements(self) -> set[str]:
        return set(self.added)

    def merge(self, other: "TextbookSet") -> None:
        self.removed |= other.removed
        for element, tags in other.added.items():
            self.added.setdefault(element, set()).update(tags)
        kept = {element: tags - self.removed for element, tags in self.added.items()}
        self.added = {element: tags for element, tags in kept.items() if tags}

    def to_plain(self) -> list[Any]:
        return [{element: list(tags) for element, tags in self.added.items()}, list(self.removed)]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> "TextbookSet":
        self = cls()
        self.added = {element: {(writer, n) for writer, n in tags} for element, tags in plain[0].items()}
        self.removed = {(writer, n) for writer, n in plain[1]}
        return self


class TextbookMap:
    """Last-writer-wins map: key to (stamp, writer, value), of which the largest (stamp, writer) stays."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[int, str, Any]] = {}

    def set(self, key: str, value: Any, stamp: int, writer: str) -> None:
        self.held[key] = (stamp, writer, value)

    def value(self) -> dict[str, Any]:
        return {key: value for key, (_, _, value) in self.held.items()}

    def merge(self, other: "TextbookMap") -> None:
        for key, entry in other.held.items():
            mine = self.held.get(key)
            if mine is None or entry[:2] > mine[:2]:
                self.held[key] = entry

    def to_plain(self) -> dict[str, Any]:
        return self.held

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "TextbookMap":
        self = cls()
        self.held = {key: (stamp, writer, value) for key, (stamp, writer, value) in plain.items()}
        return self


class TextbookCounter:
    """Counter both ways: per writer how far up and how far down, merged by the maximum."""

    def __init__(self) -> None:
        self.counts: dict[str, tuple[int, int]] = {}

    def increment(self, writer: str, amount: int = 1) -> None:
        up, down = self.counts.get(writer, (0, 0))
        self.counts[writer] = (up + amount, down)

    def value(self) -> int:
        return sum(up - down for up, down in self.counts.values())

    def merge(self, other: "TextbookCounter") -> None:
        for writer, (up, down) in other.counts.items():
            my_up, my_down = self.counts.get(writer, (0, 0))
            self.counts[writer] = (max(my_up, up), max(my_down, down))

    def to_plain(self) -> dict[str, Any]:
        return self.counts

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "TextbookCounter":
        self = cls()
        self.counts = {writer: (up, down) for writer, (up, down) in plain.items()}
        return self
