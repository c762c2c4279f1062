"""
What customers did, by the day, as it is kept: no id of anybody, only a hash that tells them apart.

Of each customer, kind of event and day there is the first event and the time of the last.
Parts of a day that were read at different times make the same whole, in whatever order.
"""

from __future__ import annotations

import zlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journeykit.insight.making import Visit
from journeykit.model import jsonbytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from journeykit.insight.steps import Choice, Steps

#: The place of a value that a property does not have, and of those beyond the most that are kept.
NO_VALUE: Final = -1
OTHER_VALUE: Final = -2

NOBODY: Final[Mapping[str, str | None]] = MappingProxyType({})


class Act(NamedTuple):
    """An event's name, and which rules of each journey hold for it."""

    name: str
    choice: Choice


class Row(NamedTuple):
    """One kind of event of one customer on one day: when, with which values, and what proves it."""

    first: int
    last: int
    values: tuple[int, ...]
    mark: str
    flags: int


#: Who and what → the row.
Day = dict[tuple[str, Act], Row]


def put(day: Day, who: str, kind: Act, row: Row) -> None:
    """Add a row, to the same effect in any order."""
    known = day.get((who, kind))
    if known is not None:
        earlier = min(known, row, key=_place)
        row = earlier._replace(last=max(known.last, row.last))
    day[who, kind] = row


def _place(row: Row) -> tuple[int, str]:
    return row.first, row.mark


def encoded(day: Day) -> bytes:
    """Return *day* as bytes."""
    kinds: dict[Act, int] = {}
    rows = [
        [who, kinds.setdefault(kind, len(kinds)), *row] for (who, kind), row in sorted(day.items())
    ]
    return packed([[[kind.name, kind.choice] for kind in kinds], rows])


def decoded(data: bytes) -> Iterator[tuple[str, Act, Row]]:
    """Yield what `encoded` has written."""
    names, rows = unpacked(data)
    kinds = [Act(name, tuple(map(tuple, choice))) for name, choice in names]
    for who, kind, first, last, values, mark, flags in rows:
        yield who, kinds[kind], Row(first, last, tuple(values), mark, flags)


def merged(parts: Iterable[bytes], people: Mapping[str, str | None] = NOBODY) -> Day:
    """
    Return the day that *parts* make.

    Args:
        people: Who is somebody else; who was erased is None.
    """
    day: Day = {}
    for data in parts:
        for who, kind, row in decoded(data):
            person = people.get(who, who)
            if person is not None:
                put(day, person, kind, row)
    return day


def by_customer(
    days: Mapping[int, Day], steps: Steps, texts: Callable[[tuple[int, ...]], tuple[Any, ...]]
) -> dict[str, list[Visit]]:
    """Return the visits of each customer of the first day, on all of *days*."""
    found: dict[str, list[Visit]] = {}
    for number, (day, rows) in enumerate(days.items()):
        for (who, kind), row in rows.items():
            if number and who not in found:
                continue
            code = steps.code(kind.name, kind.choice)
            visit = Visit(code, day, row.first, row.last, texts(row.values), row.mark, row.flags)
            found.setdefault(who, []).append(visit)
    return found


def packed(value: Any) -> bytes:
    """Return JSON values as few bytes."""
    return zlib.compress(jsonbytes.dumps(value), 1)


def unpacked(data: bytes) -> Any:
    """Return what `packed` has written."""
    return jsonbytes.loads(zlib.decompress(data))
