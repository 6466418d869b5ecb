"""The errors of this package: local ones say *you* did wrong, remote ones say *the peer* did.

Remote errors never leave the receive loop: they are counted under their reason and logged at most once a minute.
"""

from typing import ClassVar


class GossipError(Exception):
    """Base of every error this package raises on purpose."""


class LocalError(GossipError):
    """The caller asked for something that cannot be. The message says what, where and how to mend it."""


class ConfigError(LocalError, ValueError):
    """A setting is out of range or contradicts another."""


class AddressInUse(ConfigError):
    """Another process listens there already."""


class KeyFormatError(LocalError, ValueError):
    """A cluster key is not 32 bytes in base64. Make one with `gossip keygen`."""


class NotRunning(LocalError):
    """The node is closed, or was never started."""


class WrongThread(LocalError):
    """A node was used from a thread that it does not run in."""


class NodeRetired(LocalError):
    """The cluster has retired this node: it takes no part any more, under no epoch."""


class UnknownMember(LocalError):
    """No member, or more than one, is called like that."""


class MemberAlive(LocalError):
    """A member that is there cannot be retired: stop it first."""


class SyncTimeout(LocalError, TimeoutError):
    """Not everybody (or not enough members) had the data in time. The message names who is missing."""


class DataDirInUse(LocalError):
    """Another process runs on this data directory, or this one does already."""


class RemoteError(GossipError):
    """A peer sent what cannot be accepted. Nothing was changed by it."""

    reason: ClassVar[str] = "malformed"
    """The name it is counted under."""


class MalformedMessage(RemoteError):
    """Authenticated, but not a message of this protocol."""


class Unauthentic(RemoteError):
    """The seal is broken: another cluster's key, or altered bytes."""

    reason = "unauthentic"


class UnknownKey(RemoteError):
    """Sealed under a key that this node does not have, or not sealed at all."""

    reason = "unknown_key"


class Fenced(RemoteError):
    """Word of a node that was retired."""

    reason = "retired"


class UnknownVersion(RemoteError):
    """A protocol version that this node does not speak."""

    reason = "unknown_version"


class Oversized(RemoteError):
    """Larger than the configuration allows."""

    reason = "oversized"


class AbsurdIncarnation(RemoteError):
    """Word of a member's incarnation further ahead than it can have come."""

    reason = "absurd_incarnation"


class TooManyNames(RemoteError):
    """More addresses to look at than are remembered."""

    reason = "too_many_names"


class CrowdedHost(RemoteError):
    """One more member at a host that has as many as are listed of one."""

    reason = "crowded_host"


class UnprovenAddress(RemoteError):
    """An address that somebody named, and at which nobody answers."""

    reason = "unproven_address"
