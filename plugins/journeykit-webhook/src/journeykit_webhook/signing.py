"""Signatures of Standard Webhooks 1.0, scheme `v1`: HMAC-SHA256."""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX: Final = "whsec_"
_LEAST, _MOST = 24, 64


def key_of(secret: str) -> bytes:
    """
    Return the key in *secret*: `whsec_` and base64.

    Raises:
        ValueError: It is none; the message does not show it.
    """
    try:
        key = base64.b64decode(secret.strip().removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not _LEAST <= len(key) <= _MOST:
        msg = (
            f"the secret is not what Standard Webhooks asks for: {PREFIX} and the base64 of "
            f"{_LEAST} to {_MOST} random bytes"
        )
        raise ValueError(msg)
    return key


class Signer:
    """Signs with each of *keys*, the one in force first."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._keys = tuple(keys)

    def headers(self, message_id: str, seconds: int, body: bytes) -> dict[str, str]:
        """Return what stands in the head of a request that is sent at *seconds* since the epoch."""
        signed = b"%s.%d.%s" % (message_id.encode(), seconds, body)
        signatures = [
            "v1," + binascii.b2a_base64(hmac.digest(key, signed, "sha256"), newline=False).decode()
            for key in self._keys
        ]
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": " ".join(signatures),
        }
