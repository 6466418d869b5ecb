"""Peer-to-peer nodes that share state without a server. See README.md in this package."""

from crdts import Change

from .keeping import Storage
from .log import LogLoss
from .node import Node
from .open import open_node
from .protocol import Address, Config, Member, Statistics, new_key
from .protocol.errors import (
    ConfigError,
    DataDirInUse,
    GossipError,
    KeyFormatError,
    LocalError,
    MemberAlive,
    NodeRetired,
    NotRunning,
    RemoteError,
    SyncTimeout,
    UnknownMember,
    WrongThread,
)
from .runtime.collector import short_collections
from .runtime.faults import TransportFaults
from .storage.errors import DamagedData, DiskFailed, StorageError, UnknownFormat
from .version import Version
from .watch import Watch

__all__ = [
    "Address",
    "Change",
    "Config",
    "ConfigError",
    "DamagedData",
    "DataDirInUse",
    "DiskFailed",
    "GossipError",
    "KeyFormatError",
    "LocalError",
    "LogLoss",
    "Member",
    "MemberAlive",
    "Node",
    "NodeRetired",
    "NotRunning",
    "RemoteError",
    "Statistics",
    "Storage",
    "StorageError",
    "SyncTimeout",
    "TransportFaults",
    "UnknownFormat",
    "UnknownMember",
    "Version",
    "Watch",
    "WrongThread",
    "new_key",
    "open_node",
    "short_collections",
]
