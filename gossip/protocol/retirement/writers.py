"""Closing writers that will write no more, so that their ids leave the contexts: one member sees to it for all.

Closed are the writers of nodes that were retired, or that left, keep nothing, and handed their id on to nobody
(`succession`); those that an operator has marked as nobody's (`unknown`); and those that a node itself wrote under
before, if the node is certain that it has all of that: a file that was copied or put back would set the limit too low,
and everybody would drop what lies beyond.

Of the members that are alive the one with the lowest id asks all others how much they have of these writers. Once all
have the same, agree on who is alive, and miss nobody who might have more, it says in the shared state that this was all
(the limit). Once all have reported again behind that, it says that the writer is closed (`crdts.Replica.retire` and
`report`). As a limit is not set before everybody has agreed, it holds nothing back that is still on its way, should
this member die.

A writer that has set its own limit, as a node without a disk does when it leaves, needs no such agreement: nobody can
have more of it. So it is closed while other members come and go, too: a cluster with a job a second is never quiet.

Nothing is sent while there is nothing to close, or while somebody is missing. No clock closes anybody: a member that
has failed is waited for until it comes back or is retired as well.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from crdts import Context, CrdtError, Dot, ReplicaId
from crdts.embedding import RETIRED, Limit

from ..errors import GossipError
from ..fence import is_fenced
from ..identity import NodeId, life_of, writers_of
from ..membership.membership import Members
from ..membership.peers import Peer
from ..output import Output
from ..succession.lending import Lending, is_lent_to
from ..wire.messages import Ask, Gone, Message, Report

WRITERS_ASKED: Final = 8
"""Writers in one question: the answer fits the smallest datagram."""
MEMBERS_ASKED: Final = 32
"""Members asked in one round."""
ROUNDS: Final = 4
"""Rounds without news until other writers get their turn, if there are any."""
QUIET: Final = 10
"""Probe intervals without a change of who is alive, until what members have counts as all there is."""
MARKED_AT_ONCE: Final = 1024
"""Marked writers that are looked at in one round."""
OPEN_AT_ONCE: Final = 4096
"""Open writers that are looked at in one round: some milliseconds at most. The others get their turn in later ones."""
STEP: Final = 0.05
"""Seconds between two rounds that each go as they should, while very many writers are to be closed."""
LAG_SHARE: Final = 4
"""A round that comes late is followed by a pause of so many times the delay: others need the event loop."""
LONGEST_PAUSE: Final = 16
"""Probe intervals between two rounds at most, when they do not help."""


class Closing:
    """Finds out which writers are over, and drives their retirement if that is up to this node."""

    def __init__(self, output: Output, members: Members, lending: Lending, former: Sequence[ReplicaId] = ()) -> None:
        """``former``: the ids under which this node wrote before, and nobody does any more: it has all of that."""
        self._out = output
        self._members = members
        self._lending = lending
        self._owned: dict[ReplicaId, None] = {}
        """The writers that were lent, or wait to be, as of the last `tick`: none of them is over."""
        self._former = dict.fromkeys(former)
        output.replica.succeed(*self._former)
        self._next = float("-inf")
        self._pause = 1
        self._late = 0.0
        """Seconds by which the last round came late."""
        self._batch: tuple[ReplicaId, ...] = ()
        self._rounds = 0
        self._start = 0
        self._looked = 0
        """How many of the open writers were looked at in earlier rounds: in this one, those behind them are."""
        self._answers: dict[NodeId, tuple[int, Report]] = {}
        """By member: its epoch, and what it has said of the writers in `_batch`."""
        self._spoke: dict[NodeId, list[ReplicaId]] = {}
        """Lives of members that the replica has had reports for."""
        self._gone: dict[NodeId, int] = {}
        """Members that left and keep nothing, and the epoch of that life."""
        self._returned: dict[ReplicaId, None] = {}
        """The borrowed writers of these members."""
        self._incomplete: dict[ReplicaId, tuple[int, list[int]]] = {}
        """Writers of whom some events are nowhere: who was alive when all knew the limit, and what there is."""
        self._mark = 0
        self._unchanged_since = float("-inf")
        """Since when we have believed the same members to be alive."""

    # ---- time

    def deadline(self) -> float:
        """When `tick` wants to be called; while nothing is under way, whenever there is another reason."""
        return self._next if self._batch else float("inf")

    def tick(self, now: float) -> None:
        if now < self._next:
            return
        self._late = now - self._next if self._batch else 0.0
        self._watch(now)
        self._owned = self._lending.owned()
        self._raise_limits()
        work = self._work()
        if not self._is_clear(now):
            work = [writer for writer in work if self._has_ended_itself(writer)]
        if not work:
            self._batch, self._pause = (), 1
            self._answers.clear()
            self._next = now + self._out.config.probe_interval
            return
        self._choose(work)
        self._next = now + self._out.config.probe_interval * self._pause
        before = self._limits()
        self._go_on(now)
        self._hurry(now, before)

    def _raise_limits(self) -> None:
        """Raise limits that an earlier life of this node has set, and that some member has gone beyond.

        This waits for nobody. Until it is done, members that heard of the limit first refuse what the others have, and
        no other member can raise the limit before that earlier life is closed.
        """
        kernel = self._out.kernel
        for writer in [each for each in kernel.retiring if kernel.context.last(each) > kernel.limits[each].last]:
            if any(event.replica in self._former for event in kernel.at(RETIRED, writer.encode())):
                self._try(lambda writer=writer: self._out.replica.retire(writer))  # type: ignore[misc]

    def _work(self) -> list[ReplicaId]:
        """The writers that we see to: all that are over if we lead, and those whose limit we have set before we did not
        lead any more.
        """
        kernel = self._out.kernel
        if kernel.replica_id in kernel.limits:
            return []
        if self._leads():
            return self._over()
        ours = [writer for writer in kernel.retiring if writer in self._former or self._own_words(writer)]
        former = [w for w in self._former if w not in kernel.limits and not self._is_unconfirmed(w)]
        return self._unless_incomplete([*ours, *former])

    def _leads(self) -> bool:
        me = self._out.identity.node_id
        return all(me < peer.node_id for peer in self._members.alive())

    def _over(self) -> list[ReplicaId]:
        """The writers that will write no more, of which there is more to do, in order."""
        kernel = self._out.kernel
        marked = islice(filter(kernel.context.last, kernel.marked), MARKED_AT_ONCE)
        writers = kernel.open_writers()
        start = self._looked if self._looked < len(writers) else 0
        part = islice(writers, start, start + OPEN_AT_ONCE)
        over = [w for w in part if self._is_to_close(w) and not self._is_unconfirmed(w)]
        has_time = over and self._rounds < ROUNDS - 1  # else some that nobody agrees on would hide all others
        self._looked = start if has_time else start + OPEN_AT_ONCE
        return self._unless_incomplete([*kernel.retiring, *marked, *over])

    def _unless_incomplete(self, writers: list[ReplicaId]) -> list[ReplicaId]:
        """Those of the writers that wrote something, in order. Not those of whom nothing more can be done now."""
        kernel = self._out.kernel
        context, done = kernel.context, self._incomplete
        found = [w for w in writers if context.last(w) and w != kernel.replica_id]
        return sorted([w for w in found if w not in done or done[w] != (self._mark, context.steps(w))])

    def _is_unconfirmed(self, writer: ReplicaId) -> bool:
        """True if the writer is an earlier life of this node, and no member could know more of it.

        A disk that was put back whole looks as a kill left it: alone, we would set a limit that makes everybody drop
        what was written since, and what that had replaced.
        """
        return writer in self._former and not self._members.alive()

    def _is_to_close(self, writer: ReplicaId) -> bool:
        """True if the writer's node was retired, or left and keeps nothing, or is this node in an earlier life.

        Not the earlier lives of others: only they can know how much they wrote, and a limit guessed too low would lose
        what somebody has that nobody else has heard of.
        """
        if writer in self._owned:
            return False
        if writer in self._former or writer in self._returned:
            return True
        life = life_of(writer)
        return life is not None and (
            is_fenced(self._out.kernel, life.node_id) or life.epoch <= self._gone.get(life.node_id, 0)
        )

    def _has_ended_itself(self, writer: ReplicaId) -> bool:
        """True if the writer has set its own limit, or is closed: nobody has more of it, and it keeps nothing."""
        kernel = self._out.kernel
        limit = kernel.limits.get(writer)
        if limit is None or limit.closed:
            return limit is not None
        return any(event.replica == writer for event in kernel.at(RETIRED, writer.encode()))

    def _is_over(self, writer: ReplicaId) -> bool:
        """True if the writer writes no more."""
        if writer in self._owned:
            return False
        life = life_of(writer)
        return self._is_to_close(writer) or (life is not None and life.epoch < self._epoch_of(life.node_id))

    def _epoch_of(self, node_id: NodeId) -> int:
        """Of the present life of a node, as far as we have met it; 0 if we have not."""
        if node_id == self._out.identity.node_id:
            return self._out.identity.epoch
        peer = self._members.find(node_id)
        return peer.epoch if peer is not None else 0

    def _misses_somebody(self) -> bool:
        """True if a node that cannot be asked may have more than all members.

        Who is suspect is asked like the others. Where nobody knows everybody, somebody always is missing.
        """
        if self._members.is_partial:
            return True
        for peer in self._members.listed():
            if not peer.is_present and peer.is_proven and not self._keeps_nothing(peer):
                return True
        for writer in self._out.kernel.open_writers():
            if writer not in self._owned and not self._is_over(writer):
                life = life_of(writer)
                if life is None or life.epoch != self._epoch_of(life.node_id):
                    return True
        return False

    def _keeps_nothing(self, peer: Peer) -> bool:
        """True if a member that is gone has said that it keeps nothing, or has handed on or ended its writer.

        The second tells it where the goodbye was lost, or where only others have heard it.
        """
        writer = peer.replica_id
        said_so = self._gone.get(peer.node_id, 0) >= peer.epoch
        is_passed_on = writer in self._owned and self._lending.has_passed_on(peer)
        return said_so or (writer is not None and (is_passed_on or self._has_ended_itself(writer)))

    # ---- rounds

    def _choose(self, work: list[ReplicaId]) -> None:
        """Which writers to ask about: the same until they are closed, or have had their time."""
        if self._batch and all(writer in work for writer in self._batch):
            self._rounds += 1
            if self._rounds < ROUNDS:
                return
            self._start += WRITERS_ASKED
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        else:
            self._pause = 1
        start = self._start % len(work)
        batch = tuple(sorted((work[start:] + work[:start])[:WRITERS_ASKED]))
        self._rounds = 0
        if batch != self._batch:
            self._batch = batch
            self._answers.clear()

    def _go_on(self, now: float) -> None:
        self._report_own_lives()
        self._take_over()
        self._begin_where_agreed(now)
        self._leave_incomplete()
        question: list[Message] = [Ask((*self._batch, self._out.kernel.replica_id))]
        asked = 0
        for peer in self._members.alive():
            if asked < MEMBERS_ASKED and not self._is_content(peer):
                self._out.send_data(peer.address, question)
                asked += 1

    def _report_own_lives(self) -> None:
        """Nobody but us speaks for those that are over; we have what they would accept."""
        me, kernel = self._out.identity.node_id, self._out.kernel
        for writer in (*self._lives_of(me), *self._lending.vacant):
            if writer != kernel.replica_id:
                self._report(writer, kernel.context)

    def _lives_of(self, node_id: NodeId) -> list[ReplicaId]:
        """The lives of a node that are waited for: those that wrote, and are not being closed."""
        kernel = self._out.kernel
        return [writer for writer in writers_of(kernel.context, node_id) if writer not in kernel.limits]

    def _take_over(self) -> None:
        """Speak for those who have set a limit and are over: it may have to be raised."""
        kernel = self._out.kernel
        for writer in self._batch:
            if writer in kernel.marked:
                continue
            authors = [event.replica for event in kernel.at(RETIRED, writer.encode())]
            if authors and all(author in kernel.limits or self._is_over(author) for author in authors):
                self._try(lambda writer=writer: self._out.replica.retire(writer))  # type: ignore[misc]

    def _begin_where_agreed(self, now: float) -> None:
        """Set the limit of the writers of whom everybody has the same."""
        alive = self._members.alive()
        if not all(self._vouches(peer) for peer in alive) or not self._is_clear(now):
            return
        for writer in self._batch:
            if not self._own_words(writer) and all(self._agrees(self._answers[p.node_id][1], writer) for p in alive):
                self._try(lambda writer=writer: self._out.replica.retire(writer))  # type: ignore[misc]

    def _vouches(self, peer: Peer) -> bool:
        """True if a member has answered, sees the same members as we do, and misses none."""
        epoch, report = self._answers.get(peer.node_id, (0, None))
        return report is not None and epoch == peer.epoch and report.clear and report.mark == self._mark

    def _agrees(self, report: Report, writer: ReplicaId) -> bool:
        return report.context.steps(writer) == self._out.kernel.context.steps(writer)

    def _is_content(self, peer: Peer) -> bool:
        """True if a member has said all that we need of it for now."""
        epoch, report = self._answers.get(peer.node_id, (0, None))
        if report is None or epoch != peer.epoch:
            return False
        if not self._vouches(peer) and not all(map(self._has_ended_itself, self._batch)):
            return False
        return all(self._is_settled(report, writer) for writer in self._batch) and not self._has_begun_to_write(peer)

    def _has_begun_to_write(self, peer: Peer) -> bool:
        """True if a life of the member has begun to write since the member answered: its report is missing."""
        spoke = self._spoke.get(peer.node_id, ())
        return any(life not in spoke for life in self._wrote(peer))

    def _wrote(self, peer: Peer) -> list[ReplicaId]:
        """The present and former lives of a member that wrote, and so are waited for."""
        return [writer for writer in self._lives_of(peer.node_id) if _epoch(writer) <= peer.epoch]

    def _is_settled(self, report: Report, writer: ReplicaId) -> bool:
        """True if a member has the same of a writer as we do, and knows of the limit, if there is one."""
        return self._agrees(report, writer) and all(dot in report.context for dot in self._own_words(writer))

    def _leave_incomplete(self) -> None:
        """Be content with the limit where no end can be reached, once all know of it."""
        context = self._out.kernel.context
        reports = [self._answers[peer.node_id][1] for peer in self._members.alive() if self._vouches(peer)]
        if len(reports) < len(self._members.alive()):
            return
        for writer in self._batch:
            begun = context.prefix(writer) != context.last(writer) and self._own_words(writer)
            if begun and all(self._is_settled(report, writer) for report in reports):
                self._incomplete[writer] = self._mark, context.steps(writer)

    def _own_words(self, writer: ReplicaId) -> list[Dot]:
        """What we have said of its end, in this life."""
        return self._out.replica.said_of(writer)

    def is_own(self, writer: ReplicaId) -> bool:
        """True if this node wrote under that id before."""
        return writer in self._former

    @property
    def quiet_time(self) -> float:
        """Seconds without a change of who is alive, until what members have counts as all there is."""
        return QUIET * self._out.config.probe_interval

    def is_settled(self, now: float) -> bool:
        """True if the list of members has been the same for a while."""
        self._watch(now)
        return now - self._unchanged_since >= self.quiet_time

    def _is_clear(self, now: float) -> bool:
        """True if the list of members has been the same for a while, and none of them is missing.

        Whoever has just started, or come out of a cut, may not have heard yet of those who have more.
        """
        return self.is_settled(now) and not self._misses_somebody()

    def _watch(self, now: float) -> None:
        mark = self._members.alive_mark()
        if mark != self._mark:
            self._mark, self._unchanged_since = mark, now

    # ---- messages

    def handle(self, now: float, peer: Peer, message: Ask | Report | Gone) -> None:
        """Take a message of a member at its proven address."""
        match message:
            case Ask():
                self._lending.asked_about(peer, message.writers)
                clear = self._is_clear(now)
                kernel = self._out.kernel
                context = kernel.context.only([writer for writer in message.writers if not kernel.is_closed(writer)])
                answer = [Report(context, self._mark, clear)]
                if len(self._out.sealed([*answer])) <= self._out.config.datagram_bytes:  # else dots are still missing
                    self._out.send_data(peer.address, [*answer])
            case Report():
                self._on_report(now, peer, message)
            case Gone():
                peer.keeps_nothing = True
                self._gone[peer.node_id] = peer.epoch
                if len(self._gone) > self._out.config.full_membership_max:
                    del self._gone[next(iter(self._gone))]
                if peer.replica_id is not None and is_lent_to(peer.node_id, peer.replica_id):
                    self._returned[peer.replica_id] = None
                    if len(self._returned) > self._out.config.full_membership_max:
                        del self._returned[next(iter(self._returned))]
                self.forget(peer.node_id)

    def _on_report(self, now: float, peer: Peer, report: Report) -> None:
        present = peer.replica_id
        if not self._batch or present is None:  # it is asked again once it has said what it writes under
            return
        before = self._limits()
        if self._answers.get(peer.node_id) != (peer.epoch, report):
            self._rounds = 0
            if self._pause > 1:  # it goes on
                self._pause, self._next = 1, now + self._out.config.probe_interval
        self._answers[peer.node_id] = peer.epoch, report
        lives = self._spoke.setdefault(peer.node_id, [])
        if present not in lives:
            lives.append(present)
        lives += [writer for writer in self._wrote(peer) if writer not in lives]
        # What is alive has all that its earlier lives have kept: they accept nothing any more.
        for life in (*lives, *self._lending.held_by(peer.node_id)):
            self._report(life, report.context)
        self._begin_where_agreed(now)
        self._hurry(now, before)

    def _limits(self) -> list[Limit | None]:
        """How far the writers in `_batch` are."""
        return [self._out.kernel.limits.get(writer) for writer in self._batch]

    def _hurry(self, now: float, before: list[Limit | None]) -> None:
        """Do not wait for the next probe interval if all writers of the batch are further than ``before``, and very
        many others wait.
        """
        kernel = self._out.kernel
        is_marked = any(writer in kernel.marked for writer in self._batch)
        if len(kernel.marked) > WRITERS_ASKED and not is_marked and self._limits() != before:
            self._next = min(self._next, now + max(STEP, LAG_SHARE * self._late))

    def _report(self, life: ReplicaId, context: Context) -> None:
        if life not in self._out.kernel.limits:
            self._try(lambda: self._out.replica.report(life, context))

    def forget(self, node_id: NodeId) -> None:
        """A node is no longer waited for: what it has only read, it will not report on."""
        self._answers.pop(node_id, None)
        for life in self._spoke.pop(node_id, []):
            if not self._out.kernel.context.last(life):
                self._try(lambda life=life: self._out.replica.retire(life))  # type: ignore[misc]

    @staticmethod
    def _try(write: Callable[[], object]) -> None:
        """Write, if that can be at this time: the disk may be full."""
        try:
            write()
        except (OSError, CrdtError, GossipError):
            return


def _epoch(writer: ReplicaId) -> int:
    life = life_of(writer)
    return life.epoch if life is not None else 0
