"""The marker that each event carries, so that one pattern counts all wire forms."""

from __future__ import annotations

import base64
import gzip
import re

_MARKER = re.compile(rb"jkb\d{7}")
#: Where snowplow keeps an event's properties.
_BASE64 = re.compile(rb'"ue_px":\s*"([^"]+)"')
_GZIP = b"\x1f\x8b"


def marker(number: int) -> str:
    return f"jkb{number:07d}"


def markers(body: bytes) -> list[bytes]:
    """Return the markers in a request's body, in whatever form."""
    if body.startswith(_GZIP):
        body = gzip.decompress(body)
    found = _MARKER.findall(body)
    for encoded in _BASE64.findall(body):
        found += _MARKER.findall(base64.urlsafe_b64decode(encoded + b"=="))
    return found
