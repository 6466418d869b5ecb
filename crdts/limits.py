"""Bounds on what may enter a replica, from a local caller or from the network. Units are in the names.

They exist so that no single value, key or message can exhaust a peer: everything that passes them fits in one
stream frame of the node, and everything that fails them is refused before it is stored.
"""

from typing import Final

MAX_REPLICA_ID_BYTES: Final = 64
MAX_NAME_BYTES: Final = 255
MAX_NESTING: Final = 16
"""Maps in maps: how many names lead to an object, its own included."""
MAX_OBJECT_BYTES: Final = 2048
"""All of those names with their tags."""
MAX_KEY_BYTES: Final = 4096
"""A set element or a map key, encoded."""
MAX_VALUE_BYTES: Final = 1 << 20
"""One encoded value. Share a reference to anything larger."""
MAX_DEPTH: Final = 16
"""Nesting of lists and dicts inside one value."""
MAX_KILLS_PER_EVENT: Final = 4096
"""Dots one event may replace; an operation that observes more is written as several events."""
MAX_BATCH_EVENTS: Final = 16_384
"""Events of one transaction."""
MAX_BATCH_BYTES: Final = MAX_VALUE_BYTES + (256 << 10)
"""All events of one transaction, encoded: they travel in one piece."""
MAX_PREKILLED_OF_WRITER: Final = 131_072
"""Pre-killed dots of one writer: killed before they came, and not come yet. Twice as many as a kill log remembers,
because a replica that catches up hears of the killers first."""
MAX_PREKILLED: Final = 262_144
"""Pre-killed dots of all writers. Twice as many are taken from states, and while the victims come in the same delta."""
MAX_WRITERS: Final = 262_144
"""Writers in the context; retired ones do not count. Events of further writers are refused. Twice as many writers
are taken from states."""
MAX_SEQ: Final = (1 << 62) - 1
MAX_INT: Final = (1 << 64) - 1
MIN_INT: Final = -(1 << 64)
"""The integers CBOR holds without a tag."""
MAX_DELTA_BYTES: Final = 256 << 20
"""One encoded delta or state given to `decode`."""
