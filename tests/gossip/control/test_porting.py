"""Objects out of a replica and into another: nothing is lost on the way, and what is there is merged with."""

import json
import random
from typing import Any

import pytest

from crdts import HybridClock, Replica
from gossip.control import porting
from gossip.control.document import DocumentError, Item, document_of, items_in, read_document
from gossip.control.porting import PART_BYTES, PART_ENTRIES, Outcome, cut, items_of, parts_of, size_of, write_items

from ..storage.life import Life


def exported(replica: Replica) -> str:
    return json.dumps(document_of(items_of(replica)), allow_nan=False)


def imported(replica: Replica, text: str, *, add: bool = False) -> Outcome:
    return write_items(replica, list(items_in(read_document(text))), add=add)


def everything() -> Replica:
    """A replica with an object of every type, some of them of several writers and inside maps."""
    a, b = Replica("a"), Replica("b")
    for home in (a, a.ormap("outer"), a.ormap("outer").ormap("inner")):
        for element in (b"\0", float("nan"), 1, 1.0, True, "1", None, ("a", 2), {"base64": "x"}, ""):
            home.orset("s").add(element)
            home.gset("s").add(element)
            home.rwset("s").add(element)
            home.register("r").set(element)
            home.lwwmap("m").set(repr(element), element)
        home.rwset("s").remove(1)
        home.register("none").set(None)
        home.lwwmap("m").set("", {"nested": [b"x", {"float": 1}]})
        home.mvregister("v").set([1])
        home.ewflag("f").enable()
        home.dwflag("f").disable()
        home.gcounter("c").increment(3)
        home.counter("c").decrement(5)
        home.bounded_counter("c").increment(9)
        home.bounded_counter("low", -4).increment(2)
        home.bounded_counter("spent", 5).increment(1)
        home.bounded_counter("spent").decrement(1)
    b.mvregister("v").set("other")
    b.counter("c").increment(2)
    b.lwwmap("m").set("1", "concurrent")
    return a.merge(b)


def test_an_import_into_nothing_gives_the_same_document_again() -> None:
    text = exported(everything())
    fresh = Replica("fresh")
    outcome = imported(fresh, text)
    assert outcome.left == []
    assert outcome.unchanged == 0
    assert exported(fresh) == text
    assert [held.kind for held in fresh.objects()] == [held.kind for held in everything().objects()]
    assert fresh.bounded_counter("low").rights() == 2


@pytest.mark.parametrize("seed", range(30))
def test_so_it_does_for_any_replica(seed: int) -> None:
    life = Life(random.Random(seed))
    for _ in range(150):
        life.step()
    text = exported(life.mine)
    fresh = Replica("fresh")
    imported(fresh, text)
    assert exported(fresh) == text


def test_a_second_import_changes_nothing() -> None:
    text = exported(everything())
    fresh = Replica("fresh")
    imported(fresh, text)
    before = fresh.fingerprint
    outcome = imported(fresh, text)
    assert (outcome.changed, outcome.left) == (0, [])
    assert outcome.unchanged > 50
    assert fresh.fingerprint == before


def test_what_is_there_is_merged_with() -> None:
    there = Replica("there", clock=HybridClock(lambda: 4e9))  # its writes are later than the document's ever were
    there.orset("s").add("mine")
    there.lwwmap("m").set("mine", 1)
    there.lwwmap("m").set("both", "mine")
    there.register("r").set("mine")
    there.mvregister("v").set("mine")
    there.dwflag("d").disable()
    document = {
        "orset": {"s": ["mine", "yours"]},
        "lwwmap": {"m": {"both": "yours", "yours": 2}},
        "register": {"r": "yours"},
        "mvregister": {"v": ["yours", "theirs"]},
        "dwflag": {"d": True},
        "ewflag": {"e": False},
    }
    outcome = imported(there, json.dumps({"gossip": 1, "objects": document}))
    assert outcome == Outcome(changed=6, unchanged=2)
    assert set(there.orset("s")) == {"mine", "yours"}
    assert there.lwwmap("m").value() == {"mine": 1, "both": "yours", "yours": 2}
    assert there.register("r").get() == "yours"
    assert sorted(there.mvregister("v").get()) == ["theirs", "yours"]
    assert there.dwflag("d").value() is True


def test_counters_are_moved_only_from_zero_unless_told_to_add() -> None:
    there = Replica("there")
    there.counter("busy").increment(10)
    there.counter("same").increment(3)
    there.bounded_counter("budget").increment(4)
    document = {
        "counter": {"busy": 5, "same": 3, "fresh": -2},
        "gcounter": {"g": 1},
        "bounded_counter": {"budget": {"value": 6, "lower": 0}},
    }
    text = json.dumps({"gossip": 1, "objects": document})
    assert imported(there, text) == Outcome(changed=2, unchanged=1, left=["counter 'busy'", "bounded_counter 'budget'"])
    assert [there.counter(name).value() for name in ("busy", "same", "fresh")] == [10, 3, -2]
    assert imported(there, text, add=True) == Outcome(changed=5)
    assert [there.counter(name).value() for name in ("busy", "same", "fresh")] == [15, 6, -4]
    assert there.bounded_counter("budget").value() == 10


@pytest.mark.parametrize(
    ("objects", "says"),
    [
        ({"orset": {"s": {}}}, "orset 's': a list is expected, not an object"),
        ({"orset": {"s": [[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]}}, "orset 's': lists and dicts may nest"),
        ({"orset": {"": [1]}}, "orset ''"),
        ({"lwwmap": {"m": []}}, "lwwmap 'm': an object is expected, not a list"),
        ({"lwwmap": {"m": {"k" * 5000: 1}}}, "a map key may take"),
        ({"register": {"r": 1 << 64}}, "register 'r': an integer"),
        ({"register": {"r": "x" * (2 << 20)}}, "a value may take"),
        ({"register": {"r": "\ud800"}}, "surrogates"),
        ({"ewflag": {"f": 1}}, "true or false is expected, not an integer"),
        ({"counter": {"c": 1.5}}, "an integer is expected, not a fraction"),
        ({"counter": {"c": None}}, "an integer is expected, not null"),
        ({"counter": {"c": True}}, "an integer is expected, not true or false"),
        ({"gcounter": {"c": -1}}, "gcounter 'c'"),
        ({"counter": {"c": 1 << 65}}, "counter 'c'"),
        ({"bounded_counter": {"b": 7}}, "an object is expected"),
        ({"bounded_counter": {"b": {"value": 7}}}, '"lower"'),
        ({"bounded_counter": {"b": {"value": 1, "lower": 2}}}, "below its lower bound"),
        ({"ormap": {"m": {"ormap": {"n": {"counter": {"c": "x"}}}}}}, "counter 'm/n/c': an integer"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_content_that_cannot_be_is_refused_with_the_place(objects: Any, says: str) -> None:
    with pytest.raises(DocumentError, match=says):
        imported(Replica("there"), json.dumps({"gossip": 1, "objects": objects}))


def test_parts_are_small_and_together_everything() -> None:
    replica = Replica("a")
    for number in range(3 * PART_ENTRIES):
        replica.orset("s").add(number)
        replica.lwwmap("m").set(f"{number}", "x" * 500)
        replica.register(f"r{number}").set(number)
    text = exported(replica)
    for items in (items_of(replica), cut(items_in(read_document(text)))):
        parts = list(parts_of(items))
        assert len(parts) >= 9
        for part in parts:
            assert sum(len(i.content) if isinstance(i.content, list | dict) else 1 for i in part) <= PART_ENTRIES
            assert size_of(part) < 2 * PART_BYTES
        assert json.dumps(document_of(item for part in parts for item in part)) == text


def test_an_entry_larger_than_a_part_travels_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(porting, "PART_BYTES", 100)
    items = [Item((), "register", name, "x" * size) for name, size in (("a", 10), ("b", 500), ("c", 10))]
    assert [[item.name for item in part] for part in parts_of(items)] == [["a"], ["b"], ["c"]]


def test_a_replica_that_changes_while_it_is_exported_gives_what_is_there_when_it_is_drawn() -> None:
    replica = Replica("a")
    for number in range(2_000):
        replica.lwwmap("m").set(f"{number}", number)
    items = items_of(replica)
    first = next(items).content
    for number in range(2_000):
        replica.lwwmap("m").delete(f"{number}")
    replica.lwwmap("m").set("late", 1)
    assert len(first) == PART_ENTRIES
    assert [item.content for item in items] == []
