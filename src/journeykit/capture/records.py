"""
Events as bytes: the form of a record in the spool.

A record is a head, the columns, the id and the body.
The columns come before the id because many events share them, and `capture.Tracker` keeps them.
"""

from __future__ import annotations

import struct
from typing import Final

from journeykit.model.event import Entry, Kind

#: When it occurred, and the length of the id.
HEAD: Final = struct.Struct("<qH")
#: The kind, the flags, and the lengths of name, user, anonymous and session id.
_COLUMNS: Final = struct.Struct("<BBIIII")
_ALL: Final = struct.Struct("<qHBBIIII")

_KINDS: Final = tuple(Kind)
_KIND_NUMBERS: Final = {kind: number for number, kind in enumerate(_KINDS)}

#: The length of a text that is not there.
_NONE: Final = 0xFFFFFFFF


def columns(kind: Kind, flags: int, name: str, *ids: str | None) -> bytes:
    """Return what goes between the head and the id; *ids* are the customer's three."""
    texts = [None if text is None else text.encode() for text in (name, *ids)]
    lengths = [_NONE if text is None else len(text) for text in texts]
    return b"".join(
        (_COLUMNS.pack(_KIND_NUMBERS[kind], flags, *lengths), *(text or b"" for text in texts))
    )


def pack(entry: Entry) -> bytes:
    """Return *entry* as the bytes of a record."""
    event_id = entry.id.encode()
    return b"".join(
        (
            HEAD.pack(entry.occurred_at, len(event_id)),
            columns(entry.kind, entry.flags, entry.name, *entry[3:6]),
            event_id,
            entry.body,
        )
    )


def unpack(data: bytes) -> Entry:
    """Return the entry of a record's bytes."""
    # Written out, for the committer pays for this with each event.
    occurred_at, id_length, kind, flags, name, user, anonymous, session = _ALL.unpack_from(data)
    behind = _ALL.size + name
    name_text = data[_ALL.size : behind].decode()
    user_id = anonymous_id = session_id = None
    if user != _NONE:
        place, behind = behind, behind + user
        user_id = data[place:behind].decode()
    if anonymous != _NONE:
        place, behind = behind, behind + anonymous
        anonymous_id = data[place:behind].decode()
    if session != _NONE:
        place, behind = behind, behind + session
        session_id = data[place:behind].decode()
    place, behind = behind, behind + id_length
    event_id = data[place:behind].decode()
    return Entry(
        event_id,
        _KINDS[kind],
        name_text,
        user_id,
        anonymous_id,
        session_id,
        occurred_at,
        flags,
        data[behind:],
    )
