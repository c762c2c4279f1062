"""Locks between processes, freed by the kernel when their process dies."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote

from journeykit import native
from journeykit.exceptions import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]


#: How often to try for a lock that is not waited for, in seconds.
_RETRY_SECONDS: Final = 0.002


class LockDirectory:
    """
    Named locks as files in *path*.

    Raises:
        StoreError: This platform has no `flock`.
    """

    def __init__(self, path: Path) -> None:
        if fcntl is None:
            msg = f"{path}: this platform has no flock, which keeps two processes apart; use memory://"
            raise StoreError(msg)
        self._path = path
        self._threads = native.lock()
        self._descriptors: dict[str, int] = {}
        self._leases: list[FileLease] = []

    def open(self) -> None:
        """Create the directory."""
        self._path.mkdir(mode=0o700, exist_ok=True)

    @contextlib.contextmanager
    def hold(self, role: str, *, shared: bool = False) -> Iterator[None]:
        """Wait for the lock *role* and hold it, alone or with others that share it."""
        with self._threads:
            descriptor = self._descriptor(role)
            fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)

    def lease(self, role: str) -> FileLease | None:
        """Take the lock *role* for long, or return None while somebody has it."""
        descriptor = self._open(role)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        lease = FileLease(descriptor)
        self._leases = [*(known for known in self._leases if known.held), lease]
        return lease

    def lease_within(self, role: str, seconds: float) -> FileLease | None:
        """Take the lock *role*, or return None when somebody else has had it for *seconds*."""
        deadline = time.monotonic() + seconds
        while True:
            with native.unforked():
                lease = self.lease(role)
            if lease is not None or time.monotonic() >= deadline:
                return lease
            native.sleep(_RETRY_SECONDS)

    def reset_after_fork(self) -> None:
        """Close the parent's descriptors here; the parent goes on holding its locks."""
        self._threads = native.lock()
        # A copy of the descriptor would keep the lock when the parent is dead.
        for lease in self._leases:
            lease.release()
        self._leases = []
        self.close()

    def close(self) -> None:
        """Close the descriptors of the short locks, unless a thread of this process needs one."""
        # Who waits for a lock unlocks its descriptor later, whose number could be another file's.
        if self._threads.acquire(blocking=False):
            try:
                for descriptor in self._descriptors.values():
                    os.close(descriptor)
                self._descriptors.clear()
            finally:
                self._threads.release()

    def _descriptor(self, role: str) -> int:
        if role not in self._descriptors:
            self._descriptors[role] = self._open(role)
        return self._descriptors[role]

    def _open(self, role: str) -> int:
        path = self._path / quote(role, safe="")
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


class FileLease:
    """A lock held until it is released, or until the process dies."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @property
    def held(self) -> bool:
        """Whether it was not released."""
        return self._descriptor is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let another process lead; a second time does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            # Closing is enough, and in a forked child it leaves the parent's lock alone.
            os.close(descriptor)
