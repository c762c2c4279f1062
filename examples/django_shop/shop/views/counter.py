"""Behind the counter: what the journeys look like right now.

It is for the staff, and for everybody where only this machine reaches the shop.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.contrib.admin.views.decorators import staff_member_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from journeykit.insight import CustomerStage, JourneyFigures, StageFigures
from shop.journey import kit
from shop.models import Customer

#: How many open cases the page has room for.
CASES = 10


@dataclass(frozen=True)
class Step:
    """A stage, and how many came that far."""

    stage: StageFigures
    reached: int
    share: float

    @property
    def stopped(self) -> int:
        """Those who came this far and, until now, no further."""
        return self.stage.furthest

    @property
    def stopped_share(self) -> float:
        return self.stopped / self.reached if self.reached else 0.0

    @property
    def went(self) -> str:
        """How long its bar is, of 100."""
        return f"{100 * self.share:.2f}"

    @property
    def left(self) -> tuple[str, str]:
        """Where the bar of those who stopped begins, and how long it is."""
        gone = 100 * self.share * self.stopped_share
        return f"{100 * self.share - gone:.2f}", f"{gone:.2f}"


@dataclass(frozen=True)
class Person:
    """A customer, by the name that only the shop knows."""

    name: str
    seen: CustomerStage
    stage: str
    furthest: str


@never_cache
@require_safe
def show(request: HttpRequest) -> HttpResponse:
    if not settings.LOCAL:
        return _for_staff(request)
    return _show(request)


def _show(request: HttpRequest) -> HttpResponse:
    report, seen = kit.report(), kit.customers(journey="shop", limit=50)
    journey = next((journey for journey in report.journeys if journey.key == "shop"), None)
    steps = _steps(journey) if journey else []
    titles = {step.stage.key: step.stage.title for step in steps}
    points = [
        (point, titles.get(point.stage or "", "–"))
        for point in (*report.pain_points, *report.held_back)
    ]
    shown = {
        "report": report,
        "journey": journey,
        "steps": steps,
        "points": points,
        "people": _people(seen, titles),
        "cases": kit.cases.list()[:CASES],
        "live": "live" in request.GET,
    }
    return render(request, "shop/counter.html", shown)


_for_staff = staff_member_required(_show)


def _steps(journey: JourneyFigures) -> list[Step]:
    steps, reached = [], journey.instances
    for stage in journey.stages:
        steps.append(Step(stage, reached, reached / journey.instances if journey.instances else 0))
        reached -= stage.furthest
    return steps


def _people(seen: Iterable[CustomerStage], titles: dict[str, str]) -> list[Person]:
    seen = list(seen)
    numbers = [person.customer for person in seen if person.customer.isdigit()]
    known = {str(each.pk): each.name for each in Customer.objects.filter(pk__in=numbers)}
    return [
        Person(
            known.get(person.customer, f"Guest {person.customer[-4:]}"),
            person,
            titles.get(person.stage or "", "not on the path yet"),
            titles.get(person.furthest or "", "–"),
        )
        for person in seen
    ]
