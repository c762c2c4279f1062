"""What people have decided about pain points: that one is muted, or resolved, by whom and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journeykit.model import jsonbytes

if TYPE_CHECKING:
    from journeykit.model.event import Stored
    from journeykit.store.protocol import Store
    from journeykit.store.view import View

#: The facts.
MUTED: Final = "pain_point.muted"
RESOLVED: Final = "pain_point.resolved"
DECISIONS: Final = frozenset((MUTED, RESOLVED))

#: Code and fact → the latest decision.
DECIDED: Final = "pain_decision"

_SEPARATOR: Final = "\x1f"


class Decision(NamedTuple):
    """
    What somebody has decided about a code.

    `holds` is False where it takes an earlier one back; `at` is in microseconds.
    """

    at: int
    id: str
    holds: bool
    actor: str
    reason: str
    cause: str | None = None


def note(view: View, stored: Stored) -> None:
    """Keep what a fact states, if none that is newer states otherwise."""
    entry = stored.entry
    wire = jsonbytes.loads(entry.body)
    given: dict[str, Any] = wire["properties"]
    code = str(given.get("code"))
    key = f"{code}{_SEPARATOR}{entry.name}"
    found = Decision(
        at=min(entry.occurred_at, stored.recorded_at),
        id=entry.id,
        holds=not given.get("revoked"),
        actor=str(wire.get("actor")),
        reason=str(wire.get("reason")),
        cause=given.get("cause"),
    )
    known = view.get(DECIDED, key, jsonbytes.loads)
    if known is None or tuple(known[:2]) < found[:2]:
        view.put(DECIDED, key, list(found), jsonbytes.dumps)


def decided(store: Store, code: str, fact: str) -> Decision | None:
    """Return the latest decision of a kind about *code*, if it holds."""
    data = store.state((DECIDED, f"{code}{_SEPARATOR}{fact}"))
    found = Decision(*jsonbytes.loads(data)) if data else None
    return found if found is not None and found.holds else None
