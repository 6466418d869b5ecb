"""A name is one name however its letters are composed; what is data, or stored already, stays as it is."""

import pytest

from crdts import Event, ORMap, ORSet, Replica, UnsupportedType
from crdts.limits import MAX_NAME_BYTES
from crdts.replica import TYPES
from crdts.schema import child_id, object_id
from crdts.spelling import composed, told_apart

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize("kind", TYPES)
def test_both_spellings_name_one_object(kind: str) -> None:
    replica, home = Replica("a"), ORMap("b")
    for place in (replica, home):
        one, other = (getattr(place, kind)(name) for name in (COMPOSED, DECOMPOSED))
        assert one.name == other.name == COMPOSED
        assert one._object == other._object


def test_what_two_people_write_under_two_spellings_is_in_one_object() -> None:
    a, b = Replica("a"), Replica("b")
    a.merge(b.orset(DECOMPOSED).add("from b"))
    a.orset(COMPOSED).add("from a")
    assert [(held.name, set(held.value())) for held in a.objects()] == [(COMPOSED, {"from a", "from b"})]


def test_keys_and_elements_are_data_and_told_apart_by_their_bytes() -> None:
    a = Replica("a")
    a.lwwmap("m").set(COMPOSED, 1)
    a.lwwmap("m").set(DECOMPOSED, 2)
    a.orset("s").add(COMPOSED)
    a.orset("s").add(DECOMPOSED)
    assert a.lwwmap("m").value() == {COMPOSED: 1, DECOMPOSED: 2}
    assert set(a.orset("s")) == {COMPOSED, DECOMPOSED}


def older(replica: Replica, home: bytes = b"") -> Replica:
    """With an element in a set of the decomposed name, as a release without this rule wrote it."""
    obj = child_id(home, ORSet.tag, DECOMPOSED) if home else object_id(ORSet.tag, DECOMPOSED)
    key = Replica("k").orset("x").add("old").events[0].key
    replica.store.kernel.apply(Event("old", 1, obj, key, b"", ()))
    return replica


def test_an_object_that_was_named_otherwise_before_can_be_read_beside_the_new_one() -> None:
    a = older(Replica("a"))
    a.orset(DECOMPOSED).add("new")
    assert {held.name: set(held.value()) for held in a.objects()} == {DECOMPOSED: {"old"}, COMPOSED: {"new"}}
    assert [told_apart(held.name) for held in sorted(a.objects(), key=lambda held: held.name)] == [
        "cafe\\u0301",
        COMPOSED,
    ]


def test_a_map_finds_and_deletes_what_was_named_otherwise_before() -> None:
    a = Replica("a")
    home = a.ormap("m")
    home.orset("y").add(1)
    older(a, home._object)
    home.orset(COMPOSED).add("new")
    assert home.keys() == [DECOMPOSED, COMPOSED, "y"]
    assert DECOMPOSED in home
    home.delete(DECOMPOSED)
    assert home.keys() == ["y"]


def test_a_name_is_measured_as_it_is_stored() -> None:
    name = "e\u0301" * (MAX_NAME_BYTES // 2)  # three bytes a letter as given, two as stored
    assert Replica("a").orset(name).name == "\u00e9" * (MAX_NAME_BYTES // 2)


@pytest.mark.parametrize("name", [7, None, b"x", ["x"]])
def test_what_is_no_text_names_nothing(name: object) -> None:
    assert composed(name) is name  # type: ignore[arg-type]
    with pytest.raises(UnsupportedType):
        Replica("a").orset(name)  # type: ignore[arg-type]


def test_code_points_are_shown_only_where_a_name_looks_like_another_one() -> None:
    assert [told_apart(name) for name in ("plain", COMPOSED, "\u65e5\u672c", DECOMPOSED)] == [
        "plain",
        COMPOSED,
        "\u65e5\u672c",
        "cafe\\u0301",
    ]
