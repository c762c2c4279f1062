"""
Threads, locks and thread-locals of the operating system.

gevent puts its own in the place of those in `threading`: they run only while its loop gets to run.
What works in the background must go on beside a loop that is busy, so it takes the originals.
Where nobody has replaced anything, these are the standard library's; gevent is never imported here.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

#: How often `join` looks at a thread beside gevent's loop, which goes on meanwhile, in seconds.
_LOOK = 0.005


def _original(module: str, name: str) -> Any:
    # Looked up at each use: an app may patch after it has imported us.
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and hasattr(monkey, "get_original"):
        return monkey.get_original(module, name)
    return getattr(sys.modules[module], name)


def _replaced() -> bool:
    start = _original("_thread", "start_new_thread")
    return start is not sys.modules["_thread"].start_new_thread


def lock() -> threading.Lock:
    """Return a new lock."""
    made: threading.Lock = _original("_thread", "allocate_lock")()
    return made


def rlock() -> Any:
    """Return a new lock that its owner may take again."""
    return _original("_thread", "RLock")()


def local() -> Any:
    """Return a new namespace that each thread has for itself."""
    return _original("_thread", "_local")()


def ident() -> int:
    """Return the number of this thread."""
    number: int = _original("_thread", "get_ident")()
    return number


class Signal:
    """Wakes one waiting thread, now or when it comes to wait."""

    def __init__(self) -> None:
        self._lock = lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake the thread."""
        if self._lock.locked():
            # Two who set it at once: the second has nothing left to do.
            with contextlib.suppress(RuntimeError):
                self._lock.release()

    def clear(self) -> None:
        """Forget that it was set."""
        self._lock.acquire(blocking=False)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, and clear it; returns False after *timeout* seconds."""
        return self._lock.acquire(timeout=-1 if timeout is None else timeout)


class Thread(Protocol):
    """A thread that keeps no process alive."""

    @property
    def ident(self) -> int | None:
        """Its number, once it runs."""

    def is_alive(self) -> bool:
        """Return whether it runs."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, for *timeout* seconds at most."""


def start(name: str, run: Callable[..., None], *arguments: Any) -> Thread:
    """Start *run* in a thread of its own."""
    if _replaced():
        return _Thread(run, arguments)
    thread = threading.Thread(target=run, args=arguments, name=name, daemon=True)
    thread.start()
    return thread


class _Thread:
    """A thread that gevent does not know."""

    def __init__(self, run: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.ident: int | None = None
        self._ended = False
        _original("_thread", "start_new_thread")(self._run, (run, arguments))

    def is_alive(self) -> bool:
        """Return whether it runs."""
        return not self._ended

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, for *timeout* seconds at most."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._ended and (deadline is None or time.monotonic() < deadline):
            time.sleep(_LOOK)

    def _run(self, run: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.ident = ident()
        try:
            run(*arguments)
        finally:
            self._ended = True
