"""
The scripts, under names that change with what they hold, so that browsers may keep them.

A page that was made before a deployment asks for the old name: it gets the new script, and is told
not to keep it.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib import resources
from typing import Final

import attrs

from journeykit.web.http import Response

_TYPES: Final = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
_NAMES: Final = ("prompt.js", "friction.js", "page.css")
_A_YEAR: Final = "public, max-age=31536000, immutable"


@attrs.frozen
class StaticFile:
    """One file: its name with the hash, and what it holds, plain and packed."""

    name: str
    type: str
    body: bytes
    packed: bytes


@cache
def static_file(name: str) -> StaticFile:
    """Return the file that is called *name* in this package, such as `"prompt.js"`."""
    body = (resources.files("journeykit.web") / "static" / name).read_bytes()
    stem, _, suffix = name.rpartition(".")
    digest = hashlib.blake2b(body, digest_size=6).hexdigest()
    packed = gzip.compress(body, 9, mtime=0)
    return StaticFile(f"{stem}.{digest}.{suffix}", _TYPES[suffix], body, packed)


def answer(path: str, accepts: str) -> Response | None:
    """
    Return the file that is asked for by *path*, `prompt.HASH.js`; None if there is none.

    Args:
        accepts: The header `Accept-Encoding`.
    """
    stem, _, rest = path.partition(".")
    name = f"{stem}.{rest.rpartition('.')[2]}"
    if name not in _NAMES:
        return None
    file = static_file(name)
    headers = {
        "content-type": file.type,
        "cache-control": _A_YEAR if path == file.name else "no-cache",
        "vary": "accept-encoding",
        "x-content-type-options": "nosniff",
    }
    if "gzip" not in accepts.lower():
        return Response(body=file.body, headers=headers)
    return Response(body=file.packed, headers={**headers, "content-encoding": "gzip"})
