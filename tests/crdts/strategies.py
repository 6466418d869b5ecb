"""What the property tests draw from."""

from typing import Any

from hypothesis import strategies as st

from crdts import Context, Dot, Value
from crdts.limits import MAX_INT, MIN_INT

SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(MIN_INT, MAX_INT),
    st.integers(-2, 2),
    st.floats(),
    st.sampled_from([0.0, -0.0, 1.0, float("nan"), float("inf")]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.binary(max_size=20),
)

VALUES: st.SearchStrategy[Value] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), inner, max_size=3),
    ),
    max_leaves=8,
)

RANGES = st.tuples(st.sampled_from("abc"), st.integers(1, 30), st.integers(0, 12)).map(
    lambda r: (r[0], r[1], r[1] + r[2])
)
"""Dot ranges, empty ones too."""

CONTEXTS = st.lists(RANGES, max_size=12).map(Context.of)


def dots(context: Context) -> set[Dot]:
    return {(replica, seq) for replica, start, stop in context.ranges() for seq in range(start, stop)}
