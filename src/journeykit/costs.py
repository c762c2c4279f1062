"""
What hooks cost: how often each was asked, how often it failed, and for how long it ran.

A process notes it as it goes.
The committer and the projector add what is new to the counters of the store, in transactions that
they write anyway, so that any process can tell what all of them have spent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The counters begin so; plugin and hook follow.
_ASKED, _FAILED, _MICROS = "asked", "failed", "micros"

#: Hooks that the projector asks, and rules, begin so.
_PROJECTING: Final = ("detect_", "rule ")


class Cost(NamedTuple):
    """What one hook of one plugin has cost."""

    asked: int = 0
    failed: int = 0
    seconds: float = 0.0


class Costs:
    """
    What the hooks of this process have cost, and what of that the store knows.

    Noted without a lock: a figure may be off by one where two threads ask the same hook at once,
    and a lock that is held while the process forks would stay locked for ever.
    """

    def __init__(self) -> None:
        self._spent: dict[tuple[str, str], Cost] = {}
        self._told: dict[tuple[str, str], Cost] = {}

    def note(self, plugin: str, hook: str, seconds: float, *, failed: bool) -> None:
        """Note one call."""
        asked, failures, before = self._spent.get((plugin, hook), _NOTHING)
        self._spent[plugin, hook] = Cost(asked + 1, failures + failed, before + seconds)

    def owed(self, *, projecting: bool) -> Owed:
        """Return what the projector has to tell, or else the committer: each tells its own."""
        spent = {
            key: cost
            for key, cost in self._spent.copy().items()
            if key[1].startswith(_PROJECTING) == projecting and cost != self._told.get(key)
        }
        counts: dict[str, int] = {}
        for (plugin, hook), cost in spent.items():
            told = self._told.get((plugin, hook), _NOTHING)
            rest = f":{plugin}:{hook}"
            counts[_ASKED + rest] = cost.asked - told.asked
            counts[_FAILED + rest] = cost.failed - told.failed
            counts[_MICROS + rest] = _micros(cost) - _micros(told)
        return Owed({name: count for name, count in counts.items() if count}, spent)

    def settle(self, owed: Owed) -> None:
        """Note that the store has been told."""
        self._told.update(owed.spent)

    def reset_after_fork(self) -> None:
        """Leave what the parent process has spent to it."""
        self._told = self._spent.copy()


class Owed(NamedTuple):
    """What to add to the counters, and what has been told then."""

    counts: Mapping[str, int]
    spent: Mapping[tuple[str, str], Cost]


_NOTHING: Final = Cost()


def _micros(cost: Cost) -> int:
    return int(cost.seconds * 1_000_000)


def costs_of(plugin: str, counters: Mapping[str, int]) -> dict[str, Cost]:
    """Return hook → what it has cost in all processes, by the *counters* of the store."""
    found: dict[str, Cost] = {}
    for name, count in counters.items():
        what, _, rest = name.partition(":")
        whose, _, hook = rest.rpartition(":")
        if whose != plugin or what not in (_ASKED, _FAILED, _MICROS):
            continue
        cost = found.get(hook, _NOTHING)
        if what == _ASKED:
            cost = cost._replace(asked=count)
        elif what == _FAILED:
            cost = cost._replace(failed=count)
        else:
            cost = cost._replace(seconds=count / 1_000_000)
        found[hook] = cost
    return dict(sorted(found.items()))
