"""Behind the counter: what the journeys look like right now.

A real shop keeps this page for its staff. This one shows it to whoever runs the example.
"""

from dataclasses import dataclass

from flask import Blueprint, render_template, request

from dawdle import customers
from dawdle.journey import kit
from journeykit.insight import CustomerStage, JourneyFigures, StageFigures

pages = Blueprint("counter", __name__)

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


@pages.get("/behind-the-counter")
def show() -> str:
    report, seen = kit.report(), kit.customers(journey="shop", limit=50)
    journey = next((journey for journey in report.journeys if journey.key == "shop"), None)
    steps = _steps(journey) if journey else []
    return render_template(
        "counter.html",
        report=report,
        journey=journey,
        steps=steps,
        titles={step.stage.key: step.stage.title for step in steps},
        people=_with_names(seen),
        cases=kit.cases.list()[:CASES],
        live="live" in request.args,
    )


def _steps(journey: JourneyFigures) -> list[Step]:
    steps, reached = [], journey.instances
    for stage in journey.stages:
        steps.append(Step(stage, reached, reached / journey.instances if journey.instances else 0))
        reached -= stage.furthest
    return steps


def _with_names(seen: list[CustomerStage]) -> list[tuple[str, CustomerStage]]:
    """Customers by the names that only the shop knows; journeykit holds ids."""
    known = customers.names(person.customer for person in seen)
    return [
        (known.get(person.customer, f"Guest {person.customer[-4:]}"), person) for person in seen
    ]
