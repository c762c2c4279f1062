"""The other side of a sink, as its contract looks at it and breaks it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from contextlib import AbstractContextManager

    from journeykit.testing.server import FaultyServer

_UUID: Final = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Outside(ABC):
    """What a sink delivers to."""

    @abstractmethod
    def pieces(self) -> Iterable[bytes]:
        """Return what has arrived, in order: each request, or each line."""

    def ids(self, piece: bytes) -> list[str]:
        """Return the ids of the events in *piece*: by default all UUIDs, each once, in order."""
        found = (match.decode().lower() for match in _UUID.findall(piece))
        return list(dict.fromkeys(found))

    def outage(self) -> AbstractContextManager[object] | None:
        """Return a block during which nothing can be delivered; None if that cannot be had."""
        return None

    def arrived(self, of: Collection[str]) -> list[str]:
        """Return the ids among *of* that have arrived, in order, as often as they came."""
        wanted = set(of)
        return [each for piece in self.pieces() for each in self.ids(piece) if each in wanted]


class HttpOutside(Outside):
    """A `FaultyServer`: what it has taken, and the doors that it can close."""

    def __init__(self, server: FaultyServer) -> None:
        self._server = server

    def pieces(self) -> Iterable[bytes]:
        """Return the requests that were taken."""
        return [request.text for request in self._server.taken]

    def outage(self) -> AbstractContextManager[object]:
        """Return a block during which nobody listens."""
        return self._server.away()
