"""Judges what nodes believe of each other: in the end, for long, and always where nothing can excuse an error."""

from collections import Counter
from collections.abc import Callable
from typing import Final, TypeAlias

from gossip.protocol import Notify, notices

from ..graph import degrees, largest_component, neighbours
from ..world.node import Node
from .disturbance import Calm

GRACE: Final = 5.0
"""Seconds after a disturbance of two nodes in which one may still come to believe, mostly by hearsay, that the other is
gone; and on links that lose nothing."""
LONGEST: Final = 60.0
"""Seconds for which a node may count one as failed that it could hear all the while, whatever links lose."""

UNEVEN: Final = 1.25
"""How many times that of views drawn at random the standard deviation of in-degrees may be, and"""
UNEVEN_BY: Final = 0.5
"""so many nodes more, in small clusters."""

Fail: TypeAlias = Callable[[str, str, Node], None]


class Census(Calm):
    """Watches who counts whom as failed."""

    def __init__(self, fail: Fail) -> None:
        """``fail`` is told the rule that is broken, what is wrong, and where."""
        super().__init__()
        self._fail = fail
        self._failed: dict[tuple[int, str], float] = {}
        """Since when a node, by index, counts a member, by id, as failed."""
        self.false_failures: Counter[tuple[str, str]] = Counter()
        """How many times a node came to count one as failed which ran and was not paused: (who, whom)."""

    # ---- always

    def started(self, node: Node) -> None:
        super().started(node)
        for key in [key for key in self._failed if key[0] == node.index]:
            del self._failed[key]

    def noticed(self, node: Node, notice: Notify) -> None:
        if notice.event == notices.MEMBER_FAILED:
            self._on_failed(node, str(notice.fields["member_id"]))
        elif notice.event == notices.MEMBER_FORGOTTEN and notice.fields["state"] == "failed":
            self._on_forgotten(node, str(notice.fields["member"]))
        elif notice.event in (notices.MEMBER_RETURNED, notices.MEMBER_LEFT):
            if notice.event == notices.MEMBER_LEFT:
                self._on_left(node, str(notice.fields["member_id"]))
            failed = self._failed.pop((node.index, str(notice.fields["member_id"])), None)
            if failed is not None and notice.event == notices.MEMBER_RETURNED:
                self._on_returned(node, str(notice.fields["member_id"]))

    def _on_failed(self, node: Node, member_id: str) -> None:
        self._failed[node.index, member_id] = node.now
        member = self._node_of(member_id)
        if (
            member is None
            or not member.up
            or member.paused
            or self._node_of(node.engine.identity.node_id.hex()) is None
        ):
            return  # nobody listens to the older one of two that share an identity
        self.false_failures[node.name, member.name] += 1
        calm = node.now - max(self.smooth_since(), self.together_since(node, member), self.even_since(node, member))
        if calm >= GRACE:
            what = f"{member.name}, {calm:.1f} s after anything had disturbed the two"
            self._fail("nobody who is there is counted as failed", what, node)

    def _on_forgotten(self, node: Node, member: str) -> None:
        """Fail if a member that failed was forgotten while one that left is listed: only the failed one may return."""
        if any(each.state == "left" for each in node.engine.members(node.now)):
            self._fail("who has failed is not forgotten before who has left", member, node)

    def _on_left(self, node: Node, member_id: str) -> None:
        """Only a life that is over has left: who runs can be counted so by word of a former one alone."""
        member = self._node_of(member_id)
        if member is not None and member.up and node.now - self.together_since(node, member) >= GRACE:
            self._fail("nobody who is there is counted as gone on purpose", member.name, node)

    def _on_returned(self, node: Node, member_id: str) -> None:
        """Who cannot hear can neither answer nor contradict, unless what it said before has come late."""
        member = self._node_of(member_id)
        deaf = max(self.deaf_for(member), self.down_for(member)) if member is not None else 0.0
        calm = node.now - max(self.smooth_since(), self.news_since())
        if member is not None and min(deaf, calm) >= GRACE:
            how = "deaf" if member.up else "down"
            self._fail("who hears nobody does not come back", f"{member.name}, {how} for {deaf:.1f} s", node)

    def _node_of(self, member_id: str) -> Node | None:
        """The node of that id, unless there are several: then nobody can be right about it."""
        who = [node for node in self.cluster.nodes if node.engine.identity.node_id.hex() == member_id]
        return who[0] if len(who) == 1 else None

    # ---- now and then

    def check(self) -> None:
        """Nobody is taken for gone for long by who could hear it all the while."""
        for (index, member_id), since in self._failed.items():
            node, member = self.cluster.nodes[index], self._node_of(member_id)
            if member is None or not member.up or not node.up:
                continue
            wrong = node.now - max(since, self.together_since(node, member))
            if wrong > LONGEST and self._counts_as(node, member_id, "failed"):
                self._fail("who is there is found again", f"{member.name} has been failed for {wrong:.0f} s", node)
        for gone in [node for node in self.cluster.nodes if self.down_for(node) > LONGEST]:
            self._check_gone(gone)

    def _check_gone(self, gone: Node) -> None:
        """Fail if a node that has run all the while, and lists all members, still counts a long dead one as alive."""
        member_id = gone.engine.identity.node_id.hex()
        if self._node_of(member_id) is not gone:
            return
        for node in self.cluster.running():
            whole = node.now - self.undisturbed_since(node) > LONGEST and not node.engine.is_partial
            if whole and self._counts_as(node, member_id, "alive"):
                self._fail("who is gone is found out", f"{gone.name}, down for {self.down_for(gone):.0f} s", node)

    @staticmethod
    def _counts_as(node: Node, member_id: str, state: str) -> bool:
        return any(each.id == member_id and each.state == state for each in node.engine.members(node.now))

    # ---- in the end

    def wrong(self) -> str:
        """Who is wrong about whom at this moment, for people; empty if every node is right about every other."""
        running = {node.address: node.engine.identity.epoch for node in self.cluster.running()}
        names = {node.address: node.name for node in self.cluster.nodes}
        for node in self.cluster.running():
            members = node.engine.members(node.now)
            listed = {each.address: each.epoch for each in members if each.state in ("alive", "suspect")}
            wanted = {address: epoch for address, epoch in running.items() if address != node.address}
            about = [address for address in (*wanted, *listed) if wanted.get(address) != listed.get(address)]
            if about:
                named = dict.fromkeys(names.get(address, str(address)) for address in about[:5])
                return f"{node.name} is wrong about {', '.join(named)}"
        return ""

    def dead_links(self) -> float:
        """Share of the entries of all views that name a node which does not run; 0 if there are none."""
        alive = {node.engine.identity.node_id for node in self.cluster.running()}
        entries = [node_id for node in self.cluster.running() for node_id in node.engine.view()]
        return sum(node_id not in alive for node_id in entries) / len(entries) if entries else 0.0

    def views(self) -> list[list[int]]:
        """The graph of the running nodes, numbered in their order: whom each of them sends to."""
        running = self.cluster.running()
        place = {node.engine.identity.node_id: number for number, node in enumerate(running)}
        return [[place[other] for other in node.engine.view() if other in place] for node in running]

    def pieces(self) -> str:
        """Whom the others cannot reach over any views, for people; empty if the running nodes are in one piece."""
        views = self.views()
        largest = largest_component(neighbours(views))
        return f"{len(views) - largest} of {len(views)} nodes are not with the others" if largest < len(views) else ""

    def uneven(self) -> str:
        """By how much some are in more views than chance would have it, for people; empty if they are not."""
        found = degrees(self.views())
        nodes = sum(count for _, count in found.counts)
        limit = UNEVEN * (found.mean * (1 - found.mean / max(1, nodes - 1))) ** 0.5 + UNEVEN_BY
        told = f"in-degrees deviate by {found.deviation:.1f} from {found.mean:.1f}, {limit:.1f} allowed"
        return told if found.deviation > limit else ""
