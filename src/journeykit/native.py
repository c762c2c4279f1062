"""
Threads, locks and thread-locals of the operating system.

gevent and eventlet put their own in the place of those in `threading`, which run only while their
loop gets to run.
What works in the background must go on beside a loop that is busy, so it takes the originals.
Where nobody has replaced anything, these are the standard library's; neither is ever imported here.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

#: How often `join` looks at a thread beside gevent's loop, which goes on meanwhile, in seconds.
_LOOK = 0.005

#: Linux: give a forked child this page empty.
_WIPE_ON_FORK = 18

#: How long a fork waits at most for threads that are in the middle of something, in seconds.
_FORK_SECONDS = 1.0


def _original(module: str, name: str) -> Any:
    # Looked up at each use: an app may patch after it has imported us.
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and hasattr(monkey, "get_original"):
        return monkey.get_original(module, name)
    patcher = sys.modules.get("eventlet.patcher")
    if patcher is not None and patcher.is_monkey_patched("thread"):
        return getattr(patcher.original(module), name)
    return getattr(sys.modules[module], name)


def _replaced() -> bool:
    start = _original("_thread", "start_new_thread")
    return start is not sys.modules["_thread"].start_new_thread


def lock() -> threading.Lock:
    """Return a new lock."""
    made: threading.Lock = _original("_thread", "allocate_lock")()
    return made


def rlock() -> ReentrantLock:
    """Return a new lock that its owner may take again."""
    return ReentrantLock()


def local() -> Any:
    """Return a new namespace that each thread has for itself."""
    return _original("_thread", "_local")()


def ident() -> int:
    """Return the number of this thread."""
    number: int = _original("_thread", "get_ident")()
    return number


def sleep(seconds: float) -> None:
    """Let other threads run for *seconds*."""
    _original("time", "sleep")(seconds)


class ReentrantLock:
    """
    A lock that its owner may take again.

    eventlet replaces every reentrant lock that it finds in attributes, dicts and lists; it does not
    look into slots.
    Use *lock* directly where each nanosecond counts.
    """

    __slots__ = ("lock",)

    def __init__(self) -> None:
        self.lock: Any = _original("_thread", "RLock")()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002 - as locks have it
        """Take it; returns whether that worked."""
        taken: bool = self.lock.acquire(blocking, timeout)
        return taken

    def release(self) -> None:
        """Let go of it, as often as it was taken."""
        self.lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


class _Gate:
    """
    Keeps a fork waiting while a thread is where its child could not go on from.

    A child inherits locks as they are: one that belongs to a C library, SQLite's say, nobody could
    ever free there; and a file that was opened and is not noted yet, nobody could close.
    """

    def __init__(self) -> None:
        self._registered = False
        self.reset()

    def reset(self) -> None:
        """Have nobody inside."""
        self._epoch = object()
        # An app's signal handler may come in while it interrupts one who does.
        self._turn = rlock()
        self._counting = rlock()
        self._inside = 0
        self._mine = local()

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Go in, having waited for a fork that is under way, and out."""
        epoch, depth = self._epoch, self._depth()
        # Who is in already may not wait for a fork that waits for them.
        with contextlib.nullcontext() if depth[0] else self._turn, self._counting:
            self._register()
            self._inside += 1
            depth[0] += 1
        try:
            yield
        finally:
            # A child that was forked in there has begun anew.
            if epoch is self._epoch:
                with self._counting:
                    self._inside -= 1
                    depth[0] -= 1

    def _depth(self) -> list[int]:
        """Return how often this thread is in, as something to change."""
        if not hasattr(self._mine, "depth"):
            self._mine.depth = [0]
        depth: list[int] = self._mine.depth
        return depth

    def _register(self) -> None:
        if not self._registered:
            self._registered = True
            os.register_at_fork(
                before=self._close, after_in_parent=self._open, after_in_child=self.reset
            )

    def _close(self) -> None:
        deadline = time.monotonic() + _FORK_SECONDS
        self._held = self._turn.acquire(timeout=_FORK_SECONDS)
        while self._inside > self._depth()[0] and time.monotonic() < deadline:
            sleep(0.0005)

    def _open(self) -> None:
        if self._held:
            self._turn.release()


_gate = _Gate()


def reset_after_fork() -> None:
    """Begin anew in a child of a fork that Python was not told of."""
    _gate.reset()


def unforked() -> AbstractContextManager[None]:
    """Let other threads fork before or after what is done here, not meanwhile."""
    return _gate.inside()


def life_mark() -> Mark:
    """
    Return what has a 1 at index 0 in this process, and a 0 in any that is forked from it.

    Also in forks that Python is not told of, as servers written in C make them; and to look costs
    no system call.
    """
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        page.madvise(_WIPE_ON_FORK)
    except (OSError, ValueError, AttributeError):
        return _ProcessMark()
    page[0] = 1
    return page


class Mark(Protocol):
    """Whether this is still the process that made it."""

    def __getitem__(self, index: int, /) -> int:
        """Return 1 in the process that made it, else 0."""


class _ProcessMark:
    """A mark for kernels that cannot wipe a page at a fork."""

    def __init__(self) -> None:
        self._process = os.getpid()

    def __getitem__(self, _: int) -> int:
        return int(os.getpid() == self._process)


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


def pause(signal: Signal, seconds: float) -> None:
    """Wait for *signal*, for *seconds* at most; beside gevent's loop, let that go on meanwhile."""
    if _replaced():
        time.sleep(seconds)
    else:
        signal.wait(seconds)


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
