"""Peer-to-peer nodes that share state without a server. See README.md in this package."""

from crdts import Change

from .faults import TransportFaults
from .node import Node
from .open import open_node
from .protocol import Address, Config, Member, Statistics, new_key
from .protocol.errors import (
    ConfigError,
    DataDirInUse,
    GossipError,
    KeyFormatError,
    LocalError,
    NotRunning,
    RemoteError,
    SyncTimeout,
    WrongThread,
)
from .version import Version
from .watch import Watch

__all__ = [
    "Address",
    "Change",
    "Config",
    "ConfigError",
    "DataDirInUse",
    "GossipError",
    "KeyFormatError",
    "LocalError",
    "Member",
    "Node",
    "NotRunning",
    "RemoteError",
    "Statistics",
    "SyncTimeout",
    "TransportFaults",
    "Version",
    "Watch",
    "WrongThread",
    "new_key",
    "open_node",
]
