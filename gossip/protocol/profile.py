"""What a node says of itself besides its identity: where to reach it, what it runs, and its tags."""

from collections.abc import Mapping
from dataclasses import dataclass

from crdts.embedding import composed

from .errors import ConfigError
from .identity import Address
from .wire.codec import MAX_TAG_BYTES, MAX_TAGS, MAX_VERSION_BYTES


@dataclass(frozen=True, slots=True)
class Profile:
    """Raises `ConfigError` for a version or tags that no member would accept."""

    version: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    """In the order of their keys: see `check_tags`."""
    advertise: Address | None = None
    """Where others reach it, if that is not where its datagrams come from."""

    def __post_init__(self) -> None:
        if len(self.version.encode()) > MAX_VERSION_BYTES or not self.version.isprintable():
            raise ConfigError(f"a version is at most {MAX_VERSION_BYTES} bytes of printable text, not {self.version!r}")


def check_tags(tags: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Tags as members exchange them; raises `ConfigError` if there are too many, or if they are not printable text."""
    if not isinstance(tags, Mapping):
        raise ConfigError(f'tags are a dict of text to text, such as {{"role": "worker"}}; not {tags!r:.60}')
    for text in (*tags, *tags.values()):
        if type(text) is not str or not text.isprintable():
            raise ConfigError(f"tags are printable text, such as role=worker; not {text!r}")
    if not all(tags):
        raise ConfigError("a tag has a key, as in role=worker")
    given, tags = tags, {composed(key): value for key, value in tags.items()}
    if len(tags) < len(given):
        twice = next(key for key in given if composed(key) != key)
        raise ConfigError(f"the tag {composed(twice)!r} is given twice, in two spellings; leave one of them out")
    size = sum(len(text.encode()) for pair in tags.items() for text in pair)
    if len(tags) > MAX_TAGS or size > MAX_TAG_BYTES:
        raise ConfigError(
            f"{MAX_TAGS} tags of {MAX_TAG_BYTES} bytes in all at most, not {len(tags)} of {size}; "
            "put more into an object"
        )
    return tuple(sorted(tags.items()))
