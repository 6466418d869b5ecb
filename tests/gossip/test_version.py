"""Causal tokens as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdts import Context
from gossip import ConfigError, Version

replica_ids = st.text(st.characters(codec="utf-8").filter(str.isprintable), min_size=1, max_size=9)
contexts = st.dictionaries(replica_ids, st.integers(1, 1 << 40))


@given(contexts)
def test_a_version_survives_its_text(prefixes: dict[str, int]) -> None:
    version = Version(Context(prefixes))
    assert Version.parse(str(version)) == version


@given(contexts)
def test_its_text_goes_through_any_channel(prefixes: dict[str, int]) -> None:
    text = str(Version(Context(prefixes)))
    assert text
    assert all(c.isascii() and (c.isalnum() or c in "-_") for c in text)


@pytest.mark.parametrize("text", ["", "x", "!!!", "AAAA", "ü", "\udcff", "gwGAgA" * 2, "gwGAg", " " * 8, "A" * 99_999])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not a version"):
        Version.parse(text)


@given(st.text(max_size=200))
def test_any_text_is_a_version_or_refused(text: str) -> None:
    try:
        version = Version.parse(text)
    except ConfigError:
        return
    assert Version.parse(str(version)) == version


def test_a_prefix_of_the_text_is_never_taken_for_another_version() -> None:
    text = str(Version(Context({"a.1": 300, "b.7": 5})))
    for end in range(len(text)):
        with pytest.raises(ConfigError):
            Version.parse(text[:end])
