"""What of an event becomes which record: declared in TOML, and checked before the start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, Self

import attrs

#: What a path may begin with: the keys of the wire form, and the run of a journey.
ROOTS: Final = frozenset(
    {
        "actor",
        "caused_by",
        "channel",
        "context",
        "customer",
        "historical",
        "id",
        "instance",
        "journey",
        "kind",
        "name",
        "occurred_at",
        "properties",
        "reason",
        "recorded_at",
        "run",
        "source",
        "stage",
        "version",
    }
)

#: The keys that have others below them.
_TABLES: Final = frozenset({"context", "customer", "properties", "source"})
_OF_CUSTOMER: Final = frozenset({"user_id", "anonymous_id", "session_id", "key"})
_KINDS: Final = frozenset({"touchpoint", "fact", "derived"})

_NAME: Final = re.compile(r"[A-Za-z]\w{0,79}")


class FieldType(StrEnum):
    """What a field of Salesforce holds."""

    TEXT = "text"
    LONG_TEXT = "long_text"
    NUMBER = "number"
    CURRENCY = "currency"
    DATE = "date"
    DATETIME = "datetime"
    CHECKBOX = "checkbox"


#: How much text a field takes.
LENGTHS: Final = {FieldType.TEXT: 255, FieldType.LONG_TEXT: 32_768}

#: Paths whose values are no text.
_TYPES: Final = {
    "historical": FieldType.CHECKBOX,
    "occurred_at": FieldType.DATETIME,
    "recorded_at": FieldType.DATETIME,
    "version": FieldType.NUMBER,
}


def check_path(path: object) -> str:
    """Return *path*; raises `ValueError` where no event can have anything there."""
    if not isinstance(path, str) or not path:
        raise ValueError(f'expected the path of a value such as "properties.revenue", got {path!r}')
    root, _, rest = path.partition(".")
    if root not in ROOTS:
        raise ValueError(f"{path!r}: events have no {root!r}; they have {', '.join(sorted(ROOTS))}")
    if rest and root not in _TABLES:
        raise ValueError(f"{path!r}: nothing is below {root!r}")
    if root == "customer" and rest not in _OF_CUSTOMER:
        known = ", ".join(sorted(_OF_CUSTOMER))
        raise ValueError(f"{path!r}: a customer has no {rest!r}, but {known}")
    return path


def _check_name(name: object, what: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of {what} in Salesforce")
    return name


@attrs.frozen
class Value:
    """
    What goes into a field.

    Args:
        path: Where the event has it.

        constant: What it is always, where there is no path.

        values: What to write for which value; others are left out, unless there is `"*"`.

        type: What the field holds.

        length: The most characters of a text.

        to: The object that a link leads to; for `describe`.
    """

    path: str | None = None
    constant: Any = None
    values: Mapping[str, Any] | None = None
    type: FieldType = FieldType.TEXT
    length: int = 255
    to: str | None = None

    @classmethod
    def of(cls, declared: object) -> Self:
        """Return what `"path"` or `{ path = … }` or `{ value = … }` declares."""
        if isinstance(declared, cls):
            return declared
        if isinstance(declared, str):
            declared = {"path": declared}
        if not isinstance(declared, Mapping):
            raise TypeError(
                'expected a path such as "properties.revenue", or a table with path or value, '
                f"got {declared!r}; write {{ value = {declared!r} }} for a constant"
            )
        known = ("path", "value", "values", "type", "length", "to")
        if unknown := sorted(declared.keys() - set(known)):
            raise ValueError(f"{unknown[0]!r} is not known; the keys here are {', '.join(known)}")
        if ("path" in declared) is ("value" in declared):
            raise ValueError("expected either path or value")
        return cls._checked(declared)

    @classmethod
    def _checked(cls, declared: Mapping[str, Any]) -> Self:
        constant, values = declared.get("value"), declared.get("values")
        path = check_path(declared["path"]) if "path" in declared else None
        if not isinstance(constant, str | int | float | bool | None):
            raise TypeError(f"value: expected a text, a number, true or false, got {constant!r}")
        if values is not None and not isinstance(values, Mapping):
            raise TypeError(f"values: expected a table, got {values!r}")
        if "type" in declared and declared["type"] not in list(FieldType):
            options = ", ".join(f'"{each}"' for each in FieldType)
            raise ValueError(f"type: expected one of {options}, got {declared['type']!r}")
        kind = FieldType(declared["type"]) if "type" in declared else _type_of(path, constant)
        most = LENGTHS.get(kind, 255)
        length = declared.get("length", most)
        if type(length) is not int or not 1 <= length <= LENGTHS[FieldType.LONG_TEXT]:
            raise ValueError(f"length: expected 1 to 32768, got {length!r}")
        to = declared.get("to")
        if to is not None:
            _check_name(to, "an object")
        return cls(path, constant, values, kind, length, to)


def _type_of(path: str | None, constant: object) -> FieldType:
    if isinstance(constant, bool):
        return FieldType.CHECKBOX
    if isinstance(constant, int | float):
        return FieldType.NUMBER
    return _TYPES.get(path or "", FieldType.TEXT)


def _to_fields(declared: object) -> dict[str, Value]:
    if not isinstance(declared, Mapping):
        raise TypeError(f"expected a table of fields, got {declared!r}")
    fields = {}
    for name, value in declared.items():
        try:
            link, _, key = str(name).partition(".")
            _check_name(link, "a field")
            if "." in str(name):
                _check_name(key, "a field")
            fields[str(name)] = Value.of(value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: {error}") from None
    return fields


def _to_where(declared: object) -> dict[str, tuple[Any, ...]]:
    if not isinstance(declared, Mapping):
        raise TypeError(f"expected a table of paths and values, got {declared!r}")
    return {
        check_path(path): tuple(wanted) if isinstance(wanted, list | tuple) else (wanted,)
        for path, wanted in declared.items()
    }


def _to_stages(declared: object) -> dict[str, str]:
    if not isinstance(declared, Mapping):
        raise TypeError(f"expected a table of stages and fields, got {declared!r}")
    return {str(stage): _check_name(field, "a field") for stage, field in declared.items()}


@attrs.frozen(kw_only=True)
class ObjectMapping:
    """
    One `[[sinks.NAME.objects]]`: which events become records of which object.

    Args:
        object: The object of Salesforce.

        key: The external id and what it is: `{ Journeykit_Id__c = "id" }`.
            An event that has nothing there makes no record.

        events: The names of the events.

        kinds: Takes all events of these kinds.

        where: What an event must have at which path; a list is any of these.

        fields: The fields and what they hold.
            `"Contact__r.Journeykit_Id__c"` links to the record that has this external id.

        stages: For a stage, the field that takes when it was entered.

        create: Whether records are made that are not there yet.

        orphans: Whether a record is written without a link whose other end is not there; else the
            event is parked.

        erase: Whether records are deleted when their customer is erased.
    """

    object: str
    key: dict[str, Any]
    events: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    where: dict[str, Any] = attrs.field(factory=dict, converter=_to_where)
    fields: dict[str, Any] = attrs.field(factory=dict, converter=_to_fields)
    stages: dict[str, str] = attrs.field(factory=dict, converter=_to_stages)
    create: bool = True
    orphans: bool = True
    erase: bool = False

    def __attrs_post_init__(self) -> None:
        _check_name(self.object, "an object")
        if len(self.key) != 1:
            raise ValueError('key: expected one external id, such as { Journeykit_Id__c = "id" }')
        _check_name(self.key_field, "a field")
        check_path(self.key_path)
        if not self.events and not self.kinds:
            raise ValueError("events: name the events that become records, or their kinds")
        if unknown := [kind for kind in self.kinds if kind not in _KINDS]:
            known = ", ".join(sorted(_KINDS))
            raise ValueError(f"kinds: there is no kind {unknown[0]!r}; there are {known}")

    @property
    def key_field(self) -> str:
        """The external id."""
        return next(iter(self.key))

    @property
    def key_path(self) -> str:
        """Where an event has its value."""
        path: str = self.key[self.key_field]
        return path
