"""Oracles: what must hold of every run, whatever was done to the cluster.

The judge remembers every event that any node ever made. For the set X of events that a replica has processed,

    live(X) = { d in X with an entry : no event of X kills d }

must be exactly what it holds; what a node has acknowledged (its disk has it) must be with everybody in the end; and
what a node's disk never had must never be seen anywhere else. An event may be lost only with the last disk that had it.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cbor2

from crdts import Context, Dot, Event, Replica, ReplicaId
from crdts.embedding import BOUNDED, RETIRED, DotRange, type_tag
from gossip.protocol import Address
from gossip.protocol.identity import fence_of, node_of

from ..faults.network import VICTIM
from ..world.cluster import Cluster
from ..world.node import Node
from ..world.observer import Observer
from ..world.saver import Moment, Saver
from .contests import contradiction
from .receipts import Receipts

MAX_FAILURES: Final = 20
"""Failures that one run tells of at most: the first ones matter."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that must never be."""

    oracle: str
    """Which rule is broken."""
    at: float
    """Virtual seconds."""
    node: str
    """Where, or empty if it is about all of them."""
    what: str


class Judge(Observer):
    """Watches a cluster, and collects what is wrong with it."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []
        self.made: dict[Dot, Event] = {}
        self.excused: set[Dot] = set()
        """Events that may be lost, as every disk that had them is gone."""
        self._vanished: set[Dot] = set()
        self._safe: dict[int, Context] = {}
        self._budget: dict[tuple[bytes, ReplicaId], list[tuple[int, int, int]]] = {}
        self._owed: dict[Address, int] = {}
        self._cluster: Cluster | None = None

    @property
    def cluster(self) -> Cluster:
        assert self._cluster is not None
        return self._cluster

    def watch(self, cluster: Cluster) -> None:
        """Judge this cluster; it must have been made with the judge among its observers."""
        self._cluster = cluster
        cluster.network.taps.append(self._sent)
        cluster.network.on_stranger.append(self._heard_stranger)
        Receipts(self.fail).watch(cluster)

    def fail(self, oracle: str, what: str, node: Node | None = None) -> None:
        if len(self.failures) < MAX_FAILURES:
            now = self._cluster.queue.now if self._cluster else 0.0
            self.failures.append(Failure(oracle, now, node.name if node else "", what))

    # ---- what happens

    def started(self, node: Node) -> None:
        self._safe[node.index] = node.replica.context

    def wrote(self, node: Node, events: tuple[Event, ...]) -> None:
        for event in events:
            if node.saver is not None and node.saver.failure is not None:
                self.fail("nothing is written while the disk fails", f"{event.dot} was", node)
            if event.dot in self.made:
                self.fail("dots are never used twice", f"{event.dot} was written again", node)
            self.made[event.dot] = event
            if type_tag(event.obj) == BOUNDED and event.payload is not None:
                self._check_budget(node, event)

    def merged(self, node: Node, *_: object) -> None:
        if node.saver is not None and node.saver.backlog.is_long:
            what = f"{len(node.saver.backlog)} batches wait, and it takes in more"
            self.fail("what waits for a slow disk is bounded", what, node)

    def saved(self, node: Node, context: Context) -> None:
        self._safe[node.index] = context

    def stopped(self, node: Node) -> None:
        before, again = self._safe[node.index], self._read_back(node)
        kept = again.store.kernel.context
        for dot in [dot for dot in self.made if dot[0] in node.lives and dot not in before and dot not in kept]:
            self._vanished.add(dot)
            self._forget_budget(self.made[dot])
        if node.saver is not None and not node.disk.wiped:
            self._check_kept(node, again)
            self._check_moment(node, node.saver, again)
            self._check_owner(node, kept)
        self._safe[node.index] = Context() if node.gone else kept
        self._excuse(before, kept)

    def lost(self, node: Node) -> None:
        kept, self._safe[node.index] = self._safe[node.index], Context()
        self._excuse(kept)

    def _excuse(self, *gone: Context) -> None:
        """What a disk has had may be lost if it has gone from there, and no other disk has it."""
        others = list(self._safe.values())
        for dot in self.made:
            acknowledged = any(dot in context for context in gone)
            if acknowledged and dot not in self._vanished and not any(dot in other for other in others):
                self.excused.add(dot)

    def _read_back(self, node: Node) -> Replica:
        """What the next life will find."""
        again = Replica("reader", log_limit=self.cluster.log_limit)
        if node.disk.survives:
            node.disk.read_into(again)
        return again

    def _check_moment(self, node: Node, saver: Saver, again: Replica) -> None:
        """A disk brings back what was in memory when something was saved: the last of that, or what was under way."""
        kernel = again.store.kernel
        moments: list[Moment] = [*saver.older] if node.lost_power else []
        moments += [saver.durable, *saver.attempts]
        if lost := moments[0].context.missing_from(kernel.context):
            self.fail("what is saved survives a crash", f"{_some(_dots(lost))} are not on its disk", node)
        elif not any(moment.is_in(kernel) for moment in moments):
            self.fail("a disk brings back what was in memory", "it holds something else", node)

    def _check_owner(self, node: Node, kept: Context) -> None:
        """Who wrote what a disk has is known there: else the next life would take its own writes for another's."""
        if node.lives[-1] != node.disk.owner.lives[-1] and kept.last(node.lives[-1]):
            self.fail("a disk knows who wrote there", f"it has what {node.lives[-1]} wrote, and not who that is", node)
        elif node.disk.owner.lives[-1] not in node.lives:
            self.fail("a disk knows who wrote there", f"it names {node.disk.owner.lives[-1]}", node)

    def _heard_stranger(self, source: Address, target: Address, data: bytes) -> None:
        if source == VICTIM:
            # What an earlier one has left is no credit, unless the node answers both when it goes on.
            waiting = any(node.address == target and (node.paused or node.holds_off) for node in self.cluster.nodes)
            self._owed[target] = len(data) + (self._owed.get(target, 0) if waiting else 0)

    def _sent(self, source: Address, target: Address, data: bytes) -> None:
        if source == VICTIM:
            return
        if target == VICTIM:
            self._owed[source] = self._owed.get(source, 0) - len(data)
            if self._owed[source] < 0:
                self.fail(
                    "an unproven address gets no more than it sent", f"{source} sent it {-self._owed[source]} more"
                )
        if len(data) > self.cluster.config.datagram_bytes:
            self.fail("no datagram is above the limit", f"{source} sent {len(data)} bytes")

    # ---- budgets

    def _check_budget(self, node: Node, event: Event) -> None:
        row = cbor2.loads(event.payload or b"")
        if len(row) != 4:
            return
        _, granted, spent, _ = row
        self._budget.setdefault((event.obj, event.replica), []).append((event.seq, granted, spent))
        rows = [rows[-1] for (obj, _), rows in self._budget.items() if obj == event.obj and rows]
        left = sum(granted - spent for _, granted, spent in rows)
        if left < 0:
            self.fail("bounded counters are never overspent", f"{-left} more spent than granted", node)

    def _forget_budget(self, event: Event) -> None:
        rows = self._budget.get((event.obj, event.replica), [])
        rows[:] = [row for row in rows if row[0] != event.seq]

    # ---- what is

    def check(self) -> None:
        """Every running node holds what the model says of what it has processed."""
        by_id: dict[str, list[Node]] = {}
        for node in self.cluster.running():
            by_id.setdefault(_id_of(node), []).append(node)
        for node in self.cluster.running():
            self._check_model(node)
            self._check_acknowledgements(node, by_id)

    def _check_acknowledgements(self, node: Node, by_id: Mapping[str, list[Node]]) -> None:
        """Who is said to have all that a node wrote has it; of two that share an id either may have been meant."""
        me, last, epochs = self._acknowledged(node)
        for other in [found[0] for member in epochs if len(found := by_id.get(member, [])) == 1]:
            known = epochs[_id_of(other)] == other.engine.identity.epoch
            if known and other.replica.store.kernel.context.prefix(me) < last:
                self.fail("what is acknowledged is there", f"{other.name} does not have {me}:{last}", node)

    def _acknowledged(self, node: Node) -> tuple[ReplicaId, int, dict[str, int]]:
        """A writer, its last seq, and which members, by id, each in which of its lives, it takes to have all up to it.

        A member that has been restarted since, without a word to it so far, is named by its former life. Of those who
        share a name (copies keep theirs) nobody can tell which was meant.
        """
        me = node.replica.replica_id
        last = node.replica.store.kernel.context.last(me)
        acked = node.engine.acked_by(last)[0] if last else []
        members = node.engine.members(self.cluster.queue.now) if acked else []
        named = Counter(each.name for each in members)
        return me, last, {each.id: each.epoch for each in members if each.name in acked and named[each.name] == 1}

    def _check_kept(self, node: Node, again: Replica) -> None:
        """What a node has acknowledged, its disk brings back: all of those writers whose every write it had."""
        if node.lost_power and node.saver is not None and node.saver.older:
            return  # others know that it may have forgotten: what they hear of it then is of another life
        for other in self.cluster.running():
            me, last, epochs = self._acknowledged(other)
            known = epochs.get(_id_of(node)) == node.engine.identity.epoch
            if other is not node and known and again.store.kernel.context.prefix(me) < last:
                self.fail("what is acknowledged survives a crash", f"{me}:{last} is not on its disk", node)

    def _check_model(self, node: Node) -> None:
        kernel = node.replica.store.kernel
        made, context = self.made, kernel.context
        processed = [dot for dot in made if context.contains(*dot)]
        if len(processed) != len(context):
            self.fail("only what was written is processed", f"{len(context) - len(processed)} dots too many", node)
        if not self._vanished.isdisjoint(processed):
            dots = sorted(self._vanished.intersection(processed))
            self.fail("nothing leaves a node before its disk has it", f"{_some(dots)} had vanished", node)
        killed = {dot for each in processed for dot in made[each].kills}
        model = {dot for dot in processed if made[dot].payload is not None and dot not in killed}
        held = {event.dot: event for seqs in kernel.live.values() for event in seqs.values()}
        if lost := sorted(model - held.keys()):
            self.fail("nothing is lost that nobody removed", f"{_some(lost)} should be there", node)
        if back := sorted(held.keys() - model):
            self.fail("what was removed does not come back", f"{_some(back)} should be gone", node)
        if any(event != made[dot]._replace(kills=(), batch=None) for dot, event in held.items() if dot in made):
            self.fail("everybody has the same content", "an entry differs from what was written", node)
        self._check_transactions(node, held, processed)
        if rivals := contradiction(made, held.values()):
            self.fail("of concurrent transactions one wins whole", f"{_some(rivals)} have won in part", node)
        early = {(replica, seq) for replica, seqs in kernel.prekilled.items() for seq in seqs}
        awaited = killed.difference(processed)
        # A retired writer's end may lie before what was killed, and what lay beyond it may have killed others' dots.
        forgotten = {dot for dot in awaited - early if dot[0] not in kernel.limits}
        if forgotten or (early - awaited and not kernel.limits):
            self.fail("pre-killed dots are what was killed before it came", f"{len(early)} of them", node)

    def _check_transactions(self, node: Node, held: Mapping[Dot, Event], processed: Sequence[Dot]) -> None:
        """Of a transaction a replica has all, or nothing that can be seen."""
        context = node.replica.store.kernel.context
        for dot in processed:
            event = self.made[dot]
            if event.batch is None or not (dot in held or event.kills):
                continue
            if any(not context.contains(event.replica, seq) for seq in range(*event.batch)):
                self.fail("a transaction is seen whole or not at all", f"{dot} is here alone", node)

    def check_together(self) -> None:
        """In the end, all being equal: no acknowledged write is missing, and nothing is left over."""
        first, *others = self.cluster.running()
        for node in (first, *others):
            self._check_complete(node)
            self._check_floor(node)
            self._check_disk(node)
        values = read(first.replica)
        for node in others:
            found = read(node.replica)
            wrong = sorted(name for name in values.keys() | found.keys() if values.get(name) != found.get(name))
            if wrong:
                self.fail("everybody reads the same", f"{', '.join(wrong[:3])} differ from {first.name}", node)

    def _check_disk(self, node: Node) -> None:
        """At rest, memory and disk are equal."""
        if node.saver is None or not node.engine.durable:
            return
        again = self._read_back(node)
        if not Moment.of(node.replica.store.kernel).is_in(again.store.kernel):
            self.fail("memory and disk are equal at rest", "its disk holds something else", node)

    def unretired(self) -> list[str]:
        """What is not done yet of the retirements: fences that are not everywhere, members that are still listed, and
        writers that are over and not closed, if they can be."""
        cluster = self.cluster
        fences = [(who, fence_of(cluster.node_id(who))) for who in dict.fromkeys(cluster.retired)]
        fences = [(who, fence) for who, fence in fences if not self._is_lost(fence)]
        found = []
        for node in cluster.running():
            limits = node.replica.store.kernel.limits
            listed = [member.id for member in node.engine.members(cluster.queue.now)] if fences else []
            for who, fence in fences:
                alone = node.who == who and len(cluster.running()) == 1  # there is nobody to tell it
                if (fence not in limits and not alone) or cluster.node_id(who).hex() in listed:
                    found.append(f"n{who} is not fenced, or still listed, at {node.name}")
        return found + [f"{writer} is not closed" for writer in self._open_writers()]

    def _is_lost(self, fence: ReplicaId) -> bool:
        """True if everybody who knew that a node was retired has died without a disk that did."""
        said = [dot for dot, event in self.made.items() if event.obj == RETIRED and event.key == fence.encode()]
        return bool(said) and all(dot in self.excused or dot in self._vanished for dot in said)

    def _open_writers(self) -> list[str]:
        """Writers of retired nodes that are not closed everywhere, if everybody who might have more can be asked."""
        cluster = self.cluster
        away = [node for node in cluster.nodes if not node.up and node.who not in cluster.retired]
        if (
            away
            or len({node.who for node in cluster.running()}) < len(cluster.running())
            or len(cluster.nodes) > cluster.config.full_membership_max
        ):
            return []
        lost = {dot[0] for dot in (*self.excused, *self._vanished)}
        retired = {cluster.node_id(who) for who in cluster.retired}
        retired = {node_id for node_id in retired if not self._is_lost(fence_of(node_id))}
        over = [writer for writer in sorted({dot[0] for dot in self.made} - lost) if node_of(writer) in retired]
        contexts = [node.replica.context for node in cluster.running()]
        return [writer for writer in over if any(context.last(writer) for context in contexts)]

    def _check_complete(self, node: Node) -> None:
        context = node.replica.store.kernel.context
        missing = [dot for dot in self.made if dot not in context]
        lost = [dot for dot in missing if dot not in self._vanished and dot not in self.excused]
        if lost:
            self.fail("no acknowledged write is lost", f"{_some(lost)} of {len(self.made)} are missing", node)

    def _check_floor(self, node: Node) -> None:
        kernel = node.replica.store.kernel
        gone = self.excused | self._vanished
        early = [(replica, seq) for replica, seqs in kernel.prekilled.items() for seq in seqs]
        if not gone.issuperset(early):
            self.fail("pre-killed dots return to none", f"{len(early)} are left", node)
        whole = Context({replica: kernel.context.last(replica) for replica in kernel.context.replicas()})
        gaps = _dots(whole.missing_from(kernel.context))
        if not gone.issuperset(gaps):
            self.fail("the dot cloud returns to none", f"{len(gaps)} gaps are left", node)
        if kernel.log.size > kernel.log.limit:
            self.fail("the kill log keeps its limit", f"{kernel.log.size} of {kernel.log.limit} kills", node)
        if not node.engine.durable:
            self.fail("everything is saved in the end", f"{node.unsaved} batches wait", node)


def _id_of(node: Node) -> str:
    return node.engine.identity.node_id.hex()


def read(replica: Replica) -> dict[str, str]:
    """All that a user can read, as text that compares."""
    return {f"{each.kind} {each.name}": _sorted(each.value()) for each in replica.objects()}


def _sorted(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_sorted(value[key])}" for key in sorted(value, key=repr)) + "}"
    if isinstance(value, Collection) and not isinstance(value, str | bytes):
        return "[" + ", ".join(sorted(map(_sorted, value))) + "]"
    return repr(value)


def _dots(ranges: Sequence[DotRange]) -> list[Dot]:
    return [(replica, seq) for replica, start, stop in ranges for seq in range(start, stop)]


def _some(dots: list[Dot]) -> str:
    """A few dots, for people."""
    shown = ", ".join(f"{replica}:{seq}" for replica, seq in dots[:3])
    return f"{shown} and {len(dots) - 3} more" if len(dots) > 3 else shown
