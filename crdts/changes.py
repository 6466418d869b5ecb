"""What subscribers are told: which places changed, from what to what."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from . import schema
from .context import Dot, ReplicaId
from .delta import Event
from .folds import BY_PLACE, WHOLE, Shares
from .kernel import Kernel
from .schema import KIND_OF_TAG, names_of, type_tag
from .values import decode_element


@dataclass(frozen=True, slots=True)
class Change:
    """One place whose content changed, by a local write or by a merge, in one batch of changes."""

    path: tuple[Any, ...]
    """The names that lead to the place, outermost first, then the set element or map key where there is one. A bounded
    counter has a place for its value and, where that stays, one for the rights of each holder."""
    before: Any
    """What was read there before the batch: for sets whether the element was in, for counters and flags the value, for
    registers and map keys the value, or None where there was none."""
    after: Any
    """What is read there now."""
    kind: str
    """The accessor name of the object's type, such as ``"orset"``."""
    writer: ReplicaId
    """The replica id of the event that changed the place last."""
    seq: int
    """The seq of that event."""
    keyed: bool = True
    """True if the last item of `path` is an element or a map key."""

    @property
    def name(self) -> str:
        """The outermost object's name in its `Replica`; empty if it stands alone and has no names inside."""
        named = self.path[:-1] if self.keyed else self.path
        return named[0] if named else ""

    @property
    def key(self) -> Any:
        """The set element, the map key, or whose rights in a bounded counter; None for places without."""
        return self.path[-1] if self.keyed else None


Touched: TypeAlias = Mapping[tuple[bytes, bytes], tuple[tuple[Event, ...], Dot]]
Told: TypeAlias = tuple[bytes, Change]
"""A change and the id of the object that it is in."""
OnChange: TypeAlias = Callable[[list[Change]], None]


def changes_of(kernel: Kernel, touched: Touched) -> list[Told]:
    """What has changed at the places ``touched``, as far as a reader can see it."""
    told: list[Told] = []
    whole: dict[bytes, dict[bytes, tuple[tuple[Event, ...], Dot]]] = {}
    for (obj, key), (held, by) in touched.items():
        tag = type_tag(obj)
        read = BY_PLACE.get(tag)
        if read is not None:
            before, after = read(held), read(kernel.at(obj, key))
            if not same(before, after):
                keyed = tag in schema.KEYED
                place = ((key.decode() if tag == schema.LWWMAP else decode_element(key)),) if keyed else ()
                told.append((obj, Change((*names_of(obj), *place), before, after, KIND_OF_TAG[tag], *by, keyed)))
        elif tag in WHOLE:
            whole.setdefault(obj, {})[key] = (held, by)
    for obj, places in whole.items():
        tag = type_tag(obj)
        now = kernel.places(obj)
        was = {**now, **{key: held for key, (held, _) in places.items()}}
        was = {key: held for key, held in was.items() if held}
        before, after = WHOLE[tag](was), WHOLE[tag](now)
        if tag == schema.BOUNDED:  # before anybody wrote, it was at the bound that is known now
            before = Shares(was, Shares(now).lower).value()
        by = [by for _, by in places.values()][-1]
        if before != after:
            told.append((obj, Change(names_of(obj), before, after, KIND_OF_TAG[tag], *by, keyed=False)))
        elif tag == schema.BOUNDED:
            told += [(obj, change) for change in _rights_changed(obj, Shares(was), Shares(now), by)]
    return told


def _rights_changed(obj: bytes, was: Shares, now: Shares, by: Dot) -> list[Change]:
    """Whose rights in a bounded counter have changed: somebody may be waiting for them."""
    holders = sorted({*was.spendable, *now.spendable})
    names, kind = names_of(obj), KIND_OF_TAG[schema.BOUNDED]
    return [Change((*names, h), was.of(h), now.of(h), kind, *by) for h in holders if was.of(h) != now.of(h)]


def same(one: Any, other: Any) -> bool:
    """Equality that tells 1 from True and finds NaN equal to itself."""
    return one is other or repr(one) == repr(other)
