"""
When which case rules were in force: facts in the Log.

Rules that change count for what nobody has folded by then.
So no old answer becomes a case because of a new rule, and none that somebody works on goes away
because its rule did.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from journeykit.capture.encode import encode
from journeykit.capture.ids import hashed_id
from journeykit.feedback.casebook import Casebook, hash_of
from journeykit.model import jsonbytes
from journeykit.model.event import PUBLICATION, WIRE_VERSION, Entry, Kind
from journeykit.model.times import to_rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from journeykit.store.protocol import Position, Store

#: The fact that other case rules are in force; it concerns no customer.
DECLARED: Final = "cases.declared"

#: No rules: what is in force once somebody has taken all of them out.
NONE: Final[Mapping[str, Any]] = {
    "rules": [],
    "owner": None,
    "hours": [],
    "zone": "UTC",
    "prompts": {},
    "touchpoints": {},
    "stages": {},
    "journeys": {},
}

#: Counts up when the fold makes another State of the same Log.
VERSION: Final = 1

#: Events read at a time.
_PAGE: Final = 2000


class CaseRules:
    """
    The declared case rules.

    Args:
        wire: As `casebook.to_wire` returns them; None if there are none.
    """

    def __init__(self, wire: Mapping[str, Any] | None) -> None:
        self._wire = wire
        self.version = 0 if wire is None else VERSION

    def publish(
        self, store: Store, known: Any, cursor: Position, now: int
    ) -> list[tuple[int, Mapping[str, Any]]]:
        """
        Return from which instant on which rules are in force, these the last of them.

        Args:
            known: What this has returned before; None if nobody knows.

            cursor: How far State is.
        """
        if self._wire is None:
            if not self.is_last(known):
                since = _begin(store, cursor, now)
                store.publish(_fact(NONE, since, now, len(known)), now)
            return []
        # Where State does not tell, the whole Log has to be read, once.
        dated = [(since, wire) for since, wire in known] if known else list(_published(store, None))
        if self.is_last(dated):
            return dated
        if known:
            # Somebody may have published before they ended, and not have come to fold it.
            dated += [each for each in _published(store, cursor) if each not in dated]
        if not self.is_last(dated):
            since = _begin(store, cursor, now) if dated or cursor is not None else 0
            store.publish(_fact(self._wire, since, now, len(dated)), now)
            dated.append((since, self._wire))
        return dated

    def is_last(self, known: Any) -> bool:
        """Return whether these rules are those that are in force by *known*."""
        if self._wire is None:
            return not known or not known[-1][1]["rules"]
        return bool(known) and hash_of(known[-1][1]) == hash_of(self._wire)


def casebooks(dated: Sequence[Sequence[Any]]) -> list[tuple[int, Casebook]]:
    """Return from which instant on which rules are in force, understood."""
    return [(since, Casebook(wire)) for since, wire in dated]


def _begin(store: Store, cursor: Position, now: int) -> int:
    """Return the instant from which on nothing has been folded, *now* at the latest."""
    unfolded = store.read(cursor, 1, derived=False)
    folded = store.fetch([cursor]) if cursor is not None else []
    if not unfolded or (folded and folded[0].recorded_at >= unfolded[0].recorded_at):
        return now
    return min(now, unfolded[0].recorded_at)


def _published(store: Store, after: Position) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield what the Log says was in force from when on, behind a position."""
    while page := store.read(after, _PAGE, derived=False):
        for stored in page:
            if stored.entry.flags & PUBLICATION and stored.entry.name == DECLARED:
                properties = jsonbytes.loads(stored.entry.body)["properties"]
                yield properties["since"], properties["declaration"]
        after = page[-1].position


def _fact(wire: Mapping[str, Any], since: int, now: int, count: int) -> Entry:
    event_id = hashed_id(now, DECLARED, hash_of(wire), count)
    body = {
        "id": event_id,
        "kind": Kind.FACT.value,
        "name": DECLARED,
        "customer": {"user_id": None, "anonymous_id": None, "session_id": None},
        "context": {},
        "occurred_at": to_rfc3339(now),
        "channel": None,
        "properties": {"since": since, "hash": hash_of(wire), "declaration": wire},
        "source": {"app": "journeykit"},
        "actor": "configuration",
        "reason": "other case rules" if count else "case rules",
        "v": WIRE_VERSION,
    }
    nobody = None, None, None
    return Entry(event_id, Kind.FACT, DECLARED, *nobody, now, PUBLICATION, encode(body))
