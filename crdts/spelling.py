"""One spelling for what people call one name: letters with accents can be written in several ways that look the same.

Names of objects are composed (Unicode's normal form NFC) where a program gives them. What is stored, or comes from
others, stays as it is: an object that was named otherwise before is another one, to be read and told apart. Map keys,
set elements and values are data, and never changed.
"""

from unicodedata import is_normalized, normalize


def composed(name: str) -> str:
    """``name`` in the spelling under which things are named; anything but text as it is, for others to refuse."""
    return name if not isinstance(name, str) or name.isascii() else normalize("NFC", name)


def told_apart(name: str) -> str:
    """``name`` for people: by its code points if it is not spelled as names are, and so looks like another one."""
    return name if name.isascii() or is_normalized("NFC", name) else ascii(name)[1:-1]
