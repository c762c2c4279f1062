"""
Event ids: UUIDs that sort by time.

An observed event gets a random UUID version 7.
A derived or imported one gets a version 8 whose bits are a hash, so that the same cause gives the
same id again.
"""

from __future__ import annotations

import hashlib
import random
import re
from typing import Final

_VERSION_7: Final = 7
_VERSION_8: Final = 8
_VARIANT: Final = 0b10 << 14
_LOW_12: Final = (1 << 12) - 1
_LOW_14: Final = (1 << 14) - 1
_LOW_16: Final = (1 << 16) - 1
_LOW_32: Final = (1 << 32) - 1
_LOW_48: Final = (1 << 48) - 1


def _begin(micros: int, version: int) -> str:
    """Return what the ids of one millisecond begin with."""
    millis = max(micros // 1000, 0)
    return f"{millis >> 16 & _LOW_32:08x}-{millis & _LOW_16:04x}-{version:x}"


def earliest(micros: int) -> str:
    """Return what time-ordered ids of the instant *micros* and later are behind."""
    return _begin(micros, _VERSION_7).rpartition("-")[0]


class RandomIds:
    """
    New UUIDs of version 7.

    Args:
        source: Where their 74 random bits come from.
    """

    def __init__(self, source: random.Random) -> None:
        self._source = source
        self._bits = source.getrandbits
        #: The last millisecond, and what its ids begin with.
        self._latest = (-1, "")

    def reset_after_fork(self) -> None:
        """Draw other ids than the parent process."""
        self._source.seed()

    def new(self, micros: int) -> str:
        """Return an id for the instant *micros*."""
        millis = micros // 1000
        known, begin = self._latest
        if millis != known:
            begin = _begin(micros, _VERSION_7)
            self._latest = millis, begin
        bits = self._bits
        # Three small draws are cheaper than one large one, cut up.
        return f"{begin}{bits(12):03x}-{_VARIANT | bits(14):04x}-{bits(48):012x}"


def hashed_id(micros: int, *parts: object) -> str:
    """Return the UUID version 8 of *parts*, behind the time prefix of *micros*."""
    text = "\x1f".join([str(part) for part in parts])
    return _hashed(_begin(micros, _VERSION_8), text.encode("utf-8", "surrogatepass"))


def id_behind(cause: str, fallback_micros: int, what: bytes) -> str:
    """
    Return the UUID version 8 of *what*, behind the time prefix of the id *cause*.

    A cause whose id is no time-ordered UUID (a shop's own) lends *fallback_micros* instead.
    """
    if _TIME_ORDERED.fullmatch(cause):
        return _hashed(f"{cause[:14]}{_VERSION_8}", what)
    return _hashed(_begin(fallback_micros, _VERSION_8), what)


def _hashed(begin: str, what: bytes) -> str:
    bits = int.from_bytes(hashlib.blake2b(what, digest_size=10).digest())
    middle, variant = bits >> 62 & _LOW_12, _VARIANT | bits >> 48 & _LOW_14
    return f"{begin}{middle:03x}-{variant:04x}-{bits & _LOW_48:012x}"


_TIME_ORDERED: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[78][0-9a-f]{3}-[0-9a-f-]{17}")
