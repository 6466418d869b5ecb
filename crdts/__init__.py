"""Delta-state CRDTs: shared data types that merge without coordination. See README.md in this package."""

from .clock import HybridClock
from .codec import decode, decode_context, encode, encode_context
from .context import Context, Dot
from .counters import GCounter, PNCounter
from .delta import Delta, Event
from .errors import CrdtError, DecodeError, InvalidValue, LocalError, LogTrimmed, RemoteError, UnsupportedType
from .lwwmap import LWWMap
from .orset import ORSet
from .registers import LWWRegister, MVRegister
from .replica import Replica
from .store import Change
from .values import Value

__all__ = [
    "Change",
    "Context",
    "CrdtError",
    "DecodeError",
    "Delta",
    "Dot",
    "Event",
    "GCounter",
    "HybridClock",
    "InvalidValue",
    "LWWMap",
    "LWWRegister",
    "LocalError",
    "LogTrimmed",
    "MVRegister",
    "ORSet",
    "PNCounter",
    "RemoteError",
    "Replica",
    "UnsupportedType",
    "Value",
    "decode",
    "decode_context",
    "encode",
    "encode_context",
]
