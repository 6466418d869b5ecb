"""What a value is, which values are the same, and what its bytes are."""

import enum
import math
import struct
from itertools import combinations
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdts import InvalidValue, UnsupportedType, Value
from crdts.limits import MAX_DEPTH, MAX_INT, MAX_KEY_BYTES, MAX_VALUE_BYTES, MIN_INT
from crdts.values import check_canonical, decode_element, decode_value, encode_key, encode_value

from .strategies import SCALARS, VALUES


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    __slots__ = ()


def thawed(value: Any) -> Any:
    """Lists for tuples, and floats as their bits, so that nan equals nan and 0.0 is not -0.0."""
    if isinstance(value, list | tuple):
        return [thawed(item) for item in value]
    if isinstance(value, dict):
        return {key: thawed(item) for key, item in value.items()}
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack(">d", value)
    return (type(value), value)


@given(VALUES)
def test_a_value_comes_back_as_it_was(value: Value) -> None:
    assert thawed(decode_value(encode_value(value))) == thawed(value)


@given(VALUES)
def test_the_bytes_of_a_value_pass_the_check_for_canonical_bytes(value: Value) -> None:
    check_canonical(encode_value(value))


@given(VALUES, VALUES)
def test_two_values_have_the_same_bytes_if_they_are_the_same(one: Value, other: Value) -> None:
    assert (encode_value(one) == encode_value(other)) == (thawed(one) == thawed(other))


@given(SCALARS)
def test_a_scalar_has_the_same_bytes_by_the_quick_path_and_by_cbor_s_own_canonical_mode(value: Value) -> None:
    assert encode_value(value) == cbor2.dumps(value, canonical=True)


@given(st.binary(max_size=40))
def test_bytes_pass_as_canonical_only_if_they_are_made_of_a_value(data: bytes) -> None:
    try:
        check_canonical(data)
    except ValueError:
        return
    assert encode_value(decode_value(data)) == data


def test_one_and_true_and_one_point_zero_are_three_values() -> None:
    different = [1, True, 1.0, "1", b"1", 0, False, 0.0, -0.0, "", b"", None, [], {}, [1], [[1]], math.nan]
    for one, other in combinations(different, 2):
        assert encode_value(one) != encode_value(other)


def test_nan_is_nan_whatever_its_bits_are() -> None:
    other_nan = struct.unpack(">d", b"\xff\xf8\x00\x00\x00\x00\x00\x2a")[0]
    assert encode_value(math.nan) == encode_value(other_nan) == encode_value(-math.nan)


def test_a_list_and_a_tuple_are_the_same_value() -> None:
    assert encode_value([1, (2,)]) == encode_value((1, [2]))
    assert decode_value(encode_value((1, (2,)))) == [1, [2]]
    assert decode_element(encode_value([1, [2]])) == (1, (2,))


def test_the_order_of_a_dict_makes_no_difference() -> None:
    assert encode_value({"bb": 1, "a": 2}) == encode_value({"a": 2, "bb": 1})


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({1, 2}, "set"),
        (1j, "complex"),
        (bytearray(b"x"), "bytearray"),
        (object(), "object"),
        (Colour.RED, "Colour"),
        (Text("x"), "Text"),
        ([1, [frozenset()]], "frozenset"),
        ({"a": {1: 2}}, "int"),
        ({b"a": 1}, "bytes"),
    ],
)
def test_another_type_is_refused_by_name(value: Any, name: str) -> None:
    with pytest.raises(UnsupportedType, match=name):
        encode_value(value)
    with pytest.raises(TypeError):
        encode_value(value)


@pytest.mark.parametrize("value", [MAX_INT, MIN_INT, 0, -1])
def test_an_integer_of_64_bits_fits(value: int) -> None:
    assert decode_value(encode_value([value])) == [value]
    assert decode_value(encode_value(value)) == value


@pytest.mark.parametrize("value", [MAX_INT + 1, MIN_INT - 1, [MAX_INT + 1], {"a": MIN_INT - 1}])
def test_a_larger_integer_is_refused(value: Value) -> None:
    with pytest.raises(InvalidValue, match="integer"):
        encode_value(value)


@pytest.mark.parametrize("value", ["\ud800", "a\udfff", ["\ud800"], {"\ud800": 1}])
def test_text_with_half_a_surrogate_pair_is_refused(value: Value) -> None:
    with pytest.raises(InvalidValue, match="surrogate"):
        encode_value(value)


def nested(depth: int, wrap: Any) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: (v,), lambda v: {"k": v}])
def test_nesting_is_bounded_alike_on_the_way_out_and_in(wrap: Any) -> None:
    deepest = encode_value(nested(MAX_DEPTH, wrap))
    check_canonical(deepest)
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(InvalidValue, match="deep"):
            encode_value(nested(depth, wrap))
    with pytest.raises(ValueError, match="CBOR"):
        check_canonical(cbor2.dumps(nested(MAX_DEPTH + 1, wrap)))


def test_a_list_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidValue, match="deep"):
        encode_value(loop)


def test_the_size_of_a_value_is_bounded() -> None:
    longest = b"x" * (MAX_VALUE_BYTES - 5)
    assert len(encode_value(longest)) == MAX_VALUE_BYTES
    for value in (longest + b"x", longest.decode() + "x", [longest], ["x" * 1000] * 1100, "x" * (2 * MAX_VALUE_BYTES)):
        with pytest.raises(InvalidValue, match="share a reference"):
            encode_value(value)


def test_the_size_of_an_element_is_bounded_more_tightly() -> None:
    assert len(encode_key("x" * (MAX_KEY_BYTES - 3))) == MAX_KEY_BYTES
    with pytest.raises(InvalidValue, match="set element"):
        encode_key("x" * (MAX_KEY_BYTES - 2))
