"""The failure detector: SWIM probes with Lifeguard's refinements.

Each round one member, in a shuffled order that takes everybody once, is pinged. If it does not answer in time, a few
others are asked to ping it; if nobody reaches it, it is suspect, and pinged again and again while patience lasts. Only
who has evidence of its own fails a member; the others believe it (Das, Gupta, Motivala: SWIM, DSN 2002; Dadgar,
Phillips, Currey: Lifeguard, 2018). Failed members are tried now and then for ever, so that every partition heals.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ..identity import NodeId
from ..output import Output
from ..wire.codec import MAX_PATIENCE
from ..wire.messages import ACCUSED, Ack, Message, Nack, Ping, PingRequest, Updates
from .farewells import Farewells
from .health import Health
from .membership import Members
from .peers import SUSPECT, Peer
from .pings import Pings, SentPing
from .requests import Requests
from .sampling import sample_targets
from .suspicion import Suspicion

MAX_SUSPICIONS: Final = 64
"""Suspicions of our own at a time, at most: many that die at once are found one after the other."""
REQUEST_SHARE: Final = 0.8
"""The share of the probe timeout that a helper waits at least for the target. The rest is for the helper's word to
come in time."""
LAG_SHARE: Final = 0.25
"""The share of the probe timeout by which a call of `tick` may be late before it counts as poor health."""
RTT_WEIGHT: Final = 0.2
"""The weight of a new round trip in their mean. More than in RFC 6298, as each member is pinged rarely."""
JITTER_WEIGHT: Final = 0.25
"""The weight of a new deviation in the mean deviation, the jitter (as in RFC 6298)."""
JITTERS: Final = 4.0
"""An answer may take the mean round trip and this many times the jitter (RFC 6298)."""


@dataclass(slots=True)
class _Probe:
    """The round's question to one member: two pings, then the help of others and two more."""

    target: Peer
    due: float
    pings: int = 1
    wait: float = 0.0
    """Seconds from asking helpers to giving up."""
    asked: int = 0
    """Members whose help was asked for."""
    nacks: list[NodeId] = field(default_factory=list)
    """The helpers that answered that they do not reach the target either."""


class Detector:
    """Finds out who is gone."""

    def __init__(self, output: Output, members: Members, compare: Callable[[Peer], None], now: float) -> None:
        """``compare`` compares our data with those of the member that is probed."""
        self._out = output
        self._members = members
        self._compare = compare
        self._health = Health()
        self._pings = Pings(output)
        self._requests = Requests(output, members, self._pings)
        self._probes: dict[NodeId, _Probe] = {}
        self._typical: tuple[float, float] | None = None
        """The smoothed round trip and jitter over all members, in seconds; None before the first answer."""
        self._suspicions: dict[NodeId, Suspicion] = {}
        self._farewells = Farewells(members, self._ping_again, self._wait_for)
        self._round: list[NodeId] = []
        self._next_probe = now + output.rng.uniform(0.0, output.config.probe_interval)
        self._next_shuffle = now + output.rng.uniform(0.0, output.config.shuffle_interval)
        self._refutations = 0
        self._due = self._next_probe

    # ---- time

    def deadline(self) -> float:
        return self._due

    def _reckon(self) -> None:
        suspicions = [
            min(suspicion.due, suspicion.next_ping)
            if _is_pinged(self._members.find(node_id), suspicion)
            else suspicion.due
            for node_id, suspicion in self._suspicions.items()
        ]
        probes = [probe.due for probe in self._probes.values()]
        others = self._requests.deadline(), self._farewells.deadline()
        self._due = min([self._next_probe, *suspicions, *probes, *others])

    def tick(self, now: float) -> None:
        if now < self._due:
            return
        self._note_lag(now, now - self._due)
        self._note_refutations()
        self._requests.tick(now)
        for probe in list(self._probes.values()):
            if now >= probe.due:
                self._go_on(now, probe)
        self._watch_suspects(now)
        self._farewells.tick(now)
        if now >= self._next_probe:
            self._next_probe = now + self._out.config.probe_interval * self._out.rng.uniform(0.9, 1.1)
            self._begin_round(now)
        self._reckon()

    def _note_lag(self, now: float, lag: float) -> None:
        """We could not run in time: answers may wait unread, so nobody is to be blamed for them yet."""
        if lag > self._out.config.probe_timeout * LAG_SHARE:
            self._health.worsen()
            for probe in self._probes.values():
                probe.due = max(probe.due + lag, now + self._out.config.probe_timeout * LAG_SHARE)
            for suspicion in self._suspicions.values():
                suspicion.postpone(lag)
            self._out.counts["lags"] += 1

    def _note_refutations(self) -> None:
        if self._members.refutations > self._refutations:
            self._refutations = self._members.refutations
            self._health.worsen()

    # ---- rounds

    def _begin_round(self, now: float) -> None:
        shuffle = None
        if now >= self._next_shuffle:
            self._next_shuffle = now + self._out.config.shuffle_interval * self._out.rng.uniform(0.9, 1.1)
            shuffle = self._members.begin_shuffle(now)
        target, riders = shuffle or (self._next_of_round(), [])
        if target is not None:
            self._probe(now, target, riders)
        missing, alive = self._members.missing(), self._members.alive()
        if missing and self._out.rng.random() < len(missing) / (len(alive) + 1):
            self._try(now, self._out.rng.choice(missing))
        for peer in self._members.to_probe:
            self._ping(now, peer)
        self._members.to_probe.clear()

    def _try(self, now: float, missing: Peer) -> None:
        """See whether a missing member is back."""
        if missing.is_proven:
            self._ping(now, missing)
        else:
            self._members.greet(now, missing)

    def _next_of_round(self) -> Peer | None:
        """A member that counts: all of them in random order, and when all had their turn, from the start."""
        while True:
            if not self._round:
                pool = self._members.targets() if self._members.is_partial else self._members.alive()
                self._round = [peer.node_id for peer in pool]
                if not self._round:
                    return None
            at = self._out.rng.randrange(len(self._round))
            self._round[at], self._round[-1] = self._round[-1], self._round[at]
            peer = self._members.find(self._round.pop())
            if peer is not None and peer.is_present:
                return peer

    def _probe(self, now: float, target: Peer, riders: list[Message]) -> None:
        self._ping(now, target, riders)
        suspicion = self._suspicions.get(target.node_id)
        if target.node_id not in self._probes and (suspicion is None or not suspicion.ours):
            self._probes[target.node_id] = _Probe(target, now + self._wait_for(target))

    def _wait_for(self, target: Peer) -> float:
        """Seconds after which an answer is late: the mean round trip, and its jitter or half of the probe timeout."""
        mean, jitter = self._round_trip(target)
        config = self._out.config
        wait = mean + max(JITTERS * jitter, config.probe_timeout / 2)
        return min(wait, max(config.probe_timeout_max, config.probe_timeout / 2)) * self._health.factor

    def _round_trip(self, peer: Peer) -> tuple[float, float]:
        """Mean and jitter of the round trips to a member, in seconds.

        Before the first answer to a ping, the mean is what its greeting took, and the jitter half of that. Without
        either, both are those over all members.
        """
        if peer.rtt is None:
            return self._typical or (0.0, 0.0)
        return peer.rtt, peer.jitter or peer.rtt / 2

    def _note_round_trip(self, peer: Peer, rtt: float) -> None:
        if peer.rtt is None or not peer.jitter:
            peer.rtt, peer.jitter = rtt, rtt / 2
        else:
            peer.rtt, peer.jitter = _smoothed(peer.rtt, peer.jitter, rtt)
        self._typical = _smoothed(*self._typical, rtt) if self._typical else (rtt, rtt / 2)

    def _ping(self, now: float, target: Peer, riders: list[Message] | None = None) -> None:
        """Ping a member, with our digest, and with what it should know of our view of it."""
        number = self._pings.number(SentPing(target.node_id, target.address, now))
        messages: list[Message] = [
            Ping(number),
            *(riders or []),
            *self._members.call_roll(target),
            *self._members.news(),
        ]
        if not target.is_present or target.state == SUSPECT:
            messages.append(self._members.state_of(target))
        self._out.send(target.address, messages)
        self._compare(target)

    def _ping_again(self, now: float, target: Peer) -> None:
        """Nothing but the question, and what the member should contradict if it can, wherever it may be."""
        for address in (target.address, *target.others[:1]):
            messages: list[Message] = [Ping(self._pings.number(SentPing(target.node_id, address, now)))]
            if target.state == SUSPECT:
                messages.append(self._members.state_of(target))
            self._out.send(address, messages)

    def _go_on(self, now: float, probe: _Probe) -> None:
        """A probe has not been answered in time."""
        if self._members.find(probe.target.node_id) is not probe.target or not probe.target.is_present:
            del self._probes[probe.target.node_id]
        elif probe.pings == 1:
            probe.pings = 2
            probe.due = now + self._wait_for(probe.target)
            self._ping_again(now, probe.target)
        elif probe.pings == 2:
            probe.pings = 3
            self._ask_for_help(now, probe)
            probe.due = now + probe.wait / 2
            self._ping_again(now, probe.target)
        elif probe.pings == 3:
            probe.pings = 4
            probe.due = now + probe.wait / 2
            self._ping_again(now, probe.target)
        else:
            del self._probes[probe.target.node_id]
            self._health.worsen(max(0, probe.asked - len(probe.nacks)) if probe.asked else 1)
            self._suspect(now, probe)

    def _ask_for_help(self, now: float, probe: _Probe) -> None:
        out, target = self._out, probe.target.node_id
        helpers = sample_targets(self._members.alive(), out.config.indirect_probes, out.rng, but=target)
        probe.asked = len(helpers)
        asked = tuple(helper.node_id for helper in helpers)
        number = self._pings.number(SentPing(target, probe.target.address, now, helpers=asked))
        there, back = self._waits_for_help(probe.target, helpers)
        probe.wait = there + back
        patience = max(1, min(round(1000 * there), MAX_PATIENCE))
        for helper in helpers:
            out.send(helper.address, [PingRequest(number, target, patience)])

    def _waits_for_help(self, target: Peer, helpers: list[Peer]) -> tuple[float, float]:
        """Seconds that helpers shall wait for the target, and seconds that their answers then take to come back.

        The target may be as far from a helper as the helper and the target are from us together.
        """
        timeout, factor = self._out.config.probe_timeout, self._health.factor
        trips = [self._round_trip(helper) for helper in helpers]
        farthest = max((mean for mean, _ in trips), default=0.0)
        latest = max((mean + JITTERS * jitter for mean, jitter in trips), default=0.0)
        there = max(timeout * REQUEST_SHARE * factor, farthest + self._wait_for(target))
        back = max(timeout * (1 - REQUEST_SHARE), min(latest, self._out.config.probe_timeout_max)) * factor
        return there, back

    # ---- answers

    def handle(self, now: float, peer: Peer, message: Message) -> bool:
        """Take a message of a member at its proven address; return False if it is about something else."""
        match message:
            case Ping():
                self._out.send(peer.address, self._members.goodbye() or [Ack(message.number), *self._members.news()])
            case PingRequest():
                self._requests.take(now, peer, message)
                self._due = min(self._due, self._requests.deadline())
            case Ack():
                self._on_ack(now, peer, message)
            case Nack():
                self._on_nack(now, peer, message)
            case _:
                return False
        return True

    def _on_ack(self, now: float, peer: Peer, ack: Ack) -> None:
        ping = self._pings.asked(now, ack.number)
        if ping is None:
            return
        if ping.target != peer.node_id:
            target = self._members.find(ping.target)
            if target is not None and peer.node_id in ping.helpers:
                self._pings.has_answered(ack.number, peer.node_id)
                self._is_there(now, target)
            return
        self._pings.forget(ack.number)
        self._requests.answered(ack.number, ping)
        rtt = now - ping.sent
        if ping.address != peer.address and peer.is_at(ping.address):
            self._members.move(now, peer, ping.address)
        if ping.requester is None:  # one for another member may have been sent twice, and answered the first time
            self._note_round_trip(peer, rtt)
        self._is_there(now, peer)

    def _is_there(self, now: float, peer: Peer) -> None:
        if self._probes.pop(peer.node_id, None) is not None:
            self._health.improve()
        self._suspicions.pop(peer.node_id, None)
        self._farewells.answered(now, peer)
        self._reckon()
        self._members.confirm(now, peer)

    def _on_nack(self, now: float, peer: Peer, nack: Nack) -> None:
        ping = self._pings.asked(now, nack.number)
        if ping is None or peer.node_id not in ping.helpers:
            return
        if probe := self._probes.get(ping.target):
            if peer.node_id not in probe.nacks:
                probe.nacks.append(peer.node_id)
        elif suspicion := self._suspicions.get(ping.target):
            suspicion.confirm(peer.node_id)

    def ask_those_said_to_have_left(self, now: float) -> None:
        """Ask the members that left according to others whether that is so."""
        self._farewells.begin(now)
        self._due = min(self._due, self._farewells.deadline())

    # ---- suspicions

    def note_accusations(self, sender: Peer, updates: Updates) -> None:
        """Others miss members too."""
        for row in updates.rows:
            if row.state == ACCUSED and row.node_id in self._suspicions:
                self._suspicions[row.node_id].confirm(sender.node_id)

    def _suspect(self, now: float, probe: _Probe) -> None:
        if sum(suspicion.ours for suspicion in self._suspicions.values()) >= MAX_SUSPICIONS:
            return
        suspicion = Suspicion(now, self._out.config, len(self._members.alive()), ours=True)
        for helper in probe.nacks:
            suspicion.confirm(helper)
        self._suspicions[probe.target.node_id] = suspicion
        self._members.suspect(now, probe.target)

    def _watch_suspects(self, now: float) -> None:
        for peer in self._members.in_state(SUSPECT):
            if peer.node_id not in self._suspicions:  # what others suspect
                count = len(self._members.alive())
                self._suspicions[peer.node_id] = Suspicion(now, self._out.config, count, ours=False)
        for node_id, suspicion in list(self._suspicions.items()):
            suspect = self._members.find(node_id)
            if suspect is None or suspect.state != SUSPECT:
                del self._suspicions[node_id]
            else:
                self._watch(now, suspect, suspicion)

    def _watch(self, now: float, suspect: Peer, suspicion: Suspicion) -> None:
        is_pinged = _is_pinged(suspect, suspicion)
        if now >= suspicion.due:
            del self._suspicions[suspect.node_id]
            if is_pinged:
                self._members.fail(now, suspect)
            else:
                self._members.acquit(now, suspect)
        elif is_pinged and now >= suspicion.next_ping:
            suspicion.next_ping = now + self._out.config.probe_timeout / 2
            self._ping_again(now, suspect)


def _smoothed(mean: float, jitter: float, sample: float) -> tuple[float, float]:
    """The mean and the mean deviation with one more round trip (as in RFC 6298)."""
    return mean + RTT_WEIGHT * (sample - mean), jitter + JITTER_WEIGHT * (abs(sample - mean) - jitter)


def _is_pinged(suspect: Peer | None, suspicion: Suspicion) -> bool:
    """True if we ping the suspect: it has not answered us, or others are sure and we do not take their word."""
    return suspicion.ours or (suspect is not None and suspect.has_obituary)
