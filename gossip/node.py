"""A running node, for use inside a Trio program."""

import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Final, Literal
from weakref import WeakSet

import trio

from crdts import CrdtError, Replica, ReplicaId, Transaction
from crdts.embedding import Accessors, Store

from .inherited import Inherited, disown_in_children
from .keeping import Keeper, Storage
from .log import WRITES_UNSAVED, WRITES_UNSHARED, LogLoss, SafeLog
from .naming import Names
from .protocol import Address, Engine, Member, Statistics
from .protocol.errors import ConfigError, MemberAlive, NotRunning, SyncTimeout, UnknownMember
from .protocol.identity import node_id_of
from .protocol.membership.peers import ALIVE, FAILED, SUSPECT
from .runtime.driver import Driver
from .storage.errors import DiskFailed
from .storage.patience import DISK_GRACE
from .version import Version
from .watch import Watch

SHUTDOWN_GRACE: Final = 3.0
"""Seconds that a node waits at its end until some member has its last writes."""
LAST_WORDS_GRACE: Final = 1.0
"""Seconds that it then waits until some member has heard that it will write no more."""
CHOICE_TIMEOUTS: Final = 5
"""Times `Config.probe_timeout` until a node writes under an id of its own, though a member has lent it one."""

_TO_DO_FIRST: Final = {
    ALIVE: "stop it first (`gossip leave` there hands over its last writes), or force it if it cannot be stopped",
    SUSPECT: "it does not answer at present, and may yet. Wait some seconds until it counts as failed (see "
    "`gossip members`), or force it",
}
"""Before a member in that state is retired."""


def _checked_timeout(timeout: object) -> float:
    """``timeout`` in seconds, infinity for None; raises `ConfigError`."""
    if timeout is None:
        return math.inf
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout >= 0:
        raise ConfigError(f"timeout is a number of seconds from 0 on, or None to wait without end; not {timeout!r:.60}")
    return float(min(timeout, sys.float_info.max))


class Node(Accessors):
    """A member of a cluster. Made by `open_node`.

    Reads and writes through the accessors are local, immediate and synchronous; what is written travels on its own.
    """

    def __init__(
        self,
        replica: Replica,
        engine: Engine,
        driver: Driver,
        address: Address,
        log: SafeLog,
        *,
        keeper: Keeper,
        cluster: str,
        sealed: bool,
        has_seeds: bool,
    ) -> None:
        self._replica = replica
        self._engine = engine
        self._driver = driver
        self._log = log
        self._keeper = keeper
        self._address = address
        self._has_seeds = has_seeds
        self.cluster = cluster
        """The cluster's name."""
        self.sealed = sealed
        """True if everything the node sends is encrypted under a cluster key."""
        self.stop_requested = trio.Event()
        """Set when `gossip leave` told this node to leave and stop: end the block then."""
        self.stop_reason: str | None = None
        """Why its block is about to end, for the log, where whoever ends it knows better than the node."""
        self.loss: str | None = None
        """What could not be saved when the node ended, and why, for people; None if there is nothing to tell. Look at
        it behind the block, which raises nothing for it."""
        self._left = self._has_bequeathed = False
        self._handed_over = -1
        """The seq up to which writes were handed over, or that was tried in vain."""
        self._last_words = 0
        """The seq of the event by which it has closed itself, if it has."""
        self._names = Names(replica.store.kernel, lambda: engine.identity, self.members, lambda: engine.vacant_writers)
        self._names.serve(replica.store)
        self._awaited: list[int] = []
        self._watches: WeakSet[Watch] = WeakSet()
        disown_in_children(self)

    # ---- data

    @property
    def replica(self) -> Replica:
        """All objects at once: iterate them, compare fingerprints."""
        return self._replica

    def _home(self) -> tuple[Store, bytes]:
        return self._replica.store, b""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """``with node.transaction():`` makes all that is written in the block one change, for every member.

        Either all of it reaches a member or nothing; an exception undoes it. The block takes in what its own code
        writes, and nothing else. The block must not wait for anything: once the node has to send or take in something,
        or another task writes, begins a block or flushes, the transaction is undone, and its end raises
        `crdts.InTransaction`. Raises `WrongThread`.
        """
        return self._replica.transaction()

    def watch(self, name: str | None = None) -> Watch:
        """The changes of objects called ``name``, or of all, local and received; iterate it with ``async for``.

        The iteration ends when the node does.
        """
        self._check_running()
        if name is not None and not isinstance(name, str):
            raise ConfigError(f"watch takes the name of an object, or nothing for all of them, not {name!r:.60}")
        watch = Watch(self._replica, name)
        self._watches.add(watch)
        return watch

    # ---- the cluster

    @property
    def name(self) -> str:
        return self._engine.identity.name

    @property
    def id(self) -> str:
        """The node's id, as text; it stays when the address changes."""
        return self._engine.identity.node_id.hex()

    @property
    def address(self) -> Address:
        """Where it listens; prints as host:port."""
        return self._address

    def members(self) -> list[Member]:
        """Every other member ever met and not retired; in a cluster too large to list (`is_partial`) those of the view.

        By name, and those that share one by id.
        """
        return sorted(self._engine.members(trio.current_time()), key=lambda member: (member.name, member.id))

    @property
    def is_partial(self) -> bool:
        """True if the cluster is larger than `Config.full_membership_max`, so that `members` are not all of it."""
        return self._engine.is_partial

    @property
    def tags(self) -> Mapping[str, str]:
        """What this node says of itself, as others see it among its `members`."""
        return self._engine.tags

    @property
    def log_loss(self) -> LogLoss:
        """How many lines of this node's log could not be written, and why not."""
        return self._log.loss

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Say this of the node from now on, in place of its former tags.

        For as long as this node runs: tags are not kept in its data directory, so the next start says only what it is
        given as ``tags``. Raises `ConfigError` for what is no dict of printable text to printable text, or too much.
        """
        self._check_running()
        self._driver.do(self._engine.set_tags(tags))

    def statistics(self) -> Statistics:
        """What this node has done so far, in numbers."""
        return self._engine.statistics()

    @property
    def retired(self) -> bool:
        """True if the cluster has retired this node: it takes no part any more, and refuses writes."""
        return self._engine.retired

    def retire(self, member: str | Member, *, force: bool = False) -> str:
        """Say that a member is gone for good: one of `members`, or its name or id; returns the id.

        Or have a writer closed that belongs to no member, if ``member`` is its replica id. What the writer wrote stays.

        What it wrote stays. Everybody forgets it as soon as they hear of this, and nobody ever admits it again: to
        come back it needs a fresh data directory. This is for what has failed or left, not for what is slow: what only
        it has is lost to the others. Raises `UnknownMember`, `MemberAlive` unless ``force``d, `NodeRetired`, and
        `ConfigError` for what names no member at all. A writer of a member is never closed by its id (`MemberAlive`).
        """
        found, writer = self.look_up_to_retire(member, force=force)
        if writer is None:
            self._driver.do(self._engine.retire(trio.current_time(), node_id_of(found)))
        else:
            self._driver.do(self._engine.retire_writer(trio.current_time(), writer))
        return found

    def look_up_to_retire(self, member: str | Member, *, force: bool = False) -> tuple[str, ReplicaId | None]:
        """What `retire` would return, and the writer that it would have closed; None if it would retire a node.

        Raises what `retire` would raise, and changes nothing.
        """
        self._check_running()
        if not isinstance(member, str | Member):
            raise ConfigError(
                f"a member is retired under its name or id, or as one of node.members(); not {member!r:.60}"
            )
        name = member if isinstance(member, str) else member.name
        try:
            found = self._names.node_of(member)
        except UnknownMember:
            writer = self._names.writer_of(member) if isinstance(member, str) else None
            if writer is None:
                raise
            self._engine.check_closable(writer)
            return writer, writer
        state = next((each.state for each in self.members() if each.id == found), "failed")
        if state in _TO_DO_FIRST and not force:
            raise MemberAlive(f"{name} is {state}: {_TO_DO_FIRST[state]} (`--force`, or `force=True`)")
        return found, None

    def unknown_writers(self) -> list[ReplicaId] | None:
        """The replica ids in the shared state that belong to no member and are not being closed, sorted.

        Such as those of nodes that vanished and were forgotten. While there are any, no writer is closed. None if the
        cluster is too large to list, as this node cannot tell then.
        """
        return self._engine.unknown_writers

    def retire_unknown(self, *, dry: bool = False) -> list[ReplicaId]:
        """Have all `unknown_writers` closed, one after the other, in the background; returns them.

        What they wrote stays. Raises `UnknownMember` if this node cannot tell yet which they are, and `NodeRetired`. If
        ``dry``, nothing is changed.
        """
        self._check_running()
        found = self._engine.retire_unknown(trio.current_time(), dry=dry)
        self._driver.do([])
        return found

    def name_of(self, replica_id: str) -> str:
        """The name of the node that writes under ``replica_id`` (`Change.writer`); the id itself if it is unknown."""
        if not isinstance(replica_id, str):
            raise ConfigError(f"a replica id is text, such as `Change.writer`, not {replica_id!r:.60}")
        return self._names.name_of(ReplicaId(replica_id))

    def replica_id_of(self, member: str | Member) -> ReplicaId:
        """The replica id that a member (or its name or id) writes under since it started: the other way round.

        Raises `UnknownMember`, also for one that has not said so yet. `BoundedCounter.transfer` here takes the name or
        id itself.
        """
        if not isinstance(member, str | Member):
            raise ConfigError(f"a member is named by its name or id, or one of node.members(); not {member!r:.60}")
        return self._names.replica_of(member if isinstance(member, str) else member.id)

    def __repr__(self) -> str:
        return f"<Node {self.name!r} {self.address}>"

    # ---- waiting

    async def flush(self) -> None:
        """Wait until every write so far is as durable as this node promises (in memory only: at once).

        Raises `DiskFailed` while the disk takes nothing: what was written before it failed is kept in memory, saved as
        soon as it can be, and lost if the process ends before. Raises `NotRunning`; raises
        `crdts.InTransaction` inside a transaction, as that may yet be undone.
        """
        self._check_running()
        self._replica.store.check_settled("flushing")
        await self._driver.flush()
        self._check_running()

    async def synced(self, to: int | Literal["all"] = "all", timeout: float | None = 5.0) -> int:
        """Wait until all writes made here so far have reached ``to`` live members, or all of them.

        Returns how many members have them. "All" are at least one: while a node is alone, its writes are nowhere else,
        and saying otherwise would be no help. Raises `SyncTimeout`, which names the members that lag, after ``timeout``
        seconds; None waits for as long as it takes. Raises `crdts.InTransaction` inside a transaction.
        """
        self._check_running()
        if to != "all" and (type(to) is not int or to < 0):
            raise ConfigError(f'synced(to=...) is "all" or a number of members, not {to!r:.60}')
        timeout = _checked_timeout(timeout)
        self._replica.store.check_settled("waiting for members")
        seq = self._last_seq()
        reached: int | None = None
        with trio.move_on_after(timeout), self._asking_for(seq):
            while not self._has_reached(seq, to):
                await self._changed()
            reached = len(self._engine.acked_by(seq)[0])
        await trio.lowlevel.checkpoint()
        if reached is not None:
            return reached  # a member that joins during the checkpoint is not waited for
        have, late = self._engine.acked_by(seq)
        if self._has_reached(seq, to):
            return len(have)
        if not have and not late:
            raise SyncTimeout(
                f"nobody else has the writes of {self.name} after {timeout:g} s: no other member is there"
            )
        wanted = len(have) + len(late) if to == "all" else to
        lagging = f"waiting for {', '.join(sorted(late))}" if late else "no further member is there"
        raise SyncTimeout(
            f"{len(have)} of {wanted} members have all writes of {self.name} after {timeout:g} s; {lagging}"
        )

    @property
    def has_written(self) -> bool:
        """True if the node has written anything since it started."""
        return self._replica.store.kernel.wrote and self._last_seq() > 0  # others wrote under a borrowed id before

    def _last_seq(self) -> int:
        last = self._replica.store.kernel.context.last(self._replica.replica_id)
        return last - 1 if self._last_words else last

    @contextmanager
    def _asking_for(self, seq: int) -> Iterator[None]:
        """Have members asked how far they are, until all have our writes up to ``seq`` or the block ends."""
        self._awaited.append(seq)
        self._driver.do(self._engine.await_acks(trio.current_time(), max(self._awaited)))
        try:
            yield
        finally:
            self._awaited.remove(seq)
            self._driver.do(self._engine.await_acks(trio.current_time(), max(self._awaited, default=0)))

    def _has_reached(self, seq: int, to: int | Literal["all"]) -> bool:
        have, late = self._engine.acked_by(seq)
        return len(have) >= (max(1, len(have) + len(late)) if to == "all" else to)

    def version(self) -> Version:
        """A causal token: everything this node has seen so far, its own writes included.

        Raises `crdts.InTransaction` inside a transaction, as that may yet be undone.
        """
        self._replica.store.check_settled("telling the version")
        return Version(self._replica.context)

    async def wait_for(self, version: Version | str) -> None:
        """Wait until this node has seen all that ``version``, of any node, stands for."""
        wanted = Version.parse(version) if isinstance(version, str) else version
        if not isinstance(wanted, Version):
            raise ConfigError(f"wait_for takes a Version or its text, not {type(wanted).__name__}")
        self._check_running()
        while not self._replica.store.kernel.context.covers(wanted.context):
            await self._changed()
        await trio.lowlevel.checkpoint()

    async def _changed(self) -> None:
        await self._driver.changed()
        self._check_running()

    def _check_running(self) -> None:
        if not self._driver.running:
            raise NotRunning(f"node {self.name} is closed; use it inside its `async with` block")

    # ---- what is kept

    def storage(self) -> Storage:
        """Where this node's data is kept, and how that is going: its `failure` is None while the disk works.

        Can be asked after the node has ended, too.
        """
        return self._keeper.storage()

    async def backup(self, path: str | os.PathLike[str], *, replace: bool = False) -> int:
        """Copy everything into one file, as of one moment after this call; returns its bytes.

        Reads and writes go on. The copy has nothing of this node's identity: `gossip restore` makes a data directory
        of it, for a new node. It is there whole or not at all, for its owner only. Raises `ConfigError` if there is
        such a file and it is not to be replaced, if none can be made there, if it would be in the data directory, or if
        all is in memory only; `DiskFailed` if either disk does not work; `DamagedData`; `NotRunning`.
        """
        try:
            await self.flush()
        except DiskFailed as error:
            raise DiskFailed(
                f"no backup was made, as it would lack what is not saved yet: {self._driver.disk_failure or error}. "
                "Mend that first; `gossip export` writes down meanwhile what the node has in memory"
            ) from None
        return await self._keeper.back_up(path, replace=replace)

    # ---- the end

    async def leave(self) -> int:
        """See to it that somebody else has our writes, then say goodbye; returns how many members have them all.

        Waits `SHUTDOWN_GRACE` seconds at most, and `DISK_GRACE` for a disk that does not answer. The end of the block
        does this too. From the call on writes raise `NotRunning`, as no member would wait for them; the node can still
        be read, and goes on taking in what others write. If the call is cancelled before the goodbye, the node stays a
        member and takes writes again. Raises `crdts.InTransaction` inside a transaction.
        """
        self._check_running()
        self._replica.store.check_settled("leaving")
        self._driver.end_writing("has been told to leave: write before leave(), or open the node again")
        try:
            seq = await self._hand_over()
        except BaseException:
            if not self._left:
                self._driver.resume_writing()
            raise
        if self._driver.keeps_nothing and not self.retired and not self._is_sole_holder(seq):
            with trio.CancelScope(shield=True):  # it cannot be undone
                await self._bequeath()
        self._say_goodbye()
        return len(self._engine.acked_by(seq)[0])

    def _say_goodbye(self) -> None:
        if not self._left:
            self._left = True
            self._driver.do(self._engine.leave())

    async def _bequeath(self) -> None:
        """Offer the writer id to a member, once, and wait for the answer a moment: see `Engine.has_heir`."""
        if self._has_bequeathed:
            return
        self._has_bequeathed = True
        self._driver.do(self._engine.bequeath(trio.current_time()))
        with trio.move_on_after(LAST_WORDS_GRACE):
            while self._engine.has_heir is None and self._may_be_heard():
                await self._changed()

    async def choose_writer(self) -> None:
        """Wait until it is certain which replica id this node writes under. For `open_node`.

        A node that keeps nothing may write on under a vacant id. Waits for some round trips where there is a member,
        and for `Config.probe_timeout` where there is none.
        """
        began, patience = trio.current_time(), self._engine.config.probe_timeout
        with trio.move_on_after(patience) as scope:
            while self._engine.is_undecided:
                if self.members():
                    scope.deadline = began + CHOICE_TIMEOUTS * patience
                await self._changed()

    async def _close_writer(self) -> None:
        """Say that this writer is over, and give that a moment to be heard: so its id can leave the contexts."""
        self._driver.resume_writing()
        with suppress(CrdtError):
            self._replica.retire(self._replica.replica_id)
            self._last_words = self._last_seq()
        self._driver.end_writing("is closed")
        self._driver.do(self._engine.flush(trio.current_time()))
        with trio.move_on_after(LAST_WORDS_GRACE), self._asking_for(self._last_words):
            while self._last_words and self._may_be_heard() and not self._engine.acked_by(self._last_words)[0]:
                await self._changed()

    async def _hand_over(self) -> int:
        """Wait until somebody has our writes so far, as long as there is anybody; returns the last one's seq.

        Not those made while we wait: who goes on writing would be ahead of its disk, and so of everybody, for ever.
        """
        seq = self._last_seq()
        if self.retired:
            return seq  # who could take them does not
        await self._save_last_writes()
        with trio.move_on_after(SHUTDOWN_GRACE):
            with self._asking_for(seq):
                while self._is_sole_holder(seq) and self._may_be_heard():
                    await self._changed()
        if self._is_sole_holder(seq):
            # Nobody was ever there, or all have left: that the last one takes its data with it is no surprise.
            tell = self._log.warning if self._may_be_heard(FAILED) else self._log.info
            tell(WRITES_UNSHARED, members=self._engine.acked_by(seq)[1])
        self._handed_over = seq
        return seq

    async def _save_last_writes(self) -> None:
        """First, as nobody is told of a write that is not saved."""
        try:
            with trio.fail_after(DISK_GRACE):
                await self._driver.flush(patiently=True)
        except (trio.TooSlowError, DiskFailed) as error:
            if isinstance(error, trio.TooSlowError):
                self._driver.note_silence()
            self._log.warning(WRITES_UNSAVED, batches=self._driver.unsaved_batches, why=self._driver.disk_failure)

    def _is_sole_holder(self, seq: int) -> bool:
        return seq > 0 and not self._engine.acked_by(seq)[0]

    def _may_be_heard(self, *besides: str) -> bool:
        """True if there is a member that is alive or just suspect, or in one of the states ``besides``, or may be."""
        members = self.members()
        there = (ALIVE, SUSPECT, *besides)
        return any(member.state in there for member in members) or (self._has_seeds and not members)

    async def finish(self) -> None:
        """Leave, if there is still anything to leave with. For `open_node`.

        A node that keeps its data in memory only says besides that nothing can come of it any more.
        """
        if isinstance(self._driver, Inherited) or not self._driver.running:
            return
        self._replica.store.abort_transaction()
        seq = self._last_seq()
        if seq != self._handed_over:  # else all of it was done, or tried and told of, by `leave`
            seq = await self._hand_over()
        if self.retired or not self._driver.keeps_nothing:
            self._say_goodbye()
            return
        if not self._is_sole_holder(self._last_seq()):
            await self._bequeath()
            if seq and self._engine.has_heir is False:
                await self._close_writer()
        self._left = True
        self._driver.do(self._engine.leave(keeps_nothing=True))

    def disown(self) -> None:
        """Refuse everything, in the copy of a node that a forked child has. The copy of a closed node can be read."""
        if self._driver.running:
            stands: Any = Inherited(self._engine.identity)
            self._driver.disown()
            self._replica.store.kernel = self._engine = self._driver = self._keeper = self._names = stands

    def close(self) -> None:
        """Refuse what is written from now on, and end every iteration over changes. For `open_node`."""
        if not isinstance(self._driver, Inherited):
            self._driver.stop()
        for watch in list(self._watches):
            watch.close()
