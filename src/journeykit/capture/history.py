"""Rows become events of the past: which column means what."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any, Final

import attrs

from journeykit.capture.ids import hashed_id
from journeykit.model.customer import Customer
from journeykit.model.times import to_micros

if TYPE_CHECKING:
    from journeykit.capture.rows import Row

#: What a column can be mapped to.
TARGETS: Final = ("customer", "anonymous", "session", "name", "at", "id")

#: Numbers beyond these are milliseconds, and microseconds: seconds up to the year 5138.
_MILLIS_FROM, _MICROS_FROM = 10**11, 10**14


class BadValue(ValueError):
    """A row lacks what an event needs; the message says which column and why."""


@attrs.frozen
class PastEvent:
    """What one row says, ready for `track_history`."""

    name: str
    properties: dict[str, Any]
    customer: Customer
    at: datetime
    id: str


@attrs.frozen(kw_only=True)
class Mapper:
    """
    Turns rows into events.

    Args:
        columns: Target → the column that it is read from; every other column becomes a property.

        source: Names where the rows come from; part of the ids made for rows without one.

        zone: The zone of times that do not say theirs.
    """

    columns: Mapping[str, str]
    source: str
    zone: tzinfo = UTC

    def missing(self, columns: Mapping[str, Any]) -> list[str]:
        """Return the mapped columns that *columns* lacks."""
        return [column for column in self.columns.values() if column not in columns]

    def event(self, row: Row) -> PastEvent:
        """
        Return the event of *row*.

        Raises:
            BadValue: A column that it needs is empty or not what it should be.
        """
        at = self._at(row)
        mapped = set(self.columns.values())
        return PastEvent(
            name=self._text(row, "name"),
            properties={
                key: value
                for key, value in row.columns.items()
                if key not in mapped and value not in ("", None)
            },
            customer=self._customer(row),
            at=at,
            id=self._optional(row, "id")
            or hashed_id(to_micros(at), self.source, row.line, row.text.rstrip("\r\n")),
        )

    def _customer(self, row: Row) -> Customer:
        known, anonymous = self._optional(row, "customer"), self._optional(row, "anonymous")
        if known is None and anonymous is None:
            names = [self.columns[key] for key in ("customer", "anonymous") if key in self.columns]
            msg = f"column {' and '.join(map(repr, names))}: is empty; an event needs a customer"
            raise BadValue(msg)
        return Customer(known, anonymous, self._optional(row, "session"))

    def _at(self, row: Row) -> datetime:
        text = self._text(row, "at")
        try:
            moment = _moment(text)
        except (ValueError, OverflowError, OSError):
            shown = text if len(text) <= 40 else f"{text[:40]}…"
            msg = (
                f"column {self.columns['at']!r}: {shown!r} is no time; expected ISO 8601 such as "
                f"2024-03-13 10:21:14, or seconds since 1970"
            )
            raise BadValue(msg) from None
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=self.zone)

    def _text(self, row: Row, target: str) -> str:
        value = self._optional(row, target)
        if value is None:
            msg = f"column {self.columns[target]!r}: is empty"
            raise BadValue(msg)
        return value

    def _optional(self, row: Row, target: str) -> str | None:
        column = self.columns.get(target)
        value = row.columns.get(column) if column is not None else None
        if isinstance(value, bool | dict | list):
            msg = f"column {column!r}: expected a text or a number, got {value!r:.40}"
            raise BadValue(msg)
        text = str(value).strip() if value is not None else ""
        return text or None


def _moment(text: str) -> datetime:
    if len(text) == len("20240313") and text.isdigit():
        return datetime.fromisoformat(text)
    try:
        number = float(text)
    except ValueError:
        return datetime.fromisoformat(text)
    if number >= _MICROS_FROM:
        number /= 1e6
    elif number >= _MILLIS_FROM:
        number /= 1e3
    return datetime.fromtimestamp(number, UTC)
