"""Entries as bytes: the form of a record in the spool."""

from __future__ import annotations

import struct
from typing import Final

from journeykit.model.event import Entry, Kind

_COLUMNS: Final = struct.Struct("<BBqIIIII")
_KINDS: Final = tuple(Kind)
_KIND_NUMBERS: Final = {kind: number for number, kind in enumerate(_KINDS)}

#: The length of a text that is not there.
_NONE: Final = 0xFFFFFFFF


def pack(entry: Entry) -> bytes:
    """Return *entry* as the bytes of a record."""
    # Written out, for each event pays for this in its caller.
    event_id, kind, name, user_id, anonymous_id, session_id, occurred_at, flags, body = entry
    id_text, name_text = event_id.encode(), name.encode()
    user = b"" if user_id is None else user_id.encode()
    anonymous = b"" if anonymous_id is None else anonymous_id.encode()
    session = b"" if session_id is None else session_id.encode()
    columns = _COLUMNS.pack(
        _KIND_NUMBERS[kind],
        flags,
        occurred_at,
        len(id_text),
        len(name_text),
        _NONE if user_id is None else len(user),
        _NONE if anonymous_id is None else len(anonymous),
        _NONE if session_id is None else len(session),
    )
    return b"".join((columns, id_text, name_text, user, anonymous, session, body))


def unpack(data: bytes) -> Entry:
    """Return the entry of a record's bytes."""
    kind, flags, occurred_at, *lengths = _COLUMNS.unpack_from(data)
    place = _COLUMNS.size
    texts: list[str | None] = []
    for length in lengths:
        if length == _NONE:
            texts.append(None)
        else:
            texts.append(data[place : place + length].decode())
            place += length
    event_id, name, user_id, anonymous_id, session_id = texts
    return Entry(
        event_id or "",
        _KINDS[kind],
        name or "",
        user_id,
        anonymous_id,
        session_id,
        occurred_at,
        flags,
        data[place:],
    )
