"""Causal tokens: what a node has seen, to be handed to somebody who must not see less."""

import base64
import binascii
from dataclasses import dataclass
from typing import Self

from crdts import Context, DecodeError, decode_context, encode_context

from .protocol.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Version:
    """Everything a node had processed at one moment. ``str(version)`` is short text that survives any channel."""

    context: Context

    @classmethod
    def parse(cls, text: str) -> Self:
        """The version that ``str(version)`` was made of; raises `ConfigError`."""
        if not isinstance(text, str):
            raise ConfigError(f"a version is text, as str(node.version()) gives; not {text!r:.60}")
        try:
            return cls(decode_context(base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))))
        except (binascii.Error, ValueError, DecodeError):
            raise ConfigError(f"{text[:40]!r} is not a version; it takes what str(node.version()) gives") from None

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(encode_context(self.context)).decode().rstrip("=")
