"""Searches, pages, forms and requests that do not lead where the customer wants to."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs

from journeykit.journeys.catalogue.common import (
    PAGE,
    count,
    derived,
    duration,
    ids,
    key_of,
    key_or_every,
    micros,
    names,
    newest,
    number,
    text,
    within,
)
from journeykit.model.pain_point import Severity
from journeykit.model.rule import EventView, Found, PainPointRule, Stepped

_RESULTS = (
    "results",
    "results_count",
    "result_count",
    "number_of_results",
    "total_results",
    "hits",
)
_ROUTE = ("route", *PAGE)
_FORM = ("form", "form_id", "form_name")
_FIELD = ("field", "field_name")

#: A visit ends with so long a pause, as in most web analytics.
_VISIT = timedelta(minutes=30)


@attrs.frozen(kw_only=True)
class SearchNoResults(PainPointRule):
    """
    A search that found nothing.

    An event that says nothing of its results means nothing: `results` (or `results_count`,
    `number_of_results`, `total_results`, `hits`) is 0, or `products` is an empty list.

    Default: each one counts (SearchStax); more than 10 % of at least 50 searches is the mark above
    which a shop should act (AACSearch aims below 10 %).

    Args:
        on: A search.
    """

    code = "search.no_results"
    severity = Severity.LOW

    on: tuple[str, ...] = names("Products Searched")

    def key(self, event: EventView) -> str | None:
        """Return the customer as such: what they typed may be personal."""
        found = number(event.properties, *_RESULTS)
        nothing = event.properties.get("products") == [] if found is None else found == 0
        return "" if nothing else None

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Find it."""
        return Stepped(None, [Found()])


@attrs.frozen(kw_only=True)
class SearchLooped(PainPointRule):
    """
    One search after the other, and none of the results looked at.

    Default: 3 searches in 5 minutes (the pattern is SearchStax's, the counts are ours).

    Args:
        on: A search.

        ended: A result was looked at.

        searches: How many; the next ones count from the beginning.

        window: In how much time.
    """

    code = "search.looped"

    on: tuple[str, ...] = names("Products Searched")
    ended: tuple[str, ...] = names("Product Clicked", "Product Viewed", "Product Added")
    searches: int = count(3, 2)
    window: timedelta = duration(minutes=5)
    also: tuple[str, ...] = derived(lambda self: self.ended)
    ends: tuple[str, ...] = derived(lambda self: self.ended)
    lasts: timedelta | None = derived(lambda self: self.window)

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Count the searches of the window."""
        if event.name in self.ended:
            return Stepped()
        pairs = within(memory, event, micros(self.window), self.searches)
        if len(pairs) < self.searches:
            return Stepped(pairs)
        return Stepped(None, [Found(ids(pairs))])


@attrs.frozen(kw_only=True)
class ServerError(PainPointRule):
    """
    Requests of one route that the server fails on.

    A status of 500 and above, or of 400 and above where the customer sends something (`POST`).

    Default: 2 in 5 minutes on a route (OpenReplay counts each of 400 and above; ours are the
    counts).

    Args:
        on: A request failed: `route` or `path`, `status`, `method`.

        errors: How many; the next ones count from the beginning.

        window: In how much time.
    """

    code = "server.error"
    severity = Severity.HIGH

    on: tuple[str, ...] = names("Request Failed")
    errors: int = count(2)
    window: timedelta = duration(minutes=5)
    lasts: timedelta | None = derived(lambda self: self.window)

    def key(self, event: EventView) -> str | None:
        """Return the route."""
        status = number(event.properties, "status", "status_code") or 0
        sends = str(event.properties.get("method", "")).upper() == "POST"
        return key_of(event, _ROUTE) if status >= (400 if sends else 500) else None

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Count the errors of the window."""
        pairs = within(memory, event, micros(self.window), self.errors)
        if len(pairs) < self.errors:
            return Stepped(pairs)
        return Stepped(None, [Found(ids(pairs))])


@attrs.frozen(kw_only=True)
class PageSlow(PainPointRule):
    """
    A page that was slow to appear, slow to answer, or slow to be made.

    Default: the largest content after more than 4 seconds, an interaction that took more than 500
    ms (Core Web Vitals call both poor), or 3 seconds in the server (our recommendation).

    Args:
        on: A page was measured: `path`, and what of `lcp_ms`, `inp_ms`, `duration_ms` is known.

        lcp: The largest contentful paint.

        inp: The interaction to next paint.

        server: The time in the server.
    """

    code = "page.slow"
    severity = Severity.LOW

    on: tuple[str, ...] = names("Page Performance Measured")
    lcp: timedelta = duration(seconds=4)
    inp: timedelta = duration(milliseconds=500)
    server: timedelta = duration(seconds=3)

    def key(self, event: EventView) -> str | None:
        """Return the page, if it was slow."""
        marks = (("lcp_ms", self.lcp), ("inp_ms", self.inp), ("duration_ms", self.server))
        for name, limit in marks:
            measured = number(event.properties, name)
            if measured is not None and measured * 1000 > micros(limit):
                return key_of(event, _ROUTE)
        return None

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Find it."""
        return Stepped(None, [Found()])


@attrs.frozen(kw_only=True)
class PageQuickBack(PainPointRule):
    """
    To a page and straight back to the one before.

    The same page once more is a reload, and no step; a pause of 30 minutes ends the visit.

    Default: less than 5 seconds (ActionXM; Microsoft Clarity has the pattern and names no time).

    Args:
        on: A page was shown: `path`, `page` or `url`.

        gap: How soon the customer is back.
    """

    code = "page.quick_back"
    severity = Severity.LOW

    on: tuple[str, ...] = names("Page Viewed")
    gap: timedelta = duration(seconds=5)
    lasts: timedelta | None = derived(lambda _: _VISIT)

    def key(self, event: EventView) -> str | None:
        """Return the customer as such; a view that names no page is none."""
        return None if text(event, PAGE) is None else ""

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Remember the last two pages."""
        page, steps = key_of(event, PAGE), memory or []
        if steps and steps[-1][0] == page:
            return Stepped(steps)
        back = len(steps) == 2 and steps[0][0] == page
        soon = back and event.at - steps[1][1] < micros(self.gap)
        found = [Found((steps[0][2], steps[1][2], event.id))] if soon else []
        return Stepped([*steps, [page, event.at, event.id]][-2:], found)


@attrs.frozen(kw_only=True)
class PageLooped(PainPointRule):
    """
    To and fro between the same two pages.

    The same page once more is a reload, and no step; so long a pause as the window ends the loop.

    Default: 3 returns in 10 minutes (our recommendation).

    Args:
        on: A page was shown: `path`, `page` or `url`.

        returns: How many times the customer came straight back to the page before; the next ones
            count from the beginning.

        window: In how much time.
    """

    code = "page.looped"

    on: tuple[str, ...] = names("Page Viewed")
    returns: int = count(3)
    window: timedelta = duration(minutes=10)
    lasts: timedelta | None = derived(lambda self: self.window)

    def key(self, event: EventView) -> str | None:
        """Return the customer as such; a view that names no page is none."""
        return None if text(event, PAGE) is None else ""

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Remember the last two pages, and the returns between them."""
        page = key_of(event, PAGE)
        pages, pairs = memory or ([], [])
        if pages and pages[-1] == page:
            return Stepped([pages, pairs])
        is_return = len(pages) == 2 and pages[0] == page
        pages = [*pages, page][-2:]
        if not is_return:
            return Stepped([pages, []])
        pairs = within(pairs, event, micros(self.window), self.returns)
        if len(pairs) < self.returns:
            return Stepped([pages, pairs])
        return Stepped([pages, []], [Found(ids(pairs))])


@attrs.frozen(kw_only=True)
class FormAbandoned(PainPointRule):
    """
    A form that was begun and not sent.

    Only the name of the last field is kept, never what was typed.

    Default: the page is left, or 30 minutes pass (Zuko).

    Args:
        on: A field was filled: `form`, `field`.

        submitted: The form was sent.

        left: The page of the form was left; one that names no form leaves every one.

        window: How long nothing happens.
    """

    code = "form.abandoned"

    on: tuple[str, ...] = names("Form Field Filled")
    submitted: tuple[str, ...] = names("Form Submitted")
    left: tuple[str, ...] = names("Form Left")
    window: timedelta = duration(minutes=30)
    also: tuple[str, ...] = derived(lambda self: (*self.submitted, *self.left))

    def key(self, event: EventView) -> str | None:
        """Return the form."""
        return (key_of if event.name in self.on else key_or_every)(event, _FORM)

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Remember the last field, and by which events."""
        field, evidence = memory or ("", [])
        if event.name in self.on:
            field = key_of(event, _FIELD)
            memory = [field, newest(evidence, event.id)]
            return Stepped(memory, wake_at=event.at + micros(self.window))
        if memory is None or event.name in self.submitted:
            return Stepped()
        return Stepped(None, [_abandoned(field, newest(evidence, event.id))])

    def wake(self, memory: Any, at: int) -> Stepped:
        """Find that it was not sent."""
        return Stepped(None, [_abandoned(*memory)])


def _abandoned(field: str, evidence: list[str]) -> Found:
    return Found(tuple(evidence), properties={"last_field": field})


@attrs.frozen(kw_only=True)
class FormStruggled(PainPointRule):
    """
    A field of a form that is refused again and again, or that the customer keeps returning to.

    Default: 3 errors on a field, or 3 returns to it, in 30 minutes (the pattern is Zuko's, the
    counts are ours).

    Args:
        on: A field was refused: `form`, `field`.

        returned: The customer came back to a field that they had filled.

        errors, returns: How many; the next ones count from the beginning.

        window: In how much time.
    """

    code = "form.struggled"

    on: tuple[str, ...] = names("Form Field Failed")
    returned: tuple[str, ...] = names("Form Field Returned")
    errors: int = count(3)
    returns: int = count(3)
    window: timedelta = duration(minutes=30)
    also: tuple[str, ...] = derived(lambda self: self.returned)
    lasts: timedelta | None = derived(lambda self: self.window)

    def key(self, event: EventView) -> str | None:
        """Return the form and its field."""
        return f"{key_of(event, _FORM)} {key_of(event, _FIELD)}".strip()

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Count errors and returns of the window, each for themselves."""
        both = list(memory or ([], []))
        which, most = (1, self.returns) if event.name in self.returned else (0, self.errors)
        pairs = within(both[which], event, micros(self.window), most)
        reached = len(pairs) >= most
        both[which] = [] if reached else pairs
        found = [Found(ids(pairs))] if reached else []
        return Stepped(both if any(both) else None, found)
