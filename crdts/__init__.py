"""Delta-state CRDTs: shared data types that merge without coordination. See README.md in this package."""

from .changes import Change
from .clock import HybridClock
from .codec import encode, encode_context
from .context import Context, Dot, ReplicaId
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
from .reconcile.reconcile import Reconciliation
from .replica import Replica
from .stats import Stats
from .store import Transaction
from .types.bounded import BoundedCounter
from .types.counters import GCounter, PNCounter
from .types.flags import DWFlag, EWFlag
from .types.lwwmap import LWWMap
from .types.ormap import ORMap
from .types.registers import LWWRegister, MVRegister
from .types.sets import GSet, ORSet, RWSet
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
