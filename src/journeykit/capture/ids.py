"""
Event ids: UUIDs that sort by time.

An observed event gets a random UUID version 7.
A derived or imported one gets a version 8 whose bits are a hash, so that the same cause gives the
same id again.
"""

from __future__ import annotations

import hashlib
import random
from typing import Final

_VERSION_7: Final = 0x7 << 76
_VERSION_8: Final = 0x8 << 76
_VARIANT: Final = 0b10 << 62
_LOW_62: Final = (1 << 62) - 1
_LOW_48: Final = (1 << 48) - 1


def _text(number: int) -> str:
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _assemble(micros: int, version: int, bits: int) -> str:
    millis = max(micros // 1000, 0) & _LOW_48
    low = bits & _LOW_62
    middle = (bits >> 62) & 0xFFF
    return _text(millis << 80 | version | middle << 64 | _VARIANT | low)


def random_id(micros: int, source: random.Random) -> str:
    """Return a new UUID version 7 for the instant *micros*, its other 74 bits from *source*."""
    return _assemble(micros, _VERSION_7, source.getrandbits(74))


def hashed_id(micros: int, *parts: object) -> str:
    """Return the UUID version 8 of *parts*, behind the time prefix of *micros*."""
    text = "\x1f".join(str(part) for part in parts)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=10).digest()
    return _assemble(micros, _VERSION_8, int.from_bytes(digest))


def id_behind(cause: str, fallback_micros: int, *parts: object) -> str:
    """
    Return the hashed id of *parts* behind the time prefix of the id *cause*.

    A cause whose id is no time-ordered UUID (a shop's own) lends *fallback_micros* instead.
    """
    prefix = cause.replace("-", "")[:12]
    is_uuid = len(cause) == 36 and cause[14] in "78"
    try:
        micros = int(prefix, 16) * 1000 if is_uuid else fallback_micros
    except ValueError:
        micros = fallback_micros
    return hashed_id(micros, *parts)
