"""What a host of replicas may use besides `crdts` itself: a node, a simulator, somebody else's transport.

`crdts` is for whoever reads and writes values. This is for whoever carries deltas, keeps them on a disk, judges them,
or watches them: the kernel and its parts. Nothing outside this package imports past these two.
"""

from .changes import same
from .checkpoint import Sweep, restored
from .clock import END_OF_TIME, date_of
from .codec import DELTA_BYTES, event_bytes, name_bytes
from .context import DotRange
from .delta import Batch, events_delta, state_delta
from .folds import winner
from .joining import PART_EVENTS, Joining
from .kernel import Kernel
from .limits import MAX_INT, MAX_NESTING, MAX_PREKILLED, MAX_REPLICA_ID_BYTES, MAX_VALUE_BYTES, MAX_WRITERS
from .marking import ContextMark
from .packing import pack, packed
from .reconcile.messages import VERSION as RECONCILIATION_VERSION
from .reconcile.reconcile import MIN_MESSAGE_BYTES
from .replica import TYPES
from .schema import BOUNDED, RETIRED, STAMPED, Limit, check_replica_id, names_of, type_tag
from .spelling import composed, told_apart
from .store import Store
from .types.base import Crdt
from .types.bounded import receivers
from .types.ormap import TYPE_OF_TAG, Accessors, view
from .values import encode_value, strict_loads

__all__ = [
    "BOUNDED",
    "DELTA_BYTES",
    "END_OF_TIME",
    "MAX_INT",
    "MAX_NESTING",
    "MAX_PREKILLED",
    "MAX_REPLICA_ID_BYTES",
    "MAX_VALUE_BYTES",
    "MAX_WRITERS",
    "MIN_MESSAGE_BYTES",
    "PART_EVENTS",
    "RECONCILIATION_VERSION",
    "RETIRED",
    "STAMPED",
    "TYPES",
    "TYPE_OF_TAG",
    "Accessors",
    "Batch",
    "ContextMark",
    "Crdt",
    "DotRange",
    "Joining",
    "Kernel",
    "Limit",
    "Store",
    "Sweep",
    "check_replica_id",
    "composed",
    "date_of",
    "encode_value",
    "event_bytes",
    "events_delta",
    "name_bytes",
    "names_of",
    "pack",
    "packed",
    "receivers",
    "restored",
    "same",
    "state_delta",
    "strict_loads",
    "told_apart",
    "type_tag",
    "view",
    "winner",
]
