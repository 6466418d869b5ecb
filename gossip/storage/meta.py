"""What a node's file says under a name, and the checksums that tell whether a row is what was written."""

import sqlite3
from hashlib import blake2b
from pathlib import Path
from typing import Any

import cbor2

from .errors import DamagedData
from .rows import SUM_BYTES


def sum_of(*columns: object) -> bytes:
    """The checksum of a row."""
    return blake2b(cbor2.dumps(columns), digest_size=SUM_BYTES).digest()


def sum_in(path: Path, data: object) -> bytes:
    """The checksum that stored bytes begin with; raises `DamagedData`."""
    if type(data) is not bytes:
        raise DamagedData(f"{path}: a row is of another type than it was written with")
    return data[:SUM_BYTES]


def check_sum(path: Path, found: object, *columns: object) -> None:
    """Raises `DamagedData` if ``found`` is not the checksum of these."""
    if found != sum_of(*columns):
        raise DamagedData(f"{path}: a row has another checksum than it was written with")


def get_meta(connection: sqlite3.Connection, path: Path, key: str) -> Any:
    """The value of ``key``; None if there is none. Raises `DamagedData`, or what SQLite raises."""
    found = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    if found is None:
        return None
    try:
        body = found[0][SUM_BYTES:]
        check_sum(path, sum_in(path, found[0]), key, body)
        return cbor2.loads(body)
    except (cbor2.CBORDecodeError, TypeError) as error:
        raise DamagedData(f"{path}: {key}: {error}") from None


def put_meta(connection: sqlite3.Connection, key: str, value: Any) -> None:
    """Write the value of ``key``, in place of the former one. Raises what SQLite raises."""
    body = cbor2.dumps(value)
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, sum_of(key, body) + body))
