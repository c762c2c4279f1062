"""
Encodes what the caller passed: once, in the caller.

The ordinary path hands the properties to the JSON encoder as they are.
Only what it refuses (a key that is no text, a number that JSON has not, a lone surrogate, a cycle)
is walked and made plain.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import attrs

from journeykit.model.times import to_micros, to_rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]

#: The most levels of nesting; deeper is a mistake or an attack.
DEPTH: Final = 64

#: What a nested array begins with.
_BRACKET: Final = ord("[")

#: In the standard library's JSON: a number that orjson writes with another exponent, or a text.
_SMALL: Final = "e-0"
_TEXT_OR_SMALL: Final = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?e-0\d')

#: A float holds this many decimal digits exactly.
_EXACT_DIGITS: Final = 15


class Unencodable(Exception):
    """A value has no place in JSON; `reason` is the receipt's word for it."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(detail)


def encode(value: object) -> bytes:
    """
    Return *value* as JSON, in UTF-8 without white space.

    Raises:
        Unencodable: It holds a cycle, is nested too deeply, or holds an object with no JSON form.
    """
    try:
        encoded = _encode(value, _plain_types, _OPTIONS)
    except Exception:  # noqa: BLE001 - encoders differ in what they refuse, and with which error
        return _encode_walked(value)
    # Each encoder has a limit of its own; this is ours. Most properties nest nothing: look first.
    nests = _BRACKET in encoded or encoded.rfind(b"{") > 0
    if nests and encoded.count(b"{") + encoded.count(b"[") > DEPTH:
        _plain(value, ())
    return encoded


def _encode_walked(value: object) -> bytes:
    try:
        return _encode_plain(_plain(value, ()))
    except Unencodable:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the values' own methods raise
        detail = f"a value has no JSON form: {type(error).__name__}"
        raise Unencodable("unencodable", detail) from None


def _plain_types(value: Any) -> Any:
    """Return the JSON form of a value that the encoder does not know."""
    for kind, convert in _CONVERSIONS:
        if isinstance(value, kind):
            return convert(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if attrs.has(type(value)):
        return {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    msg = f"{type(value).__name__} has no JSON form; pass a text or a number"
    raise TypeError(msg)


def _from_decimal(value: Decimal) -> float | str | None:
    if not value.is_finite():
        return None
    exact = len(value.as_tuple().digits) <= _EXACT_DIGITS
    return float(value) if exact else str(value)


def _from_datetime(value: datetime) -> str:
    return to_rfc3339(to_micros(value if value.tzinfo else value.replace(tzinfo=UTC)))


def _from_set(value: AbstractSet[Any]) -> list[Any]:
    try:
        return sorted(value)
    except TypeError:
        return sorted(value, key=repr)


def _from_bytes(value: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(bytes(value)).decode()


_CONVERSIONS: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    (Decimal, _from_decimal),
    (datetime, _from_datetime),
    ((date, time), lambda value: value.isoformat()),
    (timedelta, lambda value: value.total_seconds()),
    (UUID, str),
    (Enum, lambda value: value.value),
    (AbstractSet, _from_set),
    ((bytes, bytearray, memoryview), _from_bytes),
    (PurePath, str),
    (Mapping, dict),
    (tuple, list),
)

_json = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain_types
)


def _encode_plain(value: object, *_: object) -> bytes:
    text = _json.encode(value)
    if _SMALL in text:
        text = _TEXT_OR_SMALL.sub(_small, text)
    return text.encode("utf-8")


def _small(match: re.Match[str]) -> str:
    """Return a number below a ten-thousandth as orjson writes it."""
    mantissa, small, exponent = match[0].partition(_SMALL)
    if mantissa.startswith('"') or not small:
        return match[0]
    if exponent != "5":
        return f"{mantissa}e-{exponent}"
    sign = "-" if mantissa.startswith("-") else ""
    return f"{sign}0.0000{mantissa.lstrip('-').replace('.', '')}"


if orjson is None:
    _encode: Callable[..., bytes] = _encode_plain
    _OPTIONS = 0
else:
    _encode = orjson.dumps
    # Ours are the forms of these, so that both encoders write the same.
    _OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


def _plain(value: Any, parents: tuple[int, ...]) -> Any:
    """Return *value* as what JSON knows, walked by hand."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _plain(value.value, parents)
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode() if not is_utf8(value) else str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return _plain_container(value, parents)


def _plain_container(value: Any, parents: tuple[int, ...]) -> Any:
    if id(value) in parents:
        raise Unencodable("cycle", "a value contains itself")
    if len(parents) >= DEPTH:
        raise Unencodable("too_deep", f"values are nested more than {DEPTH} deep")
    inside = (*parents, id(value))
    if isinstance(value, Mapping):
        return {_key(key): _plain(item, inside) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return _plain_items(value, inside)
    try:
        plain = _plain_types(value)
    except TypeError as error:
        raise Unencodable("unencodable", str(error)) from None
    return _plain(plain, inside)


def _plain_items(values: Iterable[Any], inside: tuple[int, ...]) -> list[Any]:
    return [_plain(item, inside) for item in values]


def _key(key: Any) -> str:
    plain = _plain(key, ())
    if isinstance(plain, str):
        return plain
    return json.dumps(plain) if plain is None or isinstance(plain, bool | int | float) else str(key)


def is_utf8(text: str) -> bool:
    """Return whether *text* has no lone surrogate, which UTF-8 has not."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
