"""What can be wrong with stored data."""

from ..protocol.errors import LocalError


class StorageError(LocalError):
    """Base of what a disk can do to a node."""


class DiskFailed(StorageError):
    """The disk does not take what is to be written: it is full, read-only or broken. Nothing was written."""


class DamagedData(StorageError):
    """Stored data is not what was written."""


class UnknownFormat(StorageError):
    """The data was written by a later release."""
