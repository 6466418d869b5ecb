"""Where every part of the engine puts what is to be done; the one place that seals, counts and waits for the disk."""

import random
from collections import Counter, deque
from collections.abc import Iterable
from typing import Final

from crdts import Context, Delta, Event, Replica
from crdts.embedding import DotRange, Joining

from . import notices
from .config import Config
from .effects import Close, Effect, Notify, OpenStream, Persist, Remember, Rename, Send, Write
from .errors import RemoteError
from .identity import Address, Hint, Identity, NodeId
from .statistics import Statistics
from .wire.codec import MAX_MESSAGES, assemble, encode_message
from .wire.messages import Message
from .wire.seal import OVERHEAD_BYTES, Seal

MESSAGES_OVERHEAD_BYTES: Final = OVERHEAD_BYTES + 20
"""What a datagram takes besides its messages at most: the seal, the sender and its epoch."""
RARELY: Final = 60.0
"""Seconds between two notices of something that a peer can cause at will."""


class Output:
    """Collects effects, and holds back what must not leave before the disk has what it tells of.

    The replica is ahead of the disk between a mutation and `persisted`. Anything computed from the replica in that
    time (an event, a context, a filler for an entry that the mutation replaced) would let a peer see what a crash can
    still undo, so it goes through `send_data` or `write_data`, which wait for the disk. Handshakes do not.
    """

    def __init__(self, identity: Identity, config: Config, rng: random.Random, replica: Replica, seal: Seal) -> None:
        self.identity = identity
        self.config = config
        self.rng = rng
        self.replica = replica
        self.kernel = replica.store.kernel
        self.seal = seal
        self.is_undecided = False
        """True while it is open which replica id this node writes under; see `borrowing`."""
        self.contested = ""
        """Why somebody else must be who we are, for people, as far as members say; empty if none does."""
        self.counts: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self._told: dict[tuple[str, str], float] = {}
        self._effects: list[Effect] = []
        self._outgoing: dict[Address, list[bytes]] = {}
        self._held: deque[tuple[int, Effect]] = deque()
        self._unsaved: list[Event] = []
        self._unsaved_runs: list[DotRange] = []
        self._unsaved_states: list[Delta] = []
        self._token = 0
        self._durable = 0

    def take_identity(self, identity: Identity) -> None:
        """Go on as somebody else. What waits to be sent in our former name is not sent; the disk gets all the same."""
        self._outgoing.clear()
        self._held.clear()
        self.write_on_as(identity)

    def write_on_as(self, identity: Identity) -> None:
        """Write under the replica id of ``identity`` from now on, and say that in what is sent."""
        self.identity = identity
        self.kernel.go_on_as(identity.replica_id)
        self._effects.append(Rename(identity))

    def drain(self) -> list[Effect]:
        """What has been put here since the last call, in order."""
        if self._outgoing:
            self._send_outgoing()
        effects, self._effects = self._effects, []
        return effects

    # ---- to the network

    def send(self, address: Address, messages: Iterable[Message]) -> None:
        """Send what tells nothing of the replica, with whatever else goes there by the next `drain`."""
        encoded = [*map(encode_message, messages)]
        if encoded:
            self._outgoing.setdefault(address, []).extend(encoded)

    def send_data(self, address: Address, messages: Iterable[Message]) -> None:
        """Send what tells of the replica, as soon as the disk has it."""
        if self._durable < self.save():
            self.send_sealed([address], self.sealed(messages))
        else:
            self.send(address, messages)

    def _send_outgoing(self) -> None:
        """Whatever goes to one address shares datagrams: most of the cost is in their number."""
        outgoing, self._outgoing = self._outgoing, {}
        for address, encoded in outgoing.items():
            start, size = 0, MESSAGES_OVERHEAD_BYTES
            for end, message in enumerate(encoded):
                size += len(message)
                if end > start and (size > self.config.datagram_bytes or end - start == MAX_MESSAGES):
                    self._send_encoded(address, encoded[start:end])
                    start, size = end, MESSAGES_OVERHEAD_BYTES + len(message)
            self._send_encoded(address, encoded[start:])

    def _send_encoded(self, address: Address, encoded: list[bytes]) -> None:
        self._release(Send(address, self._seal(assemble(self.identity.node_id, self.identity.epoch, encoded))))

    def size(self, messages: Iterable[Message]) -> int:
        """Bytes of a datagram with only these."""
        return len(self.sealed(messages))

    def send_sealed(self, addresses: Iterable[Address], datagram: bytes) -> None:
        """Like `send_data`, for one datagram that several members get."""
        for address in addresses:
            if len(self._held) < self.config.max_held:
                self._after_disk(Send(address, datagram))
            else:
                self.counts["held_dropped"] += 1

    def write_data(self, conn: int, data: bytes) -> None:
        """Write to a stream as soon as the disk has what ``data`` tells of. Streams pace themselves: never dropped."""
        self._after_disk(Write(conn, data))

    def abandon(self, conn: int, *, is_open: bool = True) -> None:
        """Drop what waits to be written to a stream, and close the stream at once if it ``is_open``.

        While the disk fails, nothing may pile up for streams that are of no more use.
        """
        if any(_is_for(conn, effect) for _, effect in self._held):
            self._held = deque(each for each in self._held if not _is_for(conn, each[1]))
        if is_open:
            self._effects.append(Close(conn))

    def emit(self, effect: Effect) -> None:
        """Any effect that tells nothing of the replica, behind what is waiting for the disk on the same stream."""
        self._after_disk(effect)

    def sealed(self, messages: Iterable[Message]) -> bytes:
        """``messages`` as the bytes of one datagram."""
        return self._seal(assemble(self.identity.node_id, self.identity.epoch, [*map(encode_message, messages)]))

    def _seal(self, datagram: bytes) -> bytes:
        return self.seal.seal(datagram, self.rng)

    # ---- to the replica

    def merge(
        self, now: float, delta: Delta, sender: NodeId, *, pushed: bool = False, prepared: Joining | None = None
    ) -> list[Event]:
        """Join what ``sender`` sent, by a push or to repair one that was lost; count it; return what was new."""
        clock = self.replica.store.clock
        refused, before, crowded = clock.refused, self.kernel.processed, self.kernel.room.refused
        new = self.replica.store.merge(delta, prepared)
        if not delta.is_state:
            self.counts["events_new"] += len(new)
            self.counts["events_repaired"] += 0 if pushed else len(new)
            self.counts["events_known"] += len(delta.events) - len(new)
            if self.kernel.processed > before:  # else a slow disk would be given the same again and again
                self._unsaved_runs.extend(delta.runs)
        if self.kernel.room.refused > crowded:
            self.counts["events_refused"] += self.kernel.room.refused - crowded
            self.notify_rarely(now, notices.EVENTS_REFUSED, sender=sender.hex(), count=self.kernel.room.refused)
        if clock.refused > refused:
            self.counts["stamps_refused"] += clock.refused - refused
            self.notify_rarely(now, notices.STAMP_REFUSED, sender=sender.hex(), count=clock.refused)
        return new

    def join(self, now: float, state: Delta, sender: NodeId, prepared: Joining | None = None) -> bool:
        """Join a whole state that ``sender`` sent, and have it saved, in pieces if its entries were ``prepared``.

        Returns False if the state was refused: it goes beyond the limit of a retired writer, or there is no room.
        """
        before = self.kernel.processed
        pieces = prepared.pieces(state.context or Context(), state.prekilled) if prepared is not None else [state]
        self.merge(now, state, sender, prepared=prepared)
        if self.kernel.processed == before:  # the count of what is refused may grow although it was joined
            return False
        self.unsaved_state(pieces)
        return True

    # ---- to the disk

    def unsaved(self, events: Iterable[Event]) -> None:
        """Events that were applied and not yet handed to the disk."""
        self._unsaved.extend(events)

    def unsaved_state(self, pieces: Iterable[Delta]) -> None:
        """The pieces of a state that was joined, in order. They end their batch: later events may build on them."""
        self._unsaved_states += pieces
        self.save()

    def save(self) -> int:
        """Hand everything unsaved to the disk; return the token that will be reported when it is there."""
        if self._is_behind():
            self._token += 1
            unsaved = tuple(self._unsaved), tuple(self._unsaved_runs), tuple(self._unsaved_states)
            self._effects.append(Persist(self._token, *unsaved))
            self._unsaved, self._unsaved_runs, self._unsaved_states = [], [], []
        return self._token

    def _is_behind(self) -> bool:
        """True if events were applied that have not been handed to the disk."""
        return bool(self._unsaved or self._unsaved_runs or self._unsaved_states)

    def persisted(self, token: int) -> None:
        """The disk has everything up to ``token``; release what waited for it."""
        self._durable = max(self._durable, token)
        while self._held and self._held[0][0] <= self._durable:
            self._release(self._held.popleft()[1])

    @property
    def durable(self) -> bool:
        """True if the disk has everything that was applied."""
        return self._durable == self._token and not self._is_behind()

    def is_durable(self, token: int) -> bool:
        return token <= self._durable

    def _after_disk(self, effect: Effect) -> None:
        token = self.save()
        if self._durable < token:
            self._held.append((token, effect))
        else:
            self._release(effect)

    def _release(self, effect: Effect) -> None:
        if isinstance(effect, Send):
            self.counts["datagrams_sent"] += 1
            self.counts["datagram_bytes_sent"] += len(effect.data)
        self._effects.append(effect)

    def remember(self, hints: tuple[Hint, ...]) -> None:
        """Have the disk keep these hints for the next start."""
        self._effects.append(Remember(hints, self.seal.key_id))

    # ---- to people

    def notify(self, event: str, **fields: object) -> None:
        self._effects.append(Notify(event, fields))

    def notify_rarely(self, now: float, event: str, *, kind: str = "", **fields: object) -> None:
        """Like `notify`, at most once in `RARELY` for each event and kind, of which there are few: for what a peer can
        cause at will."""
        last = self._told.get((event, kind))
        if last is None or now - last >= RARELY:
            self._told[event, kind] = now
            self.notify(event, **fields)

    def reject(self, now: float, error: RemoteError, source: Address) -> None:
        """Count refused input under its reason, and tell of it rarely."""
        reason = error.reason
        count = self.rejected[reason] = self.rejected[reason] + 1
        fields = {"reason": reason, "detail": str(error), "source": str(source), "count": count}
        self.notify_rarely(now, notices.INPUT_REJECTED, kind=reason, **fields)

    def statistics(self) -> Statistics:
        return Statistics(**self.counts, rejected=dict(self.rejected))


def _is_for(conn: int, effect: Effect) -> bool:
    return isinstance(effect, Write | OpenStream) and effect.conn == conn
