"""How addresses are proven: cookies, and the seeds and candidates that are greeted until they answer.

A cookie is sent to an address; only a node that receives there can send it back. A greeting has a fresh cookie, so its
answer also shows that the node is there now, and how far away. The cookie of a challenge proves the address only. An
address that has not proven itself so is sent nothing but greetings, and never more bytes than came from it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final

from .. import notices
from ..errors import UnprovenAddress
from ..identity import NOBODY, Address, NodeId
from ..output import Output
from ..wire.codec import COOKIE_BYTES, HELLO_BYTES
from ..wire.messages import Challenge, Hello, Message, Proof, Welcome
from .pings import longest_answer
from .roster import Roster

CANDIDATE_TRIES: Final = 8
EAGER_RETRY_MAX: Final = 1.0
"""Seconds at most between two greetings of a candidate, as somebody has just named it, and of a seed at first."""
EAGER_TRIES: Final = 20
"""Greetings after which a seed is tried ever more rarely."""
COOKIES_KEPT: Final = 4
"""The latest unanswered greetings of one address whose answers count: round trips may be longer than retries."""
QUESTIONS: Final = 2
"""Answers to greetings are waited for from at most this many times `Config.max_candidates` addresses."""
HINT_TRIES: Final = 6
"""Unanswered greetings, some seconds apart in all, after which a member of a former life counts as missing."""
SILENT_TRIES: Final = 5
"""Unanswered greetings of a seed after which a person should hear of it; a few seconds."""


@dataclass(frozen=True, slots=True)
class Proven:
    """A node has proven that it is at an address."""

    node_id: NodeId
    address: Address
    name: str
    epoch: int
    known: int
    """Members that it knows of."""
    rtt: float | None
    """Seconds it took to answer, if it was asked."""
    has_answered: bool
    """True if the node has just shown that it hears us."""


class _Questions:
    """Cookies that were sent and not answered yet. Each is fresh, so that no recorded answer counts."""

    def __init__(self, output: Output) -> None:
        self._out = output
        self._asked: dict[tuple[NodeId, Address], dict[bytes, float]] = {}

    def ask(self, now: float, address: Address, node_id: NodeId = NOBODY) -> bytes:
        """A fresh cookie for an address, and for the node there if its id is known."""
        cookie = self._out.rng.randbytes(COOKIE_BYTES)
        asked = self._asked.setdefault((node_id, address), {})
        asked[cookie] = now
        if len(asked) > COOKIES_KEPT:
            del asked[next(iter(asked))]
        if len(self._asked) > QUESTIONS * self._out.config.max_candidates:
            del self._asked[next(iter(self._asked))]
        return cookie

    def is_asked_since(self, when: float, address: Address) -> bool:
        """True if the address, whatever node is there, was asked later than ``when`` and has not answered yet."""
        return max(self._asked.get((NOBODY, address), {}).values(), default=when) > when

    def is_open(self, echo: bytes, address: Address) -> bool:
        """True if that cookie was sent to the address, for no node in particular, and was not answered yet."""
        return echo in self._asked.get((NOBODY, address), ())

    def answer(self, now: float, echo: bytes, address: Address, node_id: NodeId = NOBODY) -> float | None:
        """Take an answer; return the seconds that it took, or None if no such question is open."""
        sent = self._asked.get((node_id, address), {}).get(echo)
        if sent is None:
            return None
        del self._asked[node_id, address]
        return now - sent


@dataclass(slots=True)
class _Attempt:
    due: float
    delay: float
    tries: int = 0


class Greeter:
    """Greets, answers greetings, and says who has proven where it is."""

    def __init__(self, output: Output, roster: Roster) -> None:
        self._out = output
        self._roster = roster
        self._peers = roster.peers
        self._secret = output.rng.randbytes(32)
        self._seeds: dict[Address, _Attempt] = {}
        self._candidates: dict[Address, _Attempt] = {}
        self._hints: dict[Address, _Attempt] = {}
        self.unanswered: list[Address] = []
        """Addresses of hints where no node answered, since this list was last emptied."""
        self._greeted: dict[tuple[NodeId, Address], tuple[str, int, int]] = {}
        self._hellos = _Questions(output)
        self._welcomes = _Questions(output)
        self._due = float("inf")
        self._allowance = 0

    # ---- whom to greet

    def set_seeds(self, now: float, addresses: Iterable[Address]) -> None:
        """Where to look for the cluster. Called again whenever names are resolved again."""
        self._seeds = {a: self._seeds.get(a) or _Attempt(now, self._out.config.seed_retry) for a in addresses}
        self._due = self._earliest()

    @property
    def seeds(self) -> list[Address]:
        return list(self._seeds)

    def add_candidate(self, now: float, address: Address, node_id: NodeId = NOBODY) -> bool:
        """Greet an address that was only heard of, a few times; False if there are too many of them already.

        If who is said to be there has the lower id, let it greet first: it has most likely heard of us too.
        """
        if address in self._candidates:
            return True
        if len(self._candidates) >= self._out.config.max_candidates:
            return False
        due = now + (self._out.config.seed_retry if b"" < node_id < self._out.identity.node_id else 0.0)
        self._candidates[address] = _Attempt(due, self._out.config.seed_retry)
        self._due = min(self._due, due)
        return True

    def add_hint(self, now: float, address: Address) -> None:
        """Greet an address where a member was in a former life. It goes to `unanswered` if no node answers."""
        due = now + self._out.rng.uniform(0.0, self._out.config.seed_retry)
        self._hints[address] = _Attempt(due, self._out.config.seed_retry)
        self._due = min(self._due, due)

    def drop(self, address: Address) -> None:
        """Greet a candidate or hint no more."""
        self._candidates.pop(address, None)
        self._hints.pop(address, None)

    def withdraw(self) -> None:
        """Greet nobody any more."""
        self._seeds, self._candidates, self._hints, self._greeted = {}, {}, {}, {}
        self._due = float("inf")

    @property
    def candidates(self) -> int:
        """How many there are."""
        return len(self._candidates)

    def deadline(self) -> float:
        """When `tick` has somebody to greet; too early where a candidate has come by itself meanwhile."""
        return self._due

    def _earliest(self) -> float:
        attempts = (*self._seeds.values(), *self._candidates.values(), *self._hints.values())
        return min((attempt.due for attempt in attempts), default=float("inf"))

    def tick(self, now: float) -> None:
        """Greet the seeds and candidates that are due."""
        if now < self._due:
            return
        config = self._out.config
        for address, attempt in self._seeds.items():
            if attempt.due <= now:
                if self._peers.is_present_at(address):
                    attempt.due, attempt.delay, attempt.tries = now + config.seed_retry_max, config.seed_retry, 0
                else:
                    self._greet(now, address, attempt)
        for address, attempt in list(self._candidates.items()):
            if attempt.due <= now:
                if attempt.tries >= CANDIDATE_TRIES:
                    del self._candidates[address]
                    self._out.reject(now, UnprovenAddress(f"nobody answers at {address}"), address)
                else:
                    self._greet(now, address, attempt)
        self._greet_hints(now)
        self._due = self._earliest()

    def _greet_hints(self, now: float) -> None:
        for address, attempt in list(self._hints.items()):
            if attempt.due > now:
                continue
            seed = self._seeds.get(address)
            if self._peers.is_present_at(address):
                del self._hints[address]
            elif max(attempt.tries, 0 if seed is None else seed.tries) >= HINT_TRIES:
                del self._hints[address]
                self.unanswered.append(address)
            elif seed is None:
                self._greet(now, address, attempt)
            else:  # it is greeted as a seed already
                attempt.due = now + EAGER_RETRY_MAX

    def _greet(self, now: float, address: Address, attempt: _Attempt) -> None:
        attempt.tries += 1
        attempt.due = now + attempt.delay * self._out.rng.uniform(0.8, 1.2)
        is_seed = address in self._seeds
        config = self._out.config
        eager = attempt.tries < EAGER_TRIES
        most = max(EAGER_RETRY_MAX, config.seed_retry) if eager else config.seed_retry_max
        attempt.delay = min(attempt.delay * 2, most)
        if attempt.tries == SILENT_TRIES and is_seed:
            self._out.notify(
                notices.SEED_SILENT, seed=str(address), check="address, firewall, and that the key is the same"
            )
        self.greet(now, address)

    def greet(self, now: float, address: Address) -> None:
        """Say hello, padded so that no answer to it can be longer."""
        me = self._out.identity
        # The cookie is for an address, not yet for a node: who answers is what we want to know.
        hello = Hello(me.name, me.epoch, self._roster.known, self._hellos.ask(now, address))
        padding = bytes(max(0, HELLO_BYTES - self._out.size([hello])))
        self._out.send(address, [replace(hello, padding=padding)])

    def _cookie(self, address: Address) -> bytes:
        """The cookie of a challenge. Nothing is kept of it; only a node that received it at ``address`` can know it."""
        text = f"{address[0]} {address[1]}".encode()
        return blake2b(text, key=self._secret, digest_size=COOKIE_BYTES).digest()

    def echoes(self, source: Address, echo: bytes) -> bool:
        """True if ``echo`` is a cookie of a greeting that we sent to that address and that is not answered yet."""
        return self._hellos.is_open(echo, source)

    # ---- answering

    def datagram_arrived(self, size: int) -> None:
        """Until the next one, answers to an address that may be forged take ``size`` bytes in all at most."""
        self._allowance = size

    def handle(self, now: float, sender: NodeId, source: Address, message: Message) -> tuple[bool, Proven | None]:
        """Take a message about addresses: whether it is one, and who has proven an address by it."""
        match message:
            case Hello():
                return True, self._on_hello(now, sender, source, message)
            case Welcome():
                return True, self._on_welcome(now, sender, source, message)
            case Challenge():
                self._on_challenge(sender, source, message)
                return True, None
            case Proof():
                return True, self._on_proof(now, sender, source, message)
            case _:
                return False, None

    def challenge(self, source: Address) -> None:
        """Ask an address for proof, if that takes no more bytes than it sent."""
        self._reply(source, [Challenge(self._cookie(source))])

    def _reply(self, source: Address, messages: list[Message]) -> None:
        """Answer an address that may be forged: never with more than it sent, or it could be used against others."""
        size = self._out.size(messages)
        if size <= self._allowance:
            self._allowance -= size
            self._out.send(source, messages)

    def _on_hello(self, now: float, sender: NodeId, source: Address, hello: Hello) -> Proven | None:
        me = self._out.identity
        cookie = self._welcomes.ask(now, source, sender)
        self._reply(source, [Welcome(me.name, me.epoch, self._roster.known, hello.cookie, cookie)])
        peer = self._peers.find(sender)
        if peer is not None and peer.is_at(source) and peer.can_be_in(hello.epoch):
            return Proven(sender, source, hello.name, hello.epoch, hello.known, None, has_answered=False)
        self._greeted[sender, source] = (hello.name, hello.epoch, hello.known)
        if len(self._greeted) > self._out.config.max_candidates:
            del self._greeted[next(iter(self._greeted))]
        return None

    def _on_welcome(self, now: float, sender: NodeId, source: Address, welcome: Welcome) -> Proven | None:
        rtt = self._hellos.answer(now, welcome.echo, source)
        if rtt is None:
            self.challenge(source)  # from another address than was greeted, or once more: is it really there?
            return None
        self._out.send(source, [Proof(welcome.cookie)])
        self.drop(source)
        return Proven(sender, source, welcome.name, welcome.epoch, welcome.known, rtt, has_answered=self._counts(rtt))

    def _on_challenge(self, sender: NodeId, source: Address, challenge: Challenge) -> None:
        """Prove where we are, if we may have written to that address, so that it has a reason to ask.

        Else whoever forges a source could let us prove to others that we are there.
        """
        expected = (*self._seeds, *self._candidates, *self._hints)
        known = source in expected or (sender, source) in self._greeted
        if known or self._is_proven(sender, source):
            self._reply(source, [Proof(challenge.cookie)])

    def _on_proof(self, now: float, sender: NodeId, source: Address, proof: Proof) -> Proven | None:
        rtt = self._welcomes.answer(now, proof.echo, source, sender)
        if rtt is None and proof.echo != self._cookie(source):
            return None
        self._candidates.pop(source, None)
        greeted = self._greeted.pop((sender, source), None)
        if greeted is not None:
            return Proven(sender, source, *greeted, rtt, has_answered=rtt is not None and self._counts(rtt))
        # The node is there, and its name is not known yet. Without the pause, greetings that cross would go round for
        # ever: each answer belongs to a greeting that later ones have pushed out, so it is challenged, which ends here.
        if not self._is_proven(sender, source) and not self._hellos.is_asked_since(
            now - self._out.config.seed_retry, source
        ):
            self.greet(now, source)
        return None

    def _counts(self, rtt: float) -> bool:
        """True if an answer that took so long shows that the node is there; the network may have kept it for longer."""
        return rtt <= longest_answer(self._out.config)

    def _is_proven(self, sender: NodeId, source: Address) -> bool:
        peer = self._peers.find(sender)
        return peer is not None and peer.is_at(source)

    def recognise_self(self, source: Address) -> None:
        """Our own words came back from ``source``: greeting it is of little use.

        Of some, though: whoever forges the source of our own datagrams must not talk us out of a seed.
        """
        self._candidates.pop(source, None)
        if source in self._seeds:
            self._seeds[source].delay = self._out.config.seed_retry_max
