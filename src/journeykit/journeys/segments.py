"""The properties that tell customers apart: what an event shows of them, and a customer's own."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from journeykit.journeys.identity import members
from journeykit.model import jsonbytes
from journeykit.model.event import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from journeykit.model.event import Entry
    from journeykit.store.projector import Step
    from journeykit.store.view import View

#: Hash of a customer who was erased → 1, until what is kept of them by the day is removed.
GONE: Final = "watch_gone"

#: What hashes of customers are keyed with.
SALT: Final = ("watch", "salt")

#: How much of a value is kept; what is longer names no segment.
_VALUE_LENGTH: Final = 80

#: How many of a customer's newest events are looked at for what they show.
_NEWEST: Final = 200

_HASH_BYTES: Final = 8


def hashed(salt: str, customer: str) -> str:
    """Return what stands for *customer* where no id is kept."""
    data = customer.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, key=salt.encode(), digest_size=_HASH_BYTES).hexdigest()


def values_of(
    names: Sequence[str], wire: Mapping[str, Any], properties: Mapping[str, Any]
) -> tuple[str | None, ...]:
    """Return an event's values: its properties, else those of its context, or its `channel`."""
    context = wire.get("context") or {}
    return tuple(
        _text(
            properties[name]
            if name in properties
            else context.get(name, wire.get("channel") if name == "channel" else None)
        )
        for name in names
    )


def _text(value: Any) -> str | None:
    """Return the name of a segment; None of what is none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        return None
    text = str(value)
    return text if 0 < len(text) <= _VALUE_LENGTH and text.isprintable() else None


class Segments:
    """Finds what customers have shown of the properties *names*."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._keys = [b'"%b"' % name.encode() for name in names]

    def shown_by(self, entry: Entry) -> bool:
        """Return whether an event may show any."""
        return any(key in entry.body for key in self._keys)

    def of(self, view: View, customer: str, at: int) -> dict[str, str]:
        """Return what a customer had shown last at the instant *at*."""
        shown: dict[str, tuple[int, str, str]] = {}
        for stored in view.latest(members(view, customer), _NEWEST):
            entry = stored.entry
            when = min(entry.occurred_at, stored.recorded_at)
            if entry.kind is not Kind.TOUCHPOINT or when > at or not self.shown_by(entry):
                continue
            wire = jsonbytes.loads(entry.body)
            values = values_of(self.names, wire, wire.get("properties") or {})
            for name, value in zip(self.names, values, strict=True):
                if value is not None:
                    shown[name] = max(
                        shown.get(name, (when, entry.id, value)), (when, entry.id, value)
                    )
        return {name: shown[name][2] for name in self.names if name in shown}


class GoneFold:
    """Notes who was erased, for what is kept of customers under a hash."""

    def __call__(self, view: View, step: Step) -> Iterable[Entry]:
        """Derive nothing."""
        return ()

    def forget(self, view: View, customers: Sequence[str]) -> int:
        """Note *customers*; what is kept of them is removed before it is read again."""
        salt = view.get(*SALT, jsonbytes.loads)
        if salt is not None:
            for customer in customers:
                view.put(GONE, hashed(salt, customer), 1, jsonbytes.dumps)
        return 0
