"""Strict structuring by cattrs, with mistakes told by their key path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin

import attrs
from cattrs import (
    ClassValidationError,
    Converter,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.errors import ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn

from journeykit.config.secret import Secret
from journeykit.model.journey import Migrate, Publish, Rule
from journeykit.model.language import Texts, to_texts
from journeykit.model.times import parse_duration

_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


class Structurer:
    """
    Reads tables into attrs classes and gathers what is wrong with them.

    Args:
        base: The directory that relative paths start from.
    """

    def __init__(self, base: Path) -> None:
        self.problems: list[str] = []
        self._beside: dict[str, Sequence[str]] = {}
        self._converter = _make_converter(base)

    def problem(self, where: str, what: str) -> None:
        """Note that *what* is wrong at the key path *where*."""
        self.problems.append(f"{where}: {what}")

    def one(self, value: object, kind: Any, where: str, *, beside: Sequence[str] = ()) -> Any:
        """
        Return *value* as a *kind*, or None with its problems noted.

        Args:
            beside: Keys that are understood here, and read by somebody else.
        """
        self._beside = {where: beside}
        try:
            return self._converter.structure(value, kind)
        except Exception as error:  # noqa: BLE001 - whatever a plugin's validator raises
            self._note(error, where)
            return None

    def _note(self, error: BaseException, where: str) -> None:
        if isinstance(error, ClassValidationError):
            self._note_fields(error, where)
        elif isinstance(error, IterableValidationError):
            for inner, place in error.group_exceptions()[0]:
                index = f"[{place.index}]" if isinstance(place.index, int) else f".{place.index}"
                self._note(inner, f"{where}{index}")
        elif isinstance(error, ForbiddenExtraKeysError):
            fields = (field.name for field in attrs.fields(error.cl) if field.init)
            known = ", ".join((*fields, *self._beside.get(where, ())))
            for name in sorted(error.extra_fields):
                self.problem(
                    f"{where}.{name}", f"is not known; the keys here are {known or 'none'}"
                )
        elif isinstance(error, BaseExceptionGroup):
            for nested in error.exceptions:
                self._note(nested, where)
        else:
            self.problem(where, _text_of(error))

    def _note_fields(self, error: ClassValidationError, where: str) -> None:
        placed, others = error.group_exceptions()
        for inner, note in placed:
            path = f"{where}.{note.name}"
            if isinstance(inner, KeyError):
                self.problem(path, f"is missing; expected {_name(note.type)}")
            else:
                self._note(inner, path)
        for inner in others:
            self._note(inner, where)


def _make_converter(base: Path) -> Converter:
    converter = Converter(detailed_validation=True, forbid_extra_keys=True)
    for kind in (str, int, float, bool):
        converter.register_structure_hook(kind, _scalar(kind))
    converter.register_structure_hook(timedelta, _duration)
    converter.register_structure_hook(datetime, _instant)
    converter.register_structure_hook(Texts, lambda value, _: to_texts(value))
    converter.register_structure_hook(Path, lambda value, _: base / Path(_text(value)).expanduser())
    converter.register_structure_hook(Any, lambda value, _: value)
    converter.register_structure_hook_func(
        lambda kind: isinstance(kind, type) and issubclass(kind, Enum), _choice
    )
    # What may be a secret, and may be none: the address of a hook, the value of a header.
    converter.register_structure_hook(
        Secret | str,
        lambda value, _: converter.structure(value, str if isinstance(value, str) else Secret),
    )
    # The journey reads it itself, in the file's form too.
    converter.register_structure_hook(Publish | Migrate, lambda value, _: value)
    converter.register_structure_hook_factory(
        attrs.has, lambda kind: _attrs_hook(converter, kind, base)
    )
    converter.register_structure_hook_factory(
        _is_sequence,
        lambda kind: _sequence_hook(converter, kind),
    )
    converter.register_structure_hook_factory(
        _is_mapping, lambda kind: _mapping_hook(converter, kind)
    )
    return converter


def _is_sequence(kind: Any) -> bool:
    return get_origin(kind) in (tuple, list)


def _is_mapping(kind: Any) -> bool:
    return get_origin(kind) is dict


def _attrs_hook(converter: Converter, kind: type, base: Path) -> Any:
    structure: Any = make_dict_structure_fn(
        kind,
        converter,
        _cattrs_forbid_extra_keys=True,
        _cattrs_detailed_validation=True,
    )

    def hook(value: object, _: object) -> Any:
        if kind is Rule and isinstance(value, str):
            return Rule(value)
        if not isinstance(value, Mapping):
            # Whoever wrote the secret itself here does not want to read it in a log.
            got = type(value).__name__ if kind is Secret else repr(value)
            msg = f"expected {_name(kind)}, got {got}"
            raise TypeError(msg)
        built = structure(value, kind)
        return _placed(built, base) if isinstance(built, Secret) else built

    return hook


def _placed(secret: Secret, base: Path) -> Secret:
    if secret.file is not None:
        secret = attrs.evolve(secret, file=str(base / _text(secret.file)))
    problem = secret.problem()
    if problem is not None:
        msg = f"{problem}; set it before the start"
        raise ValueError(msg)
    return secret


def _sequence_hook(converter: Converter, kind: Any) -> Any:
    item = get_args(kind)[0]

    def hook(value: object, _: object) -> Any:
        if not isinstance(value, list | tuple):
            msg = f"expected a list, got {value!r}"
            raise TypeError(msg)
        return get_origin(kind)(_each(converter, enumerate(value), item, kind).values())

    return hook


def _mapping_hook(converter: Converter, kind: Any) -> Any:
    item = get_args(kind)[1]

    def hook(value: object, _: object) -> Any:
        if not isinstance(value, Mapping):
            msg = f"expected a table, got {value!r}"
            raise TypeError(msg)
        return _each(converter, value.items(), item, kind)

    return hook


def _each(converter: Converter, items: Any, item: Any, kind: Any) -> dict[Any, Any]:
    built: dict[Any, Any] = {}
    errors: list[Exception] = []
    for index, value in items:
        try:
            built[index] = converter.structure(value, item)
        except Exception as error:  # noqa: BLE001 - gathered, and raised below
            error.add_note(IterableValidationNote(f"at {index}", index, item))
            errors.append(error)
    if errors:
        msg = "items"
        raise IterableValidationError(msg, errors, kind)
    return built


def _scalar(kind: type) -> Any:
    def hook(value: object, wanted: Any) -> Any:
        # cattrs hands subclasses to the hook of their base, and a StrEnum is a text.
        if isinstance(wanted, type) and issubclass(wanted, Enum):
            return _choice(value, wanted)
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is not kind:
            msg = f"expected {_NAMES[kind]}, got {value!r}"
            raise TypeError(msg)
        return value

    return hook


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        msg = f"expected a path, got {value!r}"
        raise TypeError(msg)
    return value


def _duration(value: object, _: object) -> timedelta:
    if not isinstance(value, str):
        msg = f'expected a duration such as "90s", "24h" or "7d", got {value!r}'
        raise TypeError(msg)
    return parse_duration(value)


def _instant(value: object, _: object) -> datetime:
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    msg = f"expected a date or a time such as 2026-01-31 or 2026-01-31T08:00:00Z, got {value!r}"
    raise TypeError(msg)


def _choice(value: object, kind: Any) -> Any:
    try:
        return kind(value)
    except ValueError:
        options = ", ".join(f'"{option.value}"' for option in kind)
        msg = f"expected one of {options}, got {value!r}"
        raise ValueError(msg) from None


def _text_of(error: BaseException) -> str:
    # The validators of attrs put the sentence first, and the field and the value behind it.
    first = error.args[0] if error.args else None
    return first if isinstance(first, str) and first else type(error).__name__


def _name(kind: Any) -> str:
    if kind in _FORMS:
        return _FORMS[kind]
    if isinstance(kind, type) and attrs.has(kind):
        return "a table"
    if get_origin(kind) in (tuple, list):
        return "a list"
    return _NAMES.get(kind, "a value")


_FORMS = {
    Rule: "an event name or a table with event, where and after",
    Secret: 'a reference such as { env = "NAME" }',
    Texts: 'a text, or a table such as { en = "…" }',
    timedelta: 'a duration such as "24h"',
}
