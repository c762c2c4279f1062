"""Deletes the records of a customer who wants to be forgotten."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import attrs

from journeykit import DeliveryError, ErasureResult

if TYPE_CHECKING:
    from journeykit import Customer
    from journeykit_salesforce.mapping import ObjectMapping

#: The most records of one request.
_MOST: Final = 200

#: More rounds than any customer has records for: 200,000.
_MOST_ROUNDS: Final = 1_000

_ID: Final = re.compile(r"[A-Za-z0-9]{15,18}")

#: Sends a request: method, path, body.
_Call = Callable[..., Any]


@attrs.frozen
class _Place:
    """
    Where an object says whose a record is.

    Args:
        user: The field with the user id.

        visitor: The field with the anonymous id.
    """

    object: str
    user: str | None
    visitor: str | None


def erase(mappings: Sequence[ObjectMapping], call: _Call, customer: Customer) -> ErasureResult:
    """
    Delete what *customer* has in the objects that say so.

    A record of somebody else who used the same browser loses only the browser's id.

    Raises:
        DeliveryError: The org cannot do it now.
    """
    deleted = 0
    for place in _places(mapping for mapping in mappings if mapping.erase):
        deleted += _erase(place, call, customer)
    detail = f"{deleted:,} records deleted"
    kept = [
        place.object
        for place in _places(mapping for mapping in mappings if not mapping.erase)
        if _has(place, call, customer)
    ]
    if kept:
        told = f"{detail}; kept, so see to them in Salesforce: {', '.join(dict.fromkeys(kept))}"
        return ErasureResult("unsupported", told)
    return ErasureResult("erased", detail)


def _places(mappings: Iterable[ObjectMapping]) -> list[_Place]:
    found = []
    for mapping in mappings:
        paths = {mapping.key_path: mapping.key_field}
        # A field of the record itself, where there is one; else the link.
        for name, value in sorted(mapping.fields.items(), key=lambda item: "." in item[0]):
            if value.path is not None and value.values is None:
                paths.setdefault(value.path, name)
        place = _Place(
            mapping.object, paths.get("customer.user_id"), paths.get("customer.anonymous_id")
        )
        if place.user or place.visitor:
            found.append(place)
    return list(dict.fromkeys(found))


def _erase(place: _Place, call: _Call, customer: Customer) -> int:
    deleted = 0
    for _ in range(_MOST_ROUNDS):
        found = _find(place, call, customer)
        if not found:
            return deleted
        theirs = [row["Id"] for row in found if _is_theirs(row, place, customer)]
        others = [row["Id"] for row in found if not _is_theirs(row, place, customer)]
        deleted += _delete(place, call, theirs)
        _forget_browser(place, call, others)
    raise DeliveryError(f"{place.object}: there is no end to the records of one customer")


def _find(place: _Place, call: _Call, customer: Customer) -> list[dict[str, Any]]:
    where = _where(place, customer)
    if not where:
        return []
    fields = ["Id", *([place.user] if place.user else [])]
    query = f"SELECT {', '.join(fields)} FROM {place.object} WHERE {where} LIMIT {_MOST}"  # noqa: S608 - values are quoted, names were checked
    return _rows(call("GET", f"/query?q={quote(query)}"))


def _rows(answer: object) -> list[dict[str, Any]]:
    rows = answer.get("records") if isinstance(answer, Mapping) else None
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and _ID.fullmatch(str(row.get("Id"))) for row in rows
    ):
        raise DeliveryError("the answer to a query has no records; check url")
    return rows


def _has(place: _Place, call: _Call, customer: Customer) -> bool:
    return bool(_find(place, call, customer))


def _where(place: _Place, customer: Customer) -> str:
    wanted = ((place.user, customer.user_id), (place.visitor, customer.anonymous_id))
    return " OR ".join(f"{field} = {_quoted(value)}" for field, value in wanted if field and value)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _is_theirs(row: Mapping[str, Any], place: _Place, customer: Customer) -> bool:
    whose = _read(row, place.user) if place.user else None
    return whose is None or whose == customer.user_id


def _read(row: Mapping[str, Any], field: str) -> Any:
    value: Any = row
    for name in field.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _delete(place: _Place, call: _Call, ids: Sequence[str]) -> int:
    if ids:
        answer = call("DELETE", f"/composite/sobjects?ids={','.join(ids)}&allOrNone=false")
        _check(answer, place, "deleted")
    return len(ids)


def _forget_browser(place: _Place, call: _Call, ids: Sequence[str]) -> None:
    if ids:
        records = [
            {"attributes": {"type": place.object}, "Id": each, place.visitor: None} for each in ids
        ]
        answer = call("PATCH", "/composite/sobjects", {"allOrNone": False, "records": records})
        _check(answer, place, "changed")


def _check(answer: object, place: _Place, what: str) -> None:
    """Raise where a record is left: what was asked again would not end."""
    rows = answer if isinstance(answer, list) else [{}]
    if not all(isinstance(row, dict) and row.get("success") is True for row in rows):
        raise DeliveryError(
            f"{place.object}: a record could not be {what}; see to what the user may do"
        )
