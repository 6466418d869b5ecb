"""Who else is there: members, their proven addresses, and the addresses still to be tried.

A simple failure detector for the time being: every digest is answered, so a member that leaves several in a row
unanswered has failed; any word from it brings it back. Failed members and silent seeds are tried for ever, so that
every partition heals by itself; nobody is forgotten unless the list is full.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from . import notices
from .fence import is_fenced
from .identity import Address, Identity
from .messages import Challenge, Hello, Known, Leave, Message, Proof, Roll, Welcome
from .output import Output
from .peers import ALIVE, FAILED, LEFT, Member, Peer, Peers
from .sampling import sample_targets
from .seal import OVERHEAD_BYTES
from .wire import COOKIE_BYTES, ENVELOPE_BYTES, HELLO_BYTES, KNOWN_BYTES

CANDIDATE_TRIES: Final = 6
SILENT_TRIES: Final = 5
"""Unanswered greetings of a seed after which a person should hear of it; a few seconds."""
MEMBERS_TOLD: Final = 24
"""Members named in one datagram."""


@dataclass(slots=True)
class _Attempt:
    due: float
    delay: float
    tries: int = 0


class Members:
    """The members and how they are met."""

    def __init__(self, output: Output) -> None:
        self._out = output
        self._peers = Peers()
        self._secret = output.rng.randbytes(32)
        self._seeds: dict[Address, _Attempt] = {}
        self._candidates: dict[Address, _Attempt] = {}
        self._greeted: dict[tuple[bytes, Address], tuple[str, int]] = {}
        self._due = float("inf")
        self._round: list[bytes] = []
        self._allowance = 0
        self.to_compare: list[Peer] = []
        """Members met, met again or back since this was last emptied: their data may differ from ours."""

    # ---- reading

    def alive(self) -> Sequence[Peer]:
        """Members believed to be there, in the order they were met. To be read at once: it is no copy."""
        return self._peers.in_state(ALIVE)

    def find(self, node_id: bytes) -> Peer | None:
        return self._peers.find(node_id)

    def proven(self, node_id: bytes, address: Address) -> Peer | None:
        """The member of that id, if it has proven to be at that address."""
        peer = self._peers.find(node_id)
        return peer if peer is not None and peer.address == address else None

    def listed(self) -> Collection[Peer]:
        """Everybody, in whatever state. To be read at once: it is no copy."""
        return self._peers.all()

    def echoes(self, source: Address, echo: bytes) -> bool:
        """Whether this is the cookie that we sent to that address."""
        return echo == self._cookie(source)

    def alive_mark(self) -> int:
        """Whom we believe to be alive, ourselves included, as one number; 0 if the list is full: one view of many."""
        return 0 if self._is_full() else self._roll()

    def snapshot(self, now: float) -> list[Member]:
        return [
            Member(p.node_id.hex(), p.name, p.address, p.state, max(0.0, now - p.since), p.epoch)
            for p in self._peers.all()
        ]

    # ---- meeting

    def set_seeds(self, now: float, addresses: list[Address]) -> None:
        """Where to look for the cluster. Called again whenever names are resolved again."""
        self._seeds = {a: self._seeds.get(a) or _Attempt(now, self._out.config.seed_retry) for a in addresses}
        self._due = self._earliest()

    def acquaint(self, now: float, members: Iterable[tuple[Identity, Address]]) -> None:
        """List these as alive, at proven addresses, without telling or asking anybody.

        Passed over are ourselves, who is listed already, and all that the list has no room for.
        """
        for identity, address in members:
            if self._is_full():
                return
            node_id = identity.node_id
            if node_id != self._out.identity.node_id and self._peers.find(node_id) is None:
                self._peers.add(Peer(node_id, identity.name, identity.epoch, address, now))

    def deadline(self) -> float:
        """When `tick` has somebody to greet; too early where a candidate has come by itself meanwhile."""
        return self._due

    def _earliest(self) -> float:
        return min((a.due for a in (*self._seeds.values(), *self._candidates.values())), default=float("inf"))

    def tick(self, now: float) -> None:
        """Greet the seeds and candidates that are due."""
        if now < self._due:
            return
        config = self._out.config
        for address, attempt in self._seeds.items():
            if attempt.due <= now:
                if self._peers.is_alive_at(address):
                    attempt.due, attempt.delay, attempt.tries = now + config.seed_retry_max, config.seed_retry, 0
                else:
                    self._greet(now, address, attempt)
        for address, attempt in list(self._candidates.items()):
            if attempt.due <= now:
                if self._peers.is_alive_at(address) or attempt.tries >= CANDIDATE_TRIES:
                    del self._candidates[address]
                else:
                    self._greet(now, address, attempt)
        self._due = self._earliest()

    def _greet(self, now: float, address: Address, attempt: _Attempt) -> None:
        attempt.tries += 1
        attempt.due = now + attempt.delay * self._out.rng.uniform(0.8, 1.2)
        attempt.delay = min(attempt.delay * 2, self._out.config.seed_retry_max)
        if attempt.tries == SILENT_TRIES and address in self._seeds:
            self._out.notify(
                notices.SEED_SILENT, seed=str(address), check="address, firewall, and that the key is the same"
            )
        self._send_hello(address)

    def _send_hello(self, address: Address) -> None:
        me = self._out.identity
        # The cookie is for an address, not yet for a node: who answers is what we want to know.
        hello = Hello(me.name, me.epoch, self._cookie(address))
        size = len(self._out.sealed([hello]))
        padding = bytes(max(0, HELLO_BYTES - size))
        self._out.send(address, [Hello(hello.name, hello.epoch, hello.cookie, padding)])

    def _cookie(self, address: Address) -> bytes:
        """Stateless: only somebody who received it at ``address`` can know it."""
        text = f"{address[0]} {address[1]}".encode()
        return blake2b(text, key=self._secret, digest_size=COOKIE_BYTES).digest()

    def datagram_arrived(self, size: int) -> None:
        """Until the next one, answers to an address that may be forged take ``size`` bytes in all at most."""
        self._allowance = size

    def handle(self, now: float, sender: bytes, source: Address, message: Message) -> bool:
        """Take a message about membership; return False if it is about something else."""
        match message:
            case Hello():
                self._on_hello(now, sender, source, message)
            case Welcome():
                if message.echo == self._cookie(source):
                    self._admit(now, sender, source, message.name, message.epoch)
                    self._out.send(source, [Proof(message.cookie)])
                else:  # it answers from another address than it was greeted at: see whether it is really there
                    self.challenge(source)
            case Challenge():
                self._on_challenge(sender, source, message)
            case Proof():
                if message.echo == self._cookie(source):
                    self._on_proof(now, sender, source)
            case Known() | Roll() | Leave():
                peer = self.proven(sender, source)
                if peer is not None:
                    self._on_word(now, peer, message)
            case _:
                return False
        return True

    def _on_word(self, now: float, peer: Peer, message: Known | Roll | Leave) -> None:
        """What is taken only from a member at its proven address."""
        match message:
            case Known():
                self._on_known(now, message)
            case Roll():
                self._on_roll(peer, message)
            case Leave():
                self._on_leave(now, peer, message.epoch)

    def challenge(self, source: Address) -> None:
        """Ask an address for proof, if that takes no more bytes than it sent."""
        self._reply(source, [Challenge(self._cookie(source))])

    def _reply(self, source: Address, messages: list[Message]) -> None:
        """Answer an address that may be forged: never with more than it sent, or it could be used against others."""
        size = len(self._out.sealed(messages))
        if size <= self._allowance:
            self._allowance -= size
            self._out.send(source, messages)

    def _on_challenge(self, sender: bytes, source: Address, challenge: Challenge) -> None:
        """Prove where we are, if we may have written to that address, so that it has a reason to ask.

        Else whoever forges a source could let us prove to others that we are there.
        """
        known = source in self._seeds or source in self._candidates or (sender, source) in self._greeted
        if known or self.proven(sender, source) is not None:
            self._reply(source, [Proof(challenge.cookie)])

    def recognise_self(self, source: Address) -> None:
        """Our own words came back from ``source``: greeting it is of little use.

        Of some, though: whoever forges the source of our own datagrams must not talk us out of a seed.
        """
        self._candidates.pop(source, None)
        if source in self._seeds:
            self._seeds[source].delay = self._out.config.seed_retry_max

    def _on_hello(self, now: float, sender: bytes, source: Address, hello: Hello) -> None:
        me = self._out.identity
        self._reply(source, [Welcome(me.name, me.epoch, hello.cookie, self._cookie(source))])
        peer = self.proven(sender, source)
        if peer is not None:
            self._admit(now, sender, source, hello.name, hello.epoch)
            return
        self._greeted[sender, source] = (hello.name, hello.epoch)
        if len(self._greeted) > self._out.config.max_candidates:
            del self._greeted[next(iter(self._greeted))]

    def _on_proof(self, now: float, sender: bytes, source: Address) -> None:
        greeted = self._greeted.pop((sender, source), None)
        if greeted is not None:
            self._admit(now, sender, source, *greeted)
        elif self.proven(sender, source) is None:
            self._send_hello(source)  # it is there, and we do not know its name yet

    def _admit(self, now: float, node_id: bytes, address: Address, name: str, epoch: int) -> None:
        """A node has proven that it is at ``address``."""
        self._candidates.pop(address, None)
        peer = self._peers.find(node_id)
        if peer is None:
            if self._is_full() and not self._forget_one():
                self._out.notify_rarely(now, notices.MEMBERS_FULL, member=name, limit=self._out.config.max_members)
                return
            peer = Peer(node_id, name, epoch, address, now)
            self._peers.add(peer)
            self._out.notify(notices.MEMBER_JOINED, **_fields(peer))
            self._introduce(peer)
            self.to_compare.append(peer)
            return
        if epoch < peer.epoch or (epoch == peer.epoch and peer.state == LEFT):
            return  # word of an earlier life, overtaken on its way
        moved, restarted = peer.address != address, epoch > peer.epoch
        if moved:
            self._peers.move(peer, address)
            self._out.notify(notices.MEMBER_MOVED, **_fields(peer))
        peer.name = name
        if restarted:
            self._begin_life(peer, epoch)
        self._revive(now, peer)
        if moved or restarted:  # the others look for it where it was, and it may have forgotten them
            self._introduce(peer)

    def _begin_life(self, peer: Peer, epoch: int) -> None:
        """A member has been started again: what its former life had acknowledged may be lost."""
        peer.epoch, peer.acked, peer.strange_rounds = epoch, 0, 0
        self._out.notify(notices.MEMBER_RESTARTED, **_fields(peer))
        self.to_compare.append(peer)

    def _forget_one(self) -> bool:
        """Make room in a full list: of who left, or else of who failed, the one that is gone longest.

        Short-lived nodes without a data directory are new members each time; without this they would fill the list
        for good. One that comes back after all is met anew.
        """
        for state in (LEFT, FAILED):
            gone = self._peers.in_state(state)
            if gone:
                self._peers.remove(min(gone, key=lambda peer: peer.since))
                return True
        return False

    def _introduce(self, newcomer: Peer) -> None:
        """Name the others to a newcomer, and the newcomer to some of the others."""
        others = sample_targets(self.alive(), self._told_at_once(), self._out.rng, but=newcomer.node_id)
        self._name(others, newcomer)
        for peer in others:
            self._out.send(peer.address, [Known(((newcomer.node_id, newcomer.address),))])

    def forget(self, node_id: bytes) -> None:
        """Strike off a member that was retired."""
        peer = self._peers.find(node_id)
        if peer is not None:
            self._peers.remove(peer)
            self._candidates.pop(peer.address, None)
            self._out.notify(notices.MEMBER_RETIRED, **_fields(peer))

    def withdraw(self) -> None:
        """Forget everybody: from now on nobody is greeted or told anything."""
        for peer in list(self._peers.all()):
            self._peers.remove(peer)
        self._seeds, self._candidates, self._greeted = {}, {}, {}
        self.to_compare.clear()
        self._due = float("inf")

    def call_roll(self) -> list[Message]:
        """What rides on a digest so that lists grow equal, whatever introductions are lost. Nothing if ours is full:
        then it is one view of a larger cluster, and meant to differ from others.
        """
        return [] if self._is_full() else [Roll(self._roll())]

    def _roll(self) -> int:
        return self._peers.alive_mark ^ int.from_bytes(self._out.identity.node_id)

    def _is_full(self) -> bool:
        return len(self._peers) >= self._out.config.max_members

    def _on_roll(self, peer: Peer, roll: Roll) -> None:
        if roll.mark != self._roll():
            others = sample_targets(self.alive(), self._told_at_once(), self._out.rng, but=peer.node_id)
            self._name(others, peer)

    def _name(self, some: Sequence[Peer], to: Peer) -> None:
        if some:
            self._out.send(to.address, [Known(tuple((peer.node_id, peer.address) for peer in some))])

    def _told_at_once(self) -> int:
        """Members named in one datagram at most."""
        return min(MEMBERS_TOLD, (self._out.config.datagram_bytes - OVERHEAD_BYTES - ENVELOPE_BYTES) // KNOWN_BYTES)

    def _on_known(self, now: float, known: Known) -> None:
        if self._is_full() and len(self.alive()) == len(self._peers):
            return  # there is no room for anybody new
        for node_id, address in known.members:
            peer = self._peers.find(node_id)
            if node_id == self._out.identity.node_id or (peer is not None and peer.state == ALIVE):
                continue
            if is_fenced(self._out.kernel, node_id):
                continue
            if address not in self._candidates and len(self._candidates) < self._out.config.max_candidates:
                self._candidates[address] = _Attempt(now, self._out.config.seed_retry)
                self._due = min(self._due, now)

    def _on_leave(self, now: float, peer: Peer, epoch: int) -> None:
        if epoch >= peer.epoch and peer.state != LEFT:
            peer.epoch = epoch
            self._peers.turn(peer, LEFT, now)
            self._out.notify(notices.MEMBER_LEFT, **_fields(peer))

    # ---- watching

    def heard(self, now: float, peer: Peer, epoch: int) -> None:
        """Any authentic word of a member from its proven address, in its present life or the next."""
        self._peers.heard(peer)
        restarted = epoch > peer.epoch
        if restarted:
            self._begin_life(peer, epoch)
        if restarted or peer.state == FAILED:
            self._revive(now, peer)
        if restarted:
            self._introduce(peer)

    def _revive(self, now: float, peer: Peer) -> None:
        self._peers.heard(peer)
        if peer.state != ALIVE:
            self._peers.turn(peer, ALIVE, now)
            self._out.notify(notices.MEMBER_RETURNED, **_fields(peer))
            self.to_compare.append(peer)

    def next_to_ask(self, now: float) -> list[Peer]:
        """Whose turn it is to get a digest: the next of a shuffled round, and now and then a failed one.

        Besides them those that have been silent for more than one digest: many that die at once must not keep us
        from the living.
        """
        next_one = self._next_of_round()
        asked = [] if next_one is None else [next_one]
        failed = self._peers.in_state(FAILED)
        if failed and self._out.rng.random() < len(failed) / (len(self.alive()) + 1):
            asked.append(self._out.rng.choice(failed))
        asked += [peer for peer in self._peers.silent(self._out.config.fanout) if peer not in asked]
        for peer in asked:
            self._count_question(now, peer)
        return asked

    def _next_of_round(self) -> Peer | None:
        """A living member: all of them in random order, and when all had their turn, from the start."""
        while True:
            if not self._round:
                self._round = [peer.node_id for peer in self.alive()]
                if not self._round:
                    return None
            at = self._out.rng.randrange(len(self._round))
            self._round[at], self._round[-1] = self._round[-1], self._round[at]
            peer = self._peers.find(self._round.pop())
            if peer is not None and peer.state == ALIVE:
                return peer

    def _count_question(self, now: float, peer: Peer) -> None:
        self._peers.asked(peer)
        if peer.state == ALIVE and peer.unanswered > self._out.config.probe_misses:
            self._peers.turn(peer, FAILED, now)
            self._out.notify(notices.MEMBER_FAILED, **_fields(peer))

    def say_goodbye(self, besides: Sequence[Message] = ()) -> None:
        """Tell every member that we leave on purpose."""
        for peer in self.alive():
            self._out.send(peer.address, [Leave(self._out.identity.epoch), *besides])


def _fields(peer: Peer) -> dict[str, object]:
    return {
        "member": peer.name,
        "member_id": peer.node_id.hex(),
        "address": str(peer.address),
        "epoch": peer.epoch,
    }
