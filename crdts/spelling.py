"""One spelling for each name: a letter with an accent can be written in several ways that look the same.

The accessors compose the names of objects (Unicode's normal form NFC). Names that are stored, or come from others, stay
as they are; an object that is stored under another spelling is an object of its own. Map keys, set elements and values
are data, and are never changed.
"""

from unicodedata import is_normalized, normalize


def composed(name: str) -> str:
    """``name`` in Unicode's form NFC. Anything but text is returned as it is, for the caller to refuse."""
    return name if not isinstance(name, str) or name.isascii() else normalize("NFC", name)


def told_apart(name: str) -> str:
    """``name`` to be shown to people: with escapes if it is not in form NFC, and so looks like another name."""
    return name if name.isascii() or is_normalized("NFC", name) else ascii(name)[1:-1]
