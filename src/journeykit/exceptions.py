"""
Every error that journeykit raises.

```text
JourneykitError
├── ConfigError      a mistake in journeykit.toml or in the declared journeys; lists them all
├── PluginError      a plugin failed while the kit was being built
├── EventRejected    track() refused an event, and the kit is strict
├── StoreError       the store could not do what it was asked
│   ├── StoreBusy        another process holds the database; trying again helps
│   ├── StoreDamaged     the database is damaged; a process that tracks repairs it
│   ├── Outdated         a newer journeykit has changed the database; this one only spools
│   ├── VersionChanged   a published version has another content; nothing is folded
│   └── Superseded       somebody else moved this cursor first; nothing was written
│       └── StoreReplaced    the database is another one than before; nothing was written
├── DeliveryError    raised by a sink: the whole batch was not delivered
└── ImportFailed     a file could not be imported
```

Configuration errors stop the start.
At run time nothing of this reaches the host, unless it asked for it with `strict=True`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class JourneykitError(Exception):
    """The root of all errors that journeykit raises on purpose."""


class ConfigError(JourneykitError):
    """
    The configuration has mistakes.

    Args:
        problems: One line for each mistake: where it is, what is wrong, what was expected.

        source: The file or object that holds them.
    """

    def __init__(self, problems: Sequence[str], *, source: str = "configuration") -> None:
        self.problems = tuple(problems)
        self.source = source
        super().__init__(source, *self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        head = f"{self.source}: {count} mistake{'s' if count != 1 else ''}"
        return "\n".join([head, *(f"  - {problem}" for problem in self.problems)])


class PluginError(JourneykitError):
    """A plugin failed at start; `plugin` and `hook` say which one and where."""

    def __init__(self, plugin: str, hook: str, problem: str) -> None:
        self.plugin = plugin
        self.hook = hook
        super().__init__(f"plugin {plugin!r} failed in {hook}: {problem}")


class EventRejected(JourneykitError):
    """`track()` refused an event and the kit is strict; `reason` is the receipt's."""

    def __init__(self, name: object, reason: str) -> None:
        self.reason = reason
        super().__init__(f"event {name!r} was not accepted: {reason}")


class StoreError(JourneykitError):
    """The store could not do what it was asked; the message names the store and what to do."""


class StoreBusy(StoreError):
    """Another process holds the database; trying again later helps."""


class Outdated(StoreError):
    """A newer journeykit has changed the database so that this one must not write to it."""


class Superseded(StoreError):
    """The cursor has moved since it was read: somebody else did this work."""


class VersionChanged(StoreError):
    """A published version of a journey was changed in place; the message says where."""


class StoreDamaged(StoreError):
    """The database is damaged; a process that tracks repairs it, and goes on."""


class StoreReplaced(Superseded):
    """Another database stands where the one was that this came from: read again, and try again."""


class DeliveryError(JourneykitError):
    """
    Raised by a sink that could not deliver a batch.

    Args:
        message: What happened, without personal data.

        retryable: Whether the same batch may succeed later.
            If not, the relay halves the batch until it has found the event at fault, and parks it.

        retry_after: Seconds that the other side asked us to wait.

        taken: Ids of the events of the batch that were taken before it failed; they do not come
            again.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = True,
        retry_after: float | None = None,
        taken: Iterable[str] = (),
    ) -> None:
        self.retryable = retryable
        self.retry_after = retry_after
        self.taken = frozenset(taken)
        super().__init__(message)


class ImportFailed(JourneykitError):
    """A file could not be imported; the message says what, where and what to do."""
