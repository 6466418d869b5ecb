"""The errors of this package: local ones say *you* did wrong, remote ones say *the bytes* did.

The split follows h11: a caller mends its code after a `LocalError`, and drops or counts the input after a
`RemoteError`.
"""


class CrdtError(Exception):
    """Base of every error this package raises on purpose."""


class LocalError(CrdtError):
    """The caller asked for something that can never be right. Mend the call."""


class RemoteError(CrdtError):
    """Bytes or a delta from elsewhere are not acceptable. Nothing was changed by them."""


class UnsupportedType(LocalError, TypeError):
    """A value, key or argument is of a type that cannot be shared. The message names the type."""


class InvalidValue(LocalError, ValueError):
    """A value or argument is of the right type but out of range. The message names the range."""


class WrongClock(LocalError):
    """The clock shows a time that no stamp can tell. Set it: last-writer-wins values cannot be written until then."""


class InsufficientRights(LocalError):
    """A bounded counter's writer wants to spend more than it holds here. Ask a holder for a transfer."""


class InTransaction(LocalError):
    """Something that must not happen while a transaction is open: merging, handing out deltas, retiring."""


class WriterRetired(LocalError):
    """This replica's own id has been retired: go on under a new one."""


class DecodeError(RemoteError, ValueError):
    """Encoded bytes are not a valid canonical delta or context. The message names the first fault found."""


class ForeignDelta(RemoteError, ValueError):
    """A delta belongs to another object than the one it was given to. The message names both."""


class OutOfStep(RemoteError):
    """A message of a reconciliation is not the one that is awaited; start a new one."""


class LogTrimmed(LocalError):
    """The kill log no longer reaches back to what was asked for; ask for a state instead."""
