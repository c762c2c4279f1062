"""
What a figure may be told apart by, as it is when a prompt is shown.

It is written into the fact: later it could not be found out again, and a shop that declares another
touchpoint changes nothing about what was answered.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from journeykit.capture.context import current
from journeykit.exceptions import StoreError
from journeykit.journeys.run import NOWHERE, Run
from journeykit.journeys.stages import INSTANCES, Place
from journeykit.model import jsonbytes
from journeykit.model.event import Kind
from journeykit.store.protocol import PROJECTOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from journeykit.feedback.asking import Asking
    from journeykit.feedback.history import History
    from journeykit.journeys.plan import Plan
    from journeykit.model.event import Stored
    from journeykit.model.prompt import Prompt
    from journeykit.store.protocol import Store

#: How many of a customer's last events are looked at for the values of segments, and how many that
#: are in the Log and not folded.
_LAST: Final = 50
_AHEAD: Final = 200

#: Of how many ids of one person, and of how many instances of one journey.
_IDS: Final = 5
_INSTANCES: Final = 100

#: The longest value that names a segment.
_LENGTH: Final = 80


class Around:
    """
    Tells what surrounds a prompt.

    Args:
        asks: What is declared.

        plans: Returns the plans of the journeys that are folded, each with all its versions.
    """

    def __init__(self, store: Store, asks: Asking, plans: Callable[[], Sequence[Plan]]) -> None:
        self._store = store
        self._asks = asks
        self._plans = plans

    def tell(
        self, prompt: Prompt, language: str, keys: Sequence[str], history: History
    ) -> dict[str, Any]:
        """
        Return it as properties of a fact; less where the store is away.

        Args:
            keys: The keys of the customer, that of the person first.
        """
        event = prompt.when.event
        told: dict[str, Any] = {
            "wording": prompt.wording(language),
            "touchpoint": event if event in self._asks.touchpoints else None,
        }
        try:
            told["stages"] = self._stages(prompt, keys[0], history) if keys else {}
            told["segments"] = self._segments(keys) if self._asks.segments else {}
        except StoreError:
            # What a page has shown is recorded, whatever else is known of it.
            pass
        return told

    def _stages(self, prompt: Prompt, person: str, history: History) -> dict[str, str]:
        """
        Return in which stage of which journey the question is asked.

        That is the stage that its trigger leads to; else the one that the customer is in.
        """
        armed_at, _ = history.triggers.get(prompt.key, (None, ""))
        latest: dict[str, int] = {}
        stages: dict[str, str] = {}
        plans = self._plans()
        for plan in plans:
            run = self._run(plan, person, history)
            if run is None or not _concerns(run, armed_at):
                continue
            key = plan.journey.key
            if run.highest >= latest.get(key, run.highest):
                latest[key], stages[key] = run.highest, plan.keys[run.current]
        return stages | {
            plan.journey.key: stage
            for plan in plans
            if (stage := _stage_of_trigger(plan, prompt)) is not None
        }

    def _run(self, plan: Plan, person: str, history: History) -> Run | None:
        """Return the run that a customer was seen in last."""
        if plan.journey.instance_by is None:
            data = self._store.state((INSTANCES, Place(plan.label, person, "").key))
            return None if data is None else Run.decode(data)
        known = history.instances.get(plan.label)
        if known is not None:
            data = self._store.state((INSTANCES, Place(plan.label, person, known[2]).key))
            return None if data is None else Run.decode(data)
        prefix = Place(plan.label, person, "").key
        found = islice(self._store.scan(INSTANCES, prefix), _INSTANCES)
        return max((Run.decode(data) for _, data in found), key=_highest, default=None)

    def _segments(self, keys: Sequence[str]) -> dict[str, str]:
        """Return of each segment the value that the customer has shown last."""
        found: dict[str, str] = {}
        bound = current()
        if bound is not None:
            self._note(found, {"context": bound.context, "channel": bound.channel})
        for stored in self._last_events(keys[:_IDS]):
            if len(found) == len(self._asks.segments):
                break
            if stored.entry.kind is Kind.TOUCHPOINT:
                self._note(found, jsonbytes.loads(stored.entry.body))
        return found

    def _note(self, found: dict[str, str], wire: Mapping[str, Any]) -> None:
        properties, context = wire.get("properties") or {}, wire.get("context") or {}
        for name in self._asks.segments:
            value = properties[name] if name in properties else context.get(name)
            if value is None and name == "channel":
                value = wire.get("channel")
            text = _text(value)
            if text is not None:
                found.setdefault(name, text)

    def _last_events(self, keys: Sequence[str]) -> Iterator[Stored]:
        """Yield the last events of a customer, the latest first."""
        ahead = self._store.read(self._store.cursor(PROJECTOR), _AHEAD, derived=False)
        yield from (each for each in reversed(ahead) if each.entry.customer_key in keys)
        positions = sorted(each for key in keys for each in self._store.trail(key)[-_LAST:])
        yield from reversed(self._store.fetch(positions[-_LAST:]))


def _concerns(run: Run, armed_at: int | None) -> bool:
    """Return whether a run is going on, or came to its end by what armed the prompt, or later."""
    if run.current == NOWHERE:
        return False
    is_left = run.ended_at is not None
    is_left |= run.completed_at is not None and run.since < run.completed_at
    return not is_left or (armed_at is not None and run.highest >= armed_at)


def _stage_of_trigger(plan: Plan, prompt: Prompt) -> str | None:
    """Return the stage of a journey that whatever arms *prompt* leads to, without conditions."""
    when = prompt.when
    if when.stage is not None:
        is_this = when.journey in (None, plan.journey.key) and when.stage in plan.keys
        return when.stage if is_this else None
    route = plan.routes.get(when.event) if when.event is not None else None
    plain = (each for each in (route.candidates if route else ()) if not each.where)
    return next((plan.keys[each.stage] for each in plain if each.after is None), None)


def _highest(run: Run) -> int:
    return run.highest


def _text(value: Any) -> str | None:
    """Return the name of a segment; None of what is none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        return None
    text = str(value)
    return text if 0 < len(text) <= _LENGTH and text.isprintable() else None
