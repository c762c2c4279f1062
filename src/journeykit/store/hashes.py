"""Whom a database knows to be erased: keyed hashes of ids, and the key in a file beside it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from typing import TYPE_CHECKING

from journeykit import native
from journeykit.store.erasure import KEY_BYTES, hashed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from journeykit.store.erasure import Id


class Hashes:
    """The hashes in the database at *database*."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}-key")
        self._key: bytes | None = None

    @property
    def known(self) -> bool:
        """Whether there is a key, that is whether anybody was erased yet."""
        return self._path.exists()

    def of(self, ids: Collection[Id]) -> dict[Id, str]:
        """Return the hash of each id; the first that is asked for makes the key."""
        key = self._key = self._key or self._read_key()
        return {one: hashed(key, one) for one in ids}

    def erased(self, db: sqlite3.Connection, ids: Collection[Id]) -> Mapping[Id, int]:
        """Return which of *ids* were erased, and when."""
        by_hash = {digest: one for one, digest in self.of(ids).items()}
        query = "SELECT hash, erased_at FROM erased WHERE hash IN (SELECT value FROM json_each(?))"
        found = db.execute(query, (json.dumps(list(by_hash)),))
        return {by_hash[digest]: erased_at for digest, erased_at in found}

    def add(self, db: sqlite3.Connection, ids: Collection[Id], erased_at: int) -> list[str]:
        """Note that *ids* were erased; returns their hashes."""
        digests = list(self.of(ids).values())
        db.executemany(
            "INSERT INTO erased (hash, erased_at) VALUES (?, ?) ON CONFLICT (hash) "
            "DO UPDATE SET erased_at = max(erased_at, excluded.erased_at)",
            [(digest, erased_at) for digest in digests],
        )
        return digests

    def _read_key(self) -> bytes:
        with contextlib.suppress(FileNotFoundError):
            return self._path.read_bytes()
        unfinished = self._path.with_name(f"{self._path.name}.{secrets.token_hex(4)}")
        with native.unforked():
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(descriptor, secrets.token_bytes(KEY_BYTES))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        # Whoever comes first has made it.
        with contextlib.suppress(FileExistsError):
            os.link(unfinished, self._path)
        unfinished.unlink()
        return self._path.read_bytes()
