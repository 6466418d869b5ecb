"""The document that people read: every value survives it, and what is no document is refused with a reason."""

import json
from typing import Any

import pytest
from hypothesis import given

from crdts.values import encode_value
from gossip.control.document import (
    VERSION,
    DocumentError,
    Item,
    document_of,
    from_json,
    items_in,
    read_document,
    to_json,
)

from ...crdts.strategies import VALUES


@given(VALUES)
def test_every_value_comes_back_as_it_was(value: Any) -> None:
    text = json.dumps(to_json(value), ensure_ascii=False, allow_nan=False)
    assert encode_value(from_json(json.loads(text))) == encode_value(value)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (b"\0\xff", {"base64": "AP8="}),
        (float("-inf"), {"float": "-inf"}),
        ({"base64": "AP8="}, {"dict": {"base64": "AP8="}}),
        ({"float": b""}, {"dict": {"float": {"base64": ""}}}),
        ({"dict": {"dict": 1}}, {"dict": {"dict": {"dict": {"dict": 1}}}}),
        ({"base64": 1, "x": 2}, {"base64": 1, "x": 2}),
        ((1, ["nan"]), [1, ["nan"]]),
    ],
    ids=repr,
)
def test_values_that_json_lacks_have_a_form_of_their_own(value: Any, written: Any) -> None:
    assert to_json(value) == written
    assert encode_value(from_json(written)) == encode_value(value)


@pytest.mark.parametrize(
    "value",
    [{"base64": "?"}, {"base64": 7}, {"base64": "é"}, {"float": "7"}, {"float": []}, {"dict": 7}, [{"dict": [1]}]],
    ids=repr,
)
def test_what_looks_like_such_a_form_and_is_none_is_refused(value: Any) -> None:
    with pytest.raises(DocumentError):
        from_json(value)


def test_a_document_is_by_type_and_name_and_the_same_in_any_order_of_items() -> None:
    items = [
        Item((), "orset", "s", ["b", 2]),
        Item(("m", "n"), "register", "r", [2, 1]),
        Item((), "orset", "s", ["a", 10, 1.0, True]),
        Item((), "lwwmap", "x", {"b": 1}),
        Item((), "lwwmap", "x", {"a": 2}),
        Item(("m",), "register", "r", None),
    ]
    expected = {
        "orset": {"s": [True, 1.0, 2, 10, "a", "b"]},
        "lwwmap": {"x": {"a": 2, "b": 1}},
        "ormap": {"m": {"register": {"r": None}, "ormap": {"n": {"register": {"r": [2, 1]}}}}},
    }
    for order in (items, items[::-1]):
        again = [item._replace(content=type(item.content)(item.content)) if item.content else item for item in order]
        assert json.dumps(document_of(again)) == json.dumps({"gossip": VERSION, "objects": expected})


def test_the_items_of_a_document_are_what_it_was_made_of() -> None:
    items = [Item((), "ewflag", "c", True), Item((), "counter", "c", -3), Item(("m", "n"), "gset", "", [1])]
    assert list(items_in(document_of(items))) == items


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], "no export"),
        ({}, "no export"),
        ({"gossip": 2, "objects": {}}, "version 2"),
        ({"gossip": 1}, "objects"),
        ({"gossip": 1, "objects": {}, "extra": 1}, "'extra'"),
        ({"gossip": 1, "objects": []}, "objects"),
        ({"gossip": 1, "objects": {"list": {}}}, "'list'"),
        ({"gossip": 1, "objects": {"orset": []}}, "orset"),
        ({"gossip": 1, "objects": {"ormap": {"m": {"orset": 7}}}}, "m: orset"),
        ({"gossip": 1, "objects": {"ormap": {"m": {"blob": {}}}}}, "'blob' in 'm'"),
    ],
    ids=repr,
)
def test_what_is_no_document_is_refused_with_the_place(document: Any, says: str) -> None:
    with pytest.raises(DocumentError, match=says):
        list(items_in(document))


def test_maps_deeper_than_any_can_be_are_refused() -> None:
    home: dict[str, Any] = {}
    document = {"gossip": 1, "objects": home}
    for _ in range(100):
        home["ormap"] = {"m": {}}
        home = home["ormap"]["m"]
    with pytest.raises(DocumentError, match="deep"):
        list(items_in(document))


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, '{"a": 1, "a": 1}', "NaN", "1e999", "-Infinity", b"\xff\xfe\xff", "9" * 10_000]
)
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(DocumentError):
        read_document(text)


def test_a_value_deeper_than_any_can_be_is_refused() -> None:
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    with pytest.raises(DocumentError, match="nested deeper than 64 levels"):
        from_json(deep)


def test_a_backup_is_told_from_a_document() -> None:
    with pytest.raises(DocumentError, match="it is a backup, not a document; `gossip restore`"):
        read_document(b"SQLite format 3\0" + bytes(84))
