"""HTTP as plugins see it, whatever framework the shop uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from journeykit.model import jsonbytes


@attrs.frozen(kw_only=True)
class Request:
    """
    A request to an endpoint that a plugin added.

    Args:
        method: Upper case.

        path: Below the mount point, without a leading slash.

        query: The last value of each key.

        headers: Names in lower case.

        body: As it came.

        root: The path that the app itself is mounted below, such as `"/shop"`; mostly empty.
    """

    method: str
    path: str
    query: Mapping[str, str] = attrs.field(factory=dict)
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b""
    root: str = ""

    def json(self) -> Any:
        """Return the body as JSON; raises `ValueError` if it is none."""
        return jsonbytes.loads(self.body)


@attrs.frozen(kw_only=True)
class Response:
    """What an endpoint answers."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)

    @classmethod
    def of_json(cls, value: object, status: int = 200) -> Response:
        """Return *value* as JSON."""
        headers = {"content-type": "application/json"}
        return cls(status=status, body=jsonbytes.dumps(value), headers=headers)
