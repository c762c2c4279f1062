"""The Log, the State, and the two stages that write them: committer and projector."""

from __future__ import annotations

from pathlib import Path

from journeykit.exceptions import ConfigError
from journeykit.store.protocol import Commit, Parked, Parking, Projection, Store

__all__ = ["Commit", "Parked", "Parking", "Projection", "Store", "open_store"]


def open_store(url: str, base: str = ".") -> Store:
    """
    Return the store that *url* names: `"sqlite:///relative/path"`, `"sqlite:////absolute"`,
    `"memory://"`.

    Nothing is opened yet.

    Args:
        base: The directory that a relative path starts from.

    Raises:
        ConfigError: It names no store that this version has.
    """
    if url == "memory://":
        from journeykit.store.memory import MemoryStore

        return MemoryStore()
    prefix = "sqlite:///"
    if url.startswith(prefix) and len(url) > len(prefix):
        from journeykit.store.sqlite import SQLiteStore

        return SQLiteStore(Path(base) / url.removeprefix(prefix))
    problem = f'journeykit.store: is {url!r}; expected "sqlite:///path/to/file.db" or "memory://"'
    raise ConfigError([problem])
