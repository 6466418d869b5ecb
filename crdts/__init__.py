"""Delta-state CRDTs: shared data types that merge without coordination. See README.md in this package."""

from .bounded import BoundedCounter
from .changes import Change
from .clock import HybridClock
from .codec import encode, encode_context
from .context import Context, Dot, ReplicaId
from .counters import GCounter, PNCounter
from .decoding import decode, decode_context
from .delta import Delta, Event
from .errors import (
    CrdtError,
    DecodeError,
    ForeignDelta,
    InsufficientRights,
    InTransaction,
    InvalidValue,
    LocalError,
    LogTrimmed,
    OutOfStep,
    RemoteError,
    UnsupportedType,
    WriterRetired,
    WrongClock,
)
from .flags import DWFlag, EWFlag
from .lwwmap import LWWMap
from .ormap import ORMap
from .reconcile import Reconciliation
from .registers import LWWRegister, MVRegister
from .replica import Replica
from .sets import GSet, ORSet, RWSet
from .stats import Stats
from .store import Transaction
from .values import Value

__all__ = [
    "BoundedCounter",
    "Change",
    "Context",
    "CrdtError",
    "DWFlag",
    "DecodeError",
    "Delta",
    "Dot",
    "EWFlag",
    "Event",
    "ForeignDelta",
    "GCounter",
    "GSet",
    "HybridClock",
    "InTransaction",
    "InsufficientRights",
    "InvalidValue",
    "LWWMap",
    "LWWRegister",
    "LocalError",
    "LogTrimmed",
    "MVRegister",
    "ORMap",
    "ORSet",
    "OutOfStep",
    "PNCounter",
    "RWSet",
    "Reconciliation",
    "RemoteError",
    "Replica",
    "ReplicaId",
    "Stats",
    "Transaction",
    "UnsupportedType",
    "Value",
    "WriterRetired",
    "WrongClock",
    "decode",
    "decode_context",
    "encode",
    "encode_context",
]
