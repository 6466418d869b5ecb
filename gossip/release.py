"""The version of this package, told to other members."""

from typing import Final

RELEASE: Final = "0.1.0"
