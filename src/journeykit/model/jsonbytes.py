"""JSON to and from bytes, by orjson where it is installed and by the standard library elsewhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def _stdlib_dumps(value: Any) -> bytes:
    return _encode(value).encode()


dumps: Callable[[Any], bytes]
loads: Callable[[bytes | str], Any]

try:
    import orjson
except ImportError:
    dumps = _stdlib_dumps
    loads = json.loads
else:
    dumps = orjson.dumps

    def loads(data: bytes | str) -> Any:
        """Return the value; numbers too large for orjson, which we write, are read slowly."""
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            return json.loads(data)


def dumps_row(row: tuple[Any, ...]) -> bytes:
    """Return a named tuple as a JSON array."""
    return dumps(tuple(row))
