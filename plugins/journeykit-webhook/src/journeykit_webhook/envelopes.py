"""What is put around an event."""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from journeykit.model import jsonbytes
from journeykit_webhook.settings import Format

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: Before the type of a CloudEvent, as its specification asks for.
TYPE_PREFIX: Final = "io.journeykit."

#: What an id may be made of: it is signed between full stops, and stands in a header.
_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")

_OTHER: Final = re.compile(r"[^a-z0-9]+")


class Message(NamedTuple):
    """An event ready to be sent; `customers` are the ids of whom it is about."""

    event_id: str
    message_id: str
    customers: tuple[str, ...]
    body: bytes


@functools.lru_cache(maxsize=1024)
def type_of(kind: str, name: str) -> str:
    """
    Return the type of an event: dotted, letters and digits of ASCII and `_`.

    "Order Completed" is `touchpoint.order_completed`; facts and derived events have such names.
    """
    parts = [name] if kind == "touchpoint" else name.split(".")
    return ".".join(["touchpoint"] * (kind == "touchpoint") + [_identifier(part) for part in parts])


def _identifier(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore").decode()
    return _OTHER.sub("_", plain).strip("_") or "other"


@functools.lru_cache(maxsize=64)
def _json(text: str) -> bytes:
    return jsonbytes.dumps(text)


def message_id(event_id: str) -> str:
    """Return the event's id, or a hash of it where it could not be signed or sent as it is."""
    if _PLAIN_ID.fullmatch(event_id):
        return event_id
    return f"evt_{hashlib.blake2b(event_id.encode(), digest_size=16).hexdigest()}"


def standard(wire: Mapping[str, Any], line: bytes) -> bytes:
    """Return the body of Standard Webhooks around an event."""
    kind = type_of(wire["kind"], wire["name"])
    return b'{"type":%s,"timestamp":"%s","data":%s}' % (
        _json(kind),
        wire["occurred_at"].encode(),
        line,
    )


def cloudevent(wire: Mapping[str, Any], line: bytes, source: str | None) -> bytes:
    """Return a CloudEvent around an event."""
    app = (wire.get("source") or {}).get("app") or "app"
    return (
        b'{"specversion":"1.0","id":%s,"source":%s,"type":%s,"time":"%s",'
        b'"datacontenttype":"application/json","data":%s}'
    ) % (
        jsonbytes.dumps(wire["id"]),
        _json(source or f"/journeykit/{quote(app, safe='')}"),
        _json(TYPE_PREFIX + type_of(wire["kind"], wire["name"])),
        wire["occurred_at"].encode(),
        line,
    )


CONTENT_TYPES: Final = {
    Format.STANDARD: "application/json",
    Format.CLOUDEVENTS: "application/cloudevents+json; charset=utf-8",
}


class Envelopes:
    """
    Makes messages out of events.

    Args:
        format: What is put around an event.

        names: Only events with these names; `*` stands for anything. Without any, all.

        source: The source of CloudEvents.
    """

    def __init__(self, format: Format, names: Sequence[str], source: str | None) -> None:
        self._around: Callable[[Mapping[str, Any], bytes], bytes] = (
            standard
            if format is Format.STANDARD
            else lambda wire, line: cloudevent(wire, line, source)
        )
        self._wanted = _matcher(names)

    def message(self, line: bytes) -> Message | None:
        """Return what to send of an event in its wire form; None if it is not wanted."""
        wire = jsonbytes.loads(line)
        if not self._wanted(wire["name"]):
            return None
        customer = wire["customer"] or {}
        ids = (("u", customer.get("user_id")), ("a", customer.get("anonymous_id")))
        return Message(
            wire["id"],
            message_id(wire["id"]),
            tuple(f"{kind}{value}" for kind, value in ids if value is not None),
            self._around(wire, line),
        )


def _matcher(names: Sequence[str]) -> Callable[[str], object]:
    if not names:
        return lambda _: True
    patterns = (".*".join(map(re.escape, name.split("*"))) for name in names)
    return functools.lru_cache(maxsize=1024)(re.compile("|".join(patterns), re.DOTALL).fullmatch)
