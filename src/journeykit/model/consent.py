"""
Purposes: what a customer has agreed to, and what not.

A purpose is a name such as `analytics`, `marketing` or `export:crm`.
What was known when an event happened is stamped on it, in its context.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journeykit.model import jsonbytes
from journeykit.model.event import ASKED, DENIED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

#: The purpose that recording needs.
ANALYTICS: Final = "analytics"

#: Every purpose; behind a colon, every purpose that begins like that.
ANY: Final = "*"

#: All purposes of sending events to one sink or another.
ANY_EXPORT: Final = "export:*"

_FORM: Final = re.compile(r"[a-z][a-z0-9_]*(:([\w.-]+|\*))?|\*")

#: What lies around the context in a body.
_BEFORE: Final = b'"context":'
_BEHIND: Final = b',"occurred_at":"'
_TRACE: Final = b',"trace":{"trace_id":"'

#: The context of what follows from an event without a stamp.
NO_STAMP: Final = b"{}"


def is_purpose(value: object) -> bool:
    """Return whether *value* has the form of a purpose."""
    return isinstance(value, str) and _FORM.fullmatch(value) is not None


def export_to(sink: str) -> str:
    """Return the purpose of sending events to *sink*."""
    return f"export:{sink}"


def names(purposes: Collection[str], purpose: str) -> bool:
    """Return whether *purposes* name *purpose*, in full or by a `*`."""
    prefix, colon, _ = purpose.partition(":")
    return purpose in purposes or ANY in purposes or f"{prefix}{colon}{ANY}" in purposes


class Stamp(NamedTuple):
    """
    What was known about a customer's consent when something happened.

    Args:
        granted: All that they have agreed to; None where nobody was asked.

        denied: What they have refused by name, or by a signal of their browser.
    """

    granted: frozenset[str] | None = None
    denied: frozenset[str] = frozenset()

    def allows(self, purpose: str, *, unasked: bool) -> bool:
        """Return whether *purpose* is allowed; *unasked* says so where nobody was asked."""
        if self.denied and names(self.denied, purpose):
            return False
        return unasked if self.granted is None else names(self.granted, purpose)

    def after(self, granted: frozenset[str], denied: frozenset[str], *, unasked: bool) -> Stamp:
        """Return the stamp once the customer has said this as well."""
        before = self.granted
        if before is None and granted:
            # There is a list from now on; what was recorded unasked goes on unless it is refused.
            recorded = self.allows(ANALYTICS, unasked=unasked)
            before = frozenset([ANALYTICS] if recorded else [])
        together = None if before is None else (before | granted) - denied
        return Stamp(together, (self.denied - granted) | denied)

    @property
    def flags(self) -> int:
        """What its entries are flagged with."""
        return (0 if self.granted is None else ASKED) | (DENIED if self.denied else 0)

    def to_context(self) -> dict[str, Any]:
        """Return what events carry of it in their context."""
        context: dict[str, Any] = {}
        if self.granted is not None:
            context["purposes"] = sorted(self.granted)
        if self.denied:
            context["denied"] = sorted(self.denied)
        return context

    @classmethod
    def from_context(cls, flags: int, context: Mapping[str, Any]) -> Stamp:
        """Return the stamp in the context of an event, where a shop may have keys of its own."""
        return cls(
            frozenset(context["purposes"]) if flags & ASKED else None,
            frozenset(context["denied"]) if flags & DENIED else frozenset(),
        )


#: Nobody was asked, and nobody has refused anything.
UNASKED: Final = Stamp()


def encoded_context(body: bytes) -> bytes:
    """Return the context in an encoded event, without decoding the rest."""
    # What comes before has no plain quotes. A context that has such a key itself is cut short, but
    # behind the stamp, which comes first; it is no JSON then, and `stamp_of` decodes everything.
    start = body.find(_BEFORE) + len(_BEFORE)
    return body[start : body.find(_BEHIND, start)]


def stamp_of(flags: int, body: bytes) -> Stamp:
    """Return the stamp of an event; only one that is flagged is decoded."""
    flags &= ASKED | DENIED
    if not flags:
        return UNASKED
    # The events of a page share their context up to the trace, which comes last.
    context = encoded_context(body)
    trace = context.rfind(_TRACE)
    stamp = _decoded(flags, context if trace < 0 else context[:trace] + b"}")
    if stamp is None:
        stamp = Stamp.from_context(flags, jsonbytes.loads(body)["context"])
    return stamp


def encoded_stamp(flags: int, body: bytes) -> bytes:
    """Return the context of what follows from an event: the event's stamp, and nothing else."""
    return _encoded(stamp_of(flags, body)) if flags & (ASKED | DENIED) else NO_STAMP


@functools.lru_cache(maxsize=1024)
def _decoded(flags: int, context: bytes) -> Stamp | None:
    try:
        return Stamp.from_context(flags, jsonbytes.loads(context))
    except ValueError:
        return None


@functools.lru_cache(maxsize=256)
def _encoded(stamp: Stamp) -> bytes:
    return jsonbytes.dumps(stamp.to_context())
