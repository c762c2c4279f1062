"""
What a sink or a plugin keeps between restarts: few small pieces, each under a key.

It is no State: nothing follows from the Log, and a rebuild leaves it alone.
It is not for what is about customers: an erasure does not look here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from journeykit.store.protocol import Store

#: In front of the name of what is kept: the table has the status of readers, too.
PREFIX: Final = "kept:"

_SEPARATOR: Final = "\x1f"


class Kept:
    """
    The pieces of *owner* in *store*, for all processes.

    Args:
        owner: `sink:NAME` for what a sink keeps.
    """

    def __init__(self, store: Store, owner: str) -> None:
        self._store = store
        self._prefix = f"{PREFIX}{owner}{_SEPARATOR}"

    def all(self) -> dict[str, bytes]:
        """Return every piece by its key."""
        start = len(self._prefix)
        return {name[start:]: value for name, value in self._store.kept(self._prefix).items()}

    def put(self, key: str, value: bytes) -> None:
        """Keep *value* under *key*, in place of what was there."""
        self._store.keep(f"{self._prefix}{key}", value)

    def remove(self, key: str) -> None:
        """Keep nothing under *key*."""
        self._store.keep(f"{self._prefix}{key}", None)
