"""What is none of what a call takes is refused with an error of this package, and changes nothing."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from crdts import (
    BoundedCounter,
    CrdtError,
    InvalidValue,
    LWWRegister,
    MVRegister,
    Replica,
    UnsupportedType,
    decode,
    decode_context,
)
from crdts.types.ormap import TYPE_OF_TAG

ODD: list[Any] = [5, -1, 1.5, math.nan, math.inf, 10**400, True, None, b"x", [], {}, [5], object(), "", "\ud800", ()]
MAKERS: list[type] = [*TYPE_OF_TAG.values(), Replica]


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: BoundedCounter("a").rights(5), UnsupportedType, "by the id of a replica, not 5"),  # type: ignore[arg-type]
        (lambda: MVRegister("a").set_all(5), UnsupportedType, "set_all takes a list of values, not int"),  # type: ignore[arg-type]
        (lambda: MVRegister("a").set_all("ab"), UnsupportedType, "set_all takes a list of values, not str"),
        (lambda: Replica("a").trim_log(-1), InvalidValue, "a number of kills from 0 on, not -1"),
        (lambda: Replica("a").said_of(5), UnsupportedType, "a replica id must be str, not int"),  # type: ignore[arg-type]
        (lambda: LWWRegister("a", clock=5), UnsupportedType, "a clock is a HybridClock, not int"),  # type: ignore[arg-type]
        (lambda: Replica("a", clock=5), UnsupportedType, "a clock is a HybridClock, not int"),  # type: ignore[arg-type]
    ],
)
def test_an_argument_that_is_none_is_refused_by_name(
    call: Callable[[], object], error: type[CrdtError], says: str
) -> None:
    with pytest.raises(error, match=says):
        call()


@pytest.mark.parametrize("maker", MAKERS)
def test_nothing_odd_gets_anything_but_an_answer_or_an_error_of_ours(maker: type) -> None:
    made = maker("a")
    for name in dir(made):
        if name.startswith("_") or not callable(getattr(made, name)):
            continue
        for value in ODD:
            for args in ((value,), ("x", value), (value, "x")):
                try:
                    getattr(made, name)(*args)
                except CrdtError:
                    pass
                except TypeError as error:
                    assert "positional argument" in str(error), (name, args, error)  # noqa: PT017
    assert maker("b").merge(made) is not None


def test_bytes_that_are_none_are_refused() -> None:
    for read in (decode, decode_context):
        for value in ODD:
            with pytest.raises(CrdtError):
                read(value)
