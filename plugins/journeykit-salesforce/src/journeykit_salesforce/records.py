"""Makes records out of events in their wire form."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Final

import attrs

from journeykit.model import jsonbytes
from journeykit.model.customer import customer_key
from journeykit_salesforce.mapping import FieldType, ObjectMapping, Value

#: The most characters of an external id.
MOST_KEY: Final = 255

Wire = Mapping[str, Any]
_Getter = Callable[[Wire], Any]


class Unfit(Exception):
    """A value that its field cannot hold; the message says which field and why, not the value."""


@attrs.define
class Row:
    """
    A record to write.

    Args:
        key: Its external id.

        parts: What it is made of, in Log order: the id of each event, and its fields.
    """

    key: str
    parts: list[tuple[str, dict[str, Any]]]

    @property
    def events(self) -> list[str]:
        """The ids of the events that it is made of."""
        return [event for event, _ in self.parts]

    def fields(self) -> dict[str, Any]:
        """Return the fields, of which the last event's count."""
        if len(self.parts) == 1:
            return self.parts[0][1]
        merged: dict[str, Any] = {}
        for _, fields in self.parts:
            merged.update(fields)
        return merged

    def halves(self) -> tuple[Row, Row]:
        """Return it as two records, to write one after the other."""
        middle = len(self.parts) // 2
        return Row(self.key, self.parts[:middle]), Row(self.key, self.parts[middle:])


class Recorder:
    """Makes the records of one mapping."""

    def __init__(self, mapping: ObjectMapping) -> None:
        self.mapping = mapping
        self.object = mapping.object
        self.key_field = mapping.key_field
        #: The fields that link to other records.
        self.links = tuple(dict.fromkeys(_link(name) for name in mapping.fields if "." in name))
        self._events = frozenset(mapping.events)
        self._kinds = frozenset(mapping.kinds)
        self._key = _getter(mapping.key_path)
        self._where = [(_getter(path), wanted) for path, wanted in mapping.where.items()]
        self._fields = [_field(name, value) for name, value in mapping.fields.items()]

    def takes(self, wire: Wire) -> bool:
        """Return whether an event becomes a record."""
        if wire["name"] not in self._events and wire["kind"] not in self._kinds:
            return False
        return all((_plain(get(wire))) in wanted for get, wanted in self._where)

    def record(self, wire: Wire) -> tuple[str, dict[str, Any]] | None:
        """
        Return the external id and the fields of the record that an event makes, if it makes one.

        Raises:
            Unfit: A field cannot hold what the event has for it.
        """
        if not self.takes(wire):
            return None
        key = self._key(wire)
        if key is None or key == "":
            return None
        text = key if isinstance(key, str) else jsonbytes.dumps(key).decode()
        if len(text) > MOST_KEY:
            raise Unfit(f"{self.object}.{self.key_field}: longer than {MOST_KEY} characters")
        fields: dict[str, Any] = {}
        for put in self._fields:
            put(wire, fields)
        stage = self.mapping.stages.get(wire.get("stage") or "")
        if stage is not None:
            fields[stage] = _moment(wire["occurred_at"])
        return text, fields

    def rows(
        self, wires: Iterable[Wire], unfit: Callable[[str, str], None], known: Callable[[str], bool]
    ) -> list[Row]:
        """
        Return the records of *wires*, each external id once: Salesforce refuses two of a kind.

        Args:
            unfit: Told the id of an event that cannot be written, and why.

            known: Whether the record of an event was written before.
        """
        rows: dict[str, Row] = {}
        for wire in wires:
            event = wire["id"]
            try:
                made = self.record(wire)
            except Unfit as problem:
                unfit(event, str(problem))
                continue
            if made is None or known(event):
                continue
            key, fields = made
            row = rows.get(key)
            if row is None:
                rows[key] = Row(key, [(event, fields)])
            else:
                row.parts.append((event, fields))
        return list(rows.values())

    def body(self, row: Row, *, linked: bool = True) -> dict[str, Any]:
        """Return a row as Salesforce takes it."""
        fields = row.fields()
        if not linked:
            fields = {name: value for name, value in fields.items() if name not in self.links}
        return {"attributes": {"type": self.object}, self.key_field: row.key, **fields}


def _plain(value: Any) -> Any:
    return "" if value is None else value


def _link(name: str) -> str:
    return name.partition(".")[0]


# Where values come from


@cache
def _getter(path: str) -> _Getter:
    """Return a function that reads *path* in a wire form; None where there is nothing."""
    root, _, rest = path.partition(".")
    if path == "run":
        return _run
    if path == "customer.key":
        return _customer_key
    if not rest:
        return lambda wire: wire.get(root)

    def get(wire: Wire) -> Any:
        return _below(wire.get(root), rest)

    return get


def _below(value: Any, path: str) -> Any:
    if not isinstance(value, Mapping):
        return None
    if path in value:
        return value[path]
    first, _, rest = path.partition(".")
    return _below(value.get(first), rest) if rest else None


def _customer_key(wire: Wire) -> str | None:
    who = wire.get("customer") or {}
    user, visitor = who.get("user_id"), who.get("anonymous_id")
    return customer_key(user, visitor) if user or visitor else None


def _run(wire: Wire) -> str | None:
    """Return what tells a run of a journey apart: its instance, or else its customer."""
    journey = wire.get("journey")
    whose = wire.get("instance") or _customer_key(wire)
    if not journey or not whose:
        return None
    run = f"{journey}/{wire.get('version')}/{whose}"
    if len(run) <= MOST_KEY:
        return run
    # Cutting it would make one record of two runs.
    return f"{run[:190]}#{hashlib.sha256(run.encode()).hexdigest()[:48]}"


# What values become


def _field(name: str, value: Value) -> Callable[[Wire, dict[str, Any]], None]:
    get = _getter(value.path) if value.path is not None else None
    convert = _CONVERSIONS[value.type]
    link, _, key = name.partition(".")

    def put(wire: Wire, fields: dict[str, Any]) -> None:
        found = value.constant if get is None else get(wire)
        if value.values is not None and found is not None:
            found = value.values.get(_text(found, MOST_KEY), value.values.get("*"))
        if found is None:
            return
        try:
            held = convert(found, value.length)
        except ValueError as problem:
            raise Unfit(f"{name} cannot hold {value.path}: {problem}") from None
        if key:
            fields[link] = {key: held}
        else:
            fields[name] = held

    return put


def _text(value: Any, length: int) -> str:
    if not isinstance(value, str):
        value = jsonbytes.dumps(value).decode()
    return value if len(value) <= length else f"{value[: length - 1]}…"


def _number(value: Any, _: int) -> float | int:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise ValueError("it is no number") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("it is no number")  # noqa: TRY004 - told as the others
    # What no field of Salesforce has room for: 18 digits.
    if not -1e18 < value < 1e18:
        raise ValueError("it has more than 18 digits")
    return value


def _moment(value: Any, _: int = 0) -> str:
    """Return a moment with the three decimals that Salesforce reads."""
    if not isinstance(value, str) or len(value) < 19 or value[10] not in "T ":
        raise ValueError("it is no date with a time, as in 2026-01-31T08:00:00Z")
    if value[-1] == "Z" and value[19:20] == ".":
        return f"{value[:23].rstrip('Z')}Z"
    return value


def _date(value: Any, _: int) -> str:
    if not isinstance(value, str) or len(value) < 10 or value[4] != "-" or value[7] != "-":
        raise ValueError("it is no date, as in 2026-01-31")
    return value[:10]


def _checkbox(value: Any, _: int) -> bool:
    if not isinstance(value, bool):
        raise ValueError("it is neither true nor false")  # noqa: TRY004 - told as the others
    return value


_CONVERSIONS: Final[Mapping[FieldType, Callable[[Any, int], Any]]] = {
    FieldType.TEXT: _text,
    FieldType.LONG_TEXT: _text,
    FieldType.NUMBER: _number,
    FieldType.CURRENCY: _number,
    FieldType.DATE: _date,
    FieldType.DATETIME: _moment,
    FieldType.CHECKBOX: _checkbox,
}
