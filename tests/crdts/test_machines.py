"""Every type against its specification, whatever its replicas do: written to, cut off, late, trimmed, retired.

The faults below prove that the specifications would notice.
"""

from collections.abc import Sequence
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from .machine import NAMES, START, Operation, machine_of
from .specs import Path

ELEMENTS: Final = st.sampled_from(["x", "y", 1, True])
AMOUNTS: Final = st.sampled_from([1, 2, 3, 5, 0])
TIMES: Final = st.sampled_from([1.0, 2.0, START + 5, 4e9])
"""Given times: long ago, about now, and too far ahead for any clock to follow."""


def calls(name: str, *args: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, tuple[Any, ...]]]:
    return st.tuples(st.just(name), st.tuples(*args))


CALLS: Final[dict[str, st.SearchStrategy[tuple[str, tuple[Any, ...]]]]] = {
    "gset": calls("add", ELEMENTS),
    "orset": calls("add", ELEMENTS) | calls("remove", ELEMENTS) | calls("add", ELEMENTS) | calls("clear"),
    "rwset": calls("add", ELEMENTS) | calls("remove", ELEMENTS) | calls("clear") | calls("purge"),
    "ewflag": calls("enable") | calls("disable"),
    "dwflag": calls("enable") | calls("disable"),
    "gcounter": calls("increment", AMOUNTS) | calls("increment") | calls("reset"),
    "counter": calls("increment", AMOUNTS) | calls("decrement", AMOUNTS) | calls("reset"),
    "bounded_counter": st.one_of(
        calls("increment", AMOUNTS),
        calls("decrement", AMOUNTS),
        calls("transfer", st.sampled_from([*NAMES, "nobody"]), AMOUNTS),
    ),
    "register": calls("set", st.sampled_from("uvw")) | calls("set", st.sampled_from("uvw"), TIMES),
    "mvregister": calls("set", st.sampled_from(["u", "v", 1, True, 1.0])),
    "lwwmap": st.one_of(
        calls("set", st.sampled_from("kl"), st.sampled_from("uvw")),
        calls("set", st.sampled_from("kl"), st.sampled_from("uvw"), TIMES),
        calls("delete", st.sampled_from("kl")),
    ),
    "ormap": calls("delete", st.sampled_from(["k", "l"])) | calls("delete", st.sampled_from(["k", "l"])) | calls("clear"),
}
RESET: Final = calls("reset")

ALONE: Final[dict[str, list[Path]]] = {kind: [((kind, "x"),)] for kind in CALLS if kind != "ormap"}
IN_MAPS: Final[list[Path]] = [
    (("ormap", "m"),),
    (("ormap", "m"), ("ormap", "k")),
    *((("ormap", "m"), (kind, key)) for kind, key in zip(sorted(set(CALLS) - {"ormap"}), "klklklklkkl", strict=True)),
    (("ormap", "m"), ("ormap", "k"), ("counter", "k")),
    (("ormap", "m"), ("ormap", "k"), ("orset", "l")),
]
COUNTERS_IN_MAPS: Final[list[Path]] = [
    (("ormap", "m"),),
    *((("ormap", "m"), (kind, "k")) for kind in ("gcounter", "counter", "bounded_counter")),
]


def operations(paths: Sequence[Path], *, resets: bool = True) -> st.SearchStrategy[Operation]:
    """Calls on these objects, with resets of bounded counters or without."""
    return st.one_of(
        *(
            st.tuples(
                st.just(path), CALLS[path[-1][0]] | RESET if resets and path[-1][0] == "bounded_counter" else CALLS[path[-1][0]]
            ).map(lambda call: (call[0], *call[1]))
            for path in paths
        )
    )


MACHINES: Final = {
    **{kind: machine_of(paths, operations(paths)) for kind, paths in ALONE.items()},
    "bounded_counter_without_resets": machine_of(
        ALONE["bounded_counter"], operations(ALONE["bounded_counter"], resets=False)
    ),
    "ormap": machine_of(IN_MAPS, operations(IN_MAPS)),
    "ormap_of_counters": machine_of(COUNTERS_IN_MAPS, operations(COUNTERS_IN_MAPS)),
    "mixed": machine_of(
        [path for paths in ALONE.values() for path in paths] + IN_MAPS[:4],
        operations([path for paths in ALONE.values() for path in paths] + IN_MAPS[:4]),
    ),
}


def run(name: str, examples: int, steps: int, *phases: Phase) -> None:
    how = settings(
        max_examples=examples,
        stateful_step_count=steps,
        phases=phases or tuple(Phase),
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    run_state_machine_as_test(MACHINES[name], settings=how)


@pytest.mark.parametrize("name", MACHINES)
def test_a_replica_reads_as_specified_whatever_happens(name: str) -> None:
    run(name, 40, 40)
