"""The protocol core: pure state machines, no I/O, no clock, no global randomness."""

from .config import Config
from .effects import Close, Effect, Notify, OpenStream, Persist, Remember, Rename, Send, Write
from .engine import Engine
from .identity import Address, Hint, Identity, NodeId
from .membership.peers import Member
from .statistics import Statistics
from .wire.seal import Seal, new_key, parse_key, seal_for

__all__ = [
    "Address",
    "Close",
    "Config",
    "Effect",
    "Engine",
    "Hint",
    "Identity",
    "Member",
    "NodeId",
    "Notify",
    "OpenStream",
    "Persist",
    "Remember",
    "Rename",
    "Seal",
    "Send",
    "Statistics",
    "Write",
    "new_key",
    "parse_key",
    "seal_for",
]
