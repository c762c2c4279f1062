"""Where a customer has complained, and whose case it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from journeykit.feedback.case_view import case_of
from journeykit.feedback.casebook import Place
from journeykit.feedback.overrides import SETTINGS
from journeykit.journeys.meaning import Meaning
from journeykit.journeys.where import newest_first, where
from journeykit.model import jsonbytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from journeykit.feedback.case_state import Record
    from journeykit.feedback.casebook import Casebook, RuleInForce
    from journeykit.journeys.plan import Plan
    from journeykit.plugins import Plugins
    from journeykit.store.view import View


class Placed(NamedTuple):
    """Where a complaint belongs; `about` are journey, stage and instance of derived events."""

    place: Place
    about: tuple[str, str | None, str | None]


class Routing:
    """
    Finds the owners of cases.

    Args:
        plans: The journeys, in whose stages customers are.
    """

    def __init__(self, plans: Sequence[Plan], plugins: Plugins) -> None:
        self._meanings = [Meaning(plan, asks=False) for plan in newest_first(plans)]
        self._plugins = plugins

    def of_answer(
        self, view: View, book: Casebook, properties: Mapping[str, Any], customer: str, at: int
    ) -> Placed:
        """Return where an answer belongs: to what has armed its prompt, or where they are."""
        origin = book.origin(properties.get("prompt"))
        found = where(view, self._meanings, customer, at, "")
        place = Place(origin.touchpoint, origin.stage or found.stage, origin.journey)
        if origin.stage is None or origin.journey is None:
            place = place._replace(journey=found.journey)
        return Placed(place, (found.encoded.decode(), found.stage, found.instance))

    def of_pain(
        self,
        view: View,
        wire: Mapping[str, Any],
        customer: str,
        at: int,
        touchpoint: str | None,
    ) -> Placed:
        """Return where a pain point belongs."""
        journey, stage, instance = wire["journey"], wire["stage"], wire["instance"]
        if journey is None:
            found = where(view, self._meanings, customer, at, "")
            place = Place(touchpoint, found.stage, found.journey)
            return Placed(place, (found.encoded.decode(), found.stage, found.instance))
        encoded = b'"journey":%b,"version":%b' % (
            jsonbytes.dumps(journey),
            jsonbytes.dumps(wire["version"]),
        )
        return Placed(Place(touchpoint, stage, journey), (encoded.decode(), stage, instance))

    def owner(self, view: View, book: Casebook, rule: RuleInForce, place: Place) -> str | None:
        """Return whose a case is: the rule's, the touchpoint's, the stage's, the journey's."""
        own = _setting(view, f"cases.{rule.key}.owner") or rule.owner
        return own or book.owner_at(place) or _setting(view, "cases.owner") or book.owner

    def ask(self, record: Record, at: int) -> str | None:
        """Return whose a plugin says that a new case is."""
        if not self._plugins.implements("route_case"):
            return None
        return self._plugins.route_case(case_of(record, at))


def _setting(view: View, path: str) -> str | None:
    changes = view.get(SETTINGS, path, jsonbytes.loads)
    new = changes[0][0] if changes else None
    return new if isinstance(new, str) else None
