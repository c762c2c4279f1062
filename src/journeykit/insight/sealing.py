"""
A day that is over: its trials, and what they add up to.

It is made of the visits of that day and the next, and made again where any of these came later.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journeykit.insight.making import Maker
from journeykit.insight.steps import Failing, Step
from journeykit.insight.trials import (
    MOST_VALUES,
    OTHER,
    Daily,
    Mark,
    Segment,
    Source,
    Trial,
    distinct,
)
from journeykit.insight.visits import NO_VALUE, OTHER_VALUE, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from journeykit.insight.making import Visit
    from journeykit.insight.steps import Steps
    from journeykit.store.protocol import Store

#: Day → what its trials add up to; step and day → the trials.
SUMS: Final = "watch_sums"
TRIALS: Final = "watch_trials"

#: What stands for a trial of each customer and day, and what begins the key of a failure.
CAME: Final = "*"
_FAILING: Final = "!"

_SEPARATOR: Final = "\x1f"

#: Step → segment → how many trials, and how many failed.
_Sums = dict[str, dict[str, list[int]]]


def day_key(day: int) -> str:
    """Return the key of a day, by which days are in order."""
    return f"{day:08d}"


def sealed(
    steps: Steps,
    day: int,
    visits: Mapping[str, list[Visit]],
    before: Mapping[str, Mapping[str, int]],
) -> tuple[_Sums, dict[str, list[list[Any]]]]:
    """
    Return what the trials of *day* add up to, and the trials of each step.

    Args:
        visits: By customer, those of the day and of the next; values are `places`.

        before: Customer → what they had done before, and since when.
    """
    names = {visit.code.name for theirs in visits.values() for visit in theirs}
    maker = Maker(steps, names)
    for who in sorted(visits):
        maker.add(who, visits[who], only=day, before=before.get(who, {}))
    sums: _Sums = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    rows: dict[str, list[list[Any]]] = {}
    first = {trial.customer: trial for trial in maker.came}
    for trial in maker.came:
        _count(sums[CAME], trial, 1, 0)
    rows[CAME] = [_row(trial) for trial in maker.came]
    for step, trials in maker.trials.items():
        if isinstance(step, Step):
            key, kept = step.key, trials
        else:
            key, kept = _FAILING + step.event, [trial for trial in trials if trial.failed]
        for trial in kept:
            # A failure replaces what is counted for the customer's day by the way.
            if isinstance(step, Failing):
                _count(sums[key], first[trial.customer], -1, 0)
            _count(sums[key], trial, 1, int(trial.failed))
        if kept:
            rows[key] = [_row(trial) for trial in kept]
    return sums, rows


def _count(sums: dict[str, list[int]], trial: Trial, n: int, f: int) -> None:
    groups = [f"{place}:{value}" for place, value in enumerate(trial.segments) if value is not None]
    for group in ("", *groups):
        cell = sums[group]
        cell[0] += n
        cell[1] += f


def _row(trial: Trial) -> list[Any]:
    mark: Mark = trial.mark
    step = None if mark.step is None else mark.step.key
    values = [NO_VALUE if value is None else int(value) for value in trial.segments]
    return [
        *(trial.customer, int(trial.failed), values, trial.at, mark.event, step, mark.flags),
        int(trial.converted),
    ]


def places(values: tuple[int, ...]) -> tuple[str | None, ...]:
    """Return the places of values as trials have them."""
    return tuple(None if value == NO_VALUE else str(value) for value in values)


class Capped(NamedTuple):
    """The values of each property that are segments; of all others there is one."""

    properties: tuple[str, ...]
    texts: tuple[dict[int, str], ...]
    counts: Mapping[str, int]

    def of(self, values: Iterable[int]) -> tuple[str | None, ...]:
        """Return the texts of the places of values."""
        return tuple(
            None if value == NO_VALUE else texts.get(value, OTHER)
            for value, texts in zip(values, self.texts, strict=True)
        )


class Sealed:
    """
    The days that are sealed, from *oldest* to *newest*.

    Args:
        values: What the places of values stand for, of each property.
    """

    def __init__(
        self,
        store: Store,
        steps: Steps,
        values: Mapping[str, Sequence[str]],
        days: tuple[int, int],
    ) -> None:
        self._store = store
        self._steps = steps
        self._oldest, self._newest = days
        self._sums: dict[int, _Sums] = {}
        for key, data in store.scan(SUMS):
            if self._oldest <= int(key) <= self._newest:
                self._sums[int(key)] = unpacked(data)
        self.capped = self._cap(values)

    def _cap(self, values: Mapping[str, Sequence[str]]) -> Capped:
        counts: list[dict[int, int]] = [defaultdict(int) for _ in values]
        for sums in self._sums.values():
            for group, (n, _) in sums.get(CAME, {}).items():
                place, _, value = group.partition(":")
                if group:
                    counts[int(place)][int(value)] += n
        texts = []
        for names, found in zip(values.values(), counts, strict=True):
            known = [value for value in found if value != OTHER_VALUE]
            known.sort(key=lambda value: (-found[value], names[value]))
            texts.append({value: names[value] for value in known[:MOST_VALUES]})
        many = {
            name: len(names)
            for name, names, found in zip(values, values.values(), counts, strict=True)
            if len(names) > MOST_VALUES or OTHER_VALUE in found
        }
        return Capped(tuple(values), tuple(texts), many)

    def sources(self) -> list[Source]:
        """Return each step, and each event that says that something failed."""
        daily: dict[str, Daily] = defaultdict(dict)
        came: Daily = {}
        for day, sums in self._sums.items():
            for key, groups in sums.items():
                self._add(came if key == CAME else daily[key], day, groups)
        found = [
            Source(step, daily[step.key], _Loader(self, step.key)) for step in self._steps.evaluated
        ]
        for key in sorted(key for key in daily if key.startswith(_FAILING)):
            failing = self._steps.failing(key.removeprefix(_FAILING))
            if failing is not None:
                mine = _with(came, daily[key])
                found.append(Source(failing, mine, _Loader(self, key)))
        return distinct(found)

    def shares(self) -> dict[str, dict[str, float]]:
        """Return for each property and value the share of the customers' days."""
        came: Daily = {}
        for day, sums in self._sums.items():
            self._add(came, day, sums.get(CAME, {}))
        totals = {group: sum(n for n, _ in days.values()) for group, days in came.items()}
        shares: dict[str, dict[str, float]] = defaultdict(dict)
        for group, total in totals.items():
            if group is not None:
                shares[group[0]][group[1]] = total / totals[None]
        return shares

    def _add(self, daily: Daily, day: int, groups: Mapping[str, Sequence[int]]) -> None:
        for group, (n, f) in groups.items():
            cell = daily.setdefault(self._segment(group), {}).setdefault(day, [0, 0])
            cell[0] += n
            cell[1] += f

    def _segment(self, group: str) -> Segment:
        if not group:
            return None
        place, _, value = group.partition(":")
        texts = self.capped.texts[int(place)]
        return self.capped.properties[int(place)], texts.get(int(value), OTHER)

    def trials(self, key: str) -> list[Trial]:
        """Return every trial of a step."""
        failed = list(self._rows(key))
        if not key.startswith(_FAILING):
            return failed
        whose = {(trial.customer, trial.day) for trial in failed}
        came = (trial for trial in self._rows(CAME) if (trial.customer, trial.day) not in whose)
        return [*failed, *came]

    def _rows(self, key: str) -> Iterator[Trial]:
        for name, data in self._store.scan(TRIALS, f"{key}{_SEPARATOR}"):
            day = int(name.rpartition(_SEPARATOR)[2])
            if not self._oldest <= day <= self._newest:
                continue
            for who, failed, values, at, event, step, flags, converted in unpacked(data):
                place = None if step is None else self._steps.step(step)
                mark = Mark(event, place, flags)
                segments = self.capped.of(values)
                yield Trial(who, day, bool(failed), segments, at, mark, bool(converted))


class _Loader:
    """Loads the trials of one step when asked first."""

    def __init__(self, sealed: Sealed, key: str) -> None:
        self._sealed = sealed
        self._key = key

    def __call__(self) -> list[Trial]:
        return self._sealed.trials(self._key)


def _with(came: Daily, failed: Daily) -> Daily:
    """Return *came* with what *failed* changes."""
    both: Daily = {
        group: {day: list(cell) for day, cell in of.items()} for group, of in came.items()
    }
    for group, days in failed.items():
        for day, (n, f) in days.items():
            cell = both.setdefault(group, {}).setdefault(day, [0, 0])
            cell[0] += n
            cell[1] += f
    return both


def pieces(
    day: int, sums: _Sums, rows: Mapping[str, Sequence[Any]]
) -> dict[tuple[str, str], bytes]:
    """Return what is kept of a sealed day."""
    found = {(SUMS, day_key(day)): packed({key: dict(of) for key, of in sums.items()})}
    for key, of in rows.items():
        found[TRIALS, f"{key}{_SEPARATOR}{day_key(day)}"] = packed(of)
    return found


def stale(store: Store, day: int) -> list[tuple[str, str]]:
    """Return the keys of what is kept of a day."""
    data = store.state((SUMS, day_key(day)))
    keys = unpacked(data) if data else {}
    names = [(TRIALS, f"{key}{_SEPARATOR}{day_key(day)}") for key in keys]
    return [(SUMS, day_key(day)), *names] if data else []
