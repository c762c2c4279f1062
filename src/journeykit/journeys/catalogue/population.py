"""Rules that judge what all customers met together, when a day is over."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import attrs

from journeykit.journeys.catalogue.common import duration, names, number, text
from journeykit.model.pain_point import Severity
from journeykit.model.population import Judged, PopulationRule, Spread

if TYPE_CHECKING:
    from journeykit.model.rule import EventView

_PAGE = ("path", "route", "page", "url")

#: Fewer views of a day, or before it, say nothing about a page.
_FEWEST = 20
_FEWEST_BEFORE = 100

#: By how many times a page must have become slower (our recommendation).
_TIMES = 2.0

#: Which of all views must not be slower: one of twenty.
_MOST_VIEWS = 0.95


@attrs.frozen(kw_only=True)
class RateAnomaly(PopulationRule):
    """
    A step that failed more than usual, for a segment or for everybody.

    It looks at the steps of journeys, by `[insight] segments`; without those, at nothing.

    Default: of twenty shops in which nothing is wrong, one at most is told of anything in a year.
    """

    code = "rate.anomaly"
    severity = Severity.HIGH


@attrs.frozen(kw_only=True)
class PageSlowed(PopulationRule):
    """
    A page that takes twice as long as it used to.

    Of a day's views one of twenty is slower than that; compared with the middle one of the 28 days
    before.
    It takes 20 views on the day and 100 before. It runs where this table is declared, or
    `[insight] segments`.

    Default: more than 3 seconds in the server, and twice its usual 95th percentile (our
    recommendation).

    Args:
        on: A page was measured: `path` and `duration_ms`.

        server: The time in the server below which no page is slow.
    """

    code = "page.slowed"
    severity = Severity.MEDIUM

    on: tuple[str, ...] = names("Page Performance Measured")
    server: timedelta = duration(seconds=3)

    def measure(self, event: EventView) -> tuple[str, float] | None:
        """Return the page, and how long it took in milliseconds."""
        took = number(event.properties, "duration_ms")
        page = text(event, _PAGE)
        return None if took is None or page is None else (page, took)

    def judge(self, days: Sequence[Mapping[str, Spread]]) -> Iterator[Judged]:
        """Return the pages that became slower."""
        least = self.server / timedelta(milliseconds=1)
        for page, spread in sorted(days[-1].items()):
            before = [day[page] for day in days[:-1] if page in day]
            views = sum(each.count for each in before)
            if spread.count < _FEWEST or views < _FEWEST_BEFORE:
                continue
            # That of the middle day: some slow days do not become what is usual.
            usual = statistics.median_low(each.quantile(_MOST_VIEWS) for each in before)
            took, limit = spread.quantile(_MOST_VIEWS), max(least, _TIMES * usual)
            if took > limit:
                told = {"p95_ms": round(took), "usual_p95_ms": round(usual), "views": spread.count}
                yield Judged(page, spread.above(limit), spread.count, properties=told)


#: Every built-in rule about many customers, as it is without settings.
POPULATION: tuple[PopulationRule, ...] = (RateAnomaly(), PageSlowed())
