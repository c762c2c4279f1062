"""Clicks that lead to nothing; a browser script sends what they are found in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs

from journeykit.journeys.catalogue.common import (
    count,
    derived,
    duration,
    key_of,
    micros,
    names,
    newest,
    number,
)
from journeykit.model.pain_point import Severity
from journeykit.model.rule import EventView, Found, PainPointRule, Stepped

ELEMENT = ("element", "selector", "label")


@attrs.frozen(kw_only=True)
class ClickRaged(PainPointRule):
    """
    Clicks on the same spot, one straight after the other.

    A burst is found once, whatever its length.
    A click with `ignored = true` is none: text that is selected, steppers, carousels.

    Default: 3 clicks, each less than a second after the last and less than 30 pixels away, across
    and down together (PostHog's rageclick.ts; OpenReplay takes 3 on the same label, Datadog more
    than 3 in a second; Splunk went from 3 to 4 for the noise).

    Args:
        on: A click: `x` and `y`, or `element` where there are none.

        seen: The script has found it by itself.

        clicks: How many.

        gap: How soon each follows.

        distance: How near.
    """

    code = "click.rage"

    on: tuple[str, ...] = names("Element Clicked")
    seen: tuple[str, ...] = names("Rage Clicked")
    clicks: int = count(3, 2)
    gap: timedelta = duration(seconds=1)
    distance: int = attrs.field(
        default=30, validator=[attrs.validators.instance_of(int), attrs.validators.ge(1)]
    )
    also: tuple[str, ...] = derived(lambda self: self.seen)
    lasts: timedelta | None = derived(lambda self: self.gap)

    def key(self, event: EventView) -> str | None:
        """Return the customer as such: who is in a rage may hit beside the element."""
        return None if event.properties.get("ignored") is True else ""

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Follow the burst: when and where the last click was, how many, and by which events."""
        if event.name in self.seen:
            return Stepped(memory, [Found()])
        spot = _spot(event)
        long, evidence = 0, []
        if memory is not None:
            at, last, so_far, so_long = memory
            if event.at - at < micros(self.gap) and self._is_near(last, spot):
                long, evidence = so_long, so_far
        evidence = newest(evidence, event.id)
        long += 1
        found = [Found(tuple(evidence))] if long == self.clicks else []
        return Stepped([event.at, spot, evidence, long], found)

    def _is_near(self, last: Any, spot: Any) -> bool:
        if isinstance(last, str) or isinstance(spot, str):
            return bool(last == spot)
        return bool(abs(last[0] - spot[0]) + abs(last[1] - spot[1]) < self.distance)


def _spot(event: EventView) -> list[float] | str:
    x, y = number(event.properties, "x"), number(event.properties, "y")
    return key_of(event, ELEMENT) if x is None or y is None else [x, y]


@attrs.frozen(kw_only=True)
class ClickDead(PainPointRule):
    """
    A click on something that looks as if it did something, and nothing happens.

    What nothing is, only the browser can tell: no change of the page in the time that it waited, no
    scrolling or selecting within 100 ms, no change of focus or visibility within a second; not with
    a modifier key, not for another window, a download, a canvas or a video.

    Default: 2.5 seconds (PostHog's dead-clicks-autocapture.ts; OpenReplay takes 1,234 ms, Sentry 3
    to 7 seconds).

    Args:
        on: Such a click: `element`, and `waited_ms` for how long nothing happened.

        waited: How long it must be, where the event says.
    """

    code = "click.dead"
    severity = Severity.LOW

    on: tuple[str, ...] = names("Dead Clicked")
    waited: timedelta = duration(milliseconds=2500)

    def key(self, event: EventView) -> str | None:
        """Return the element."""
        waited = number(event.properties, "waited_ms")
        if waited is not None and waited * 1000 < micros(self.waited):
            return None
        return key_of(event, ELEMENT)

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Find it."""
        return Stepped(None, [Found()])


@attrs.frozen(kw_only=True)
class ClickFailed(PainPointRule):
    """
    A click, and straight after it an error of a script or a request that failed.

    Default: a second (our recommendation; Datadog takes what happens during the action, or 100 ms
    after).

    Args:
        on: A click.

        failed: An error of a script, or a request that failed.

        gap: How soon after the click.
    """

    code = "click.error"

    on: tuple[str, ...] = names("Element Clicked")
    failed: tuple[str, ...] = names("Script Failed", "Request Failed")
    gap: timedelta = duration(seconds=1)
    also: tuple[str, ...] = derived(lambda self: self.failed)
    lasts: timedelta | None = derived(lambda self: self.gap)

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Remember the last click that was followed by no error."""
        if event.name not in self.failed:
            return Stepped([event.at, event.id])
        if memory is None or event.at - memory[0] > micros(self.gap):
            return Stepped()
        return Stepped(None, [Found((memory[1], event.id))])
