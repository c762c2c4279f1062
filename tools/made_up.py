"""Shops that are made up from a seed, with a step that may begin to fail for a segment."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, NamedTuple

from journeykit.insight.population import DAY, Population
from journeykit.insight.steps import Steps
from journeykit.journeys import declare, plans
from journeykit.model.journey import Goal, Journey, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from journeykit.insight.anomaly import Anomaly, Trial

#: Names that say nothing.
NAMES = ("alder", "birch", "cedar", "doum", "elm", "fir")
PROPERTIES = {
    "north": ("a", "b", "c"),
    "east": ("d", "e", "f", "g", "h"),
    "south": ("i", "j"),
    "west": ("k", "l", "m", "n"),
}
FIRST_DAY = 19_800
DAYS = 120
#: The share that gives up at a step that fails.
FAILING = 0.6


class Trouble(NamedTuple):
    """A step that fails for a segment from one day to another."""

    step: str
    segment: tuple[str, str]
    first_day: int
    last_day: int


class Happening(NamedTuple):
    """An event of a made-up shop."""

    customer: str
    at: int
    name: str
    properties: dict[str, str]


def trouble(seed: int) -> Trouble:
    """Return what goes wrong in the shop of *seed*."""
    rng = random.Random(f"trouble {seed}")
    name = rng.choice(sorted(PROPERTIES))
    length = rng.randint(10, 28)
    first = FIRST_DAY + rng.randint(14, DAYS - 14 - length)
    return Trouble(
        rng.choice(NAMES[:-1]),
        (name, rng.choice(PROPERTIES[name])),
        first,
        first + length - 1,
    )


def happenings(
    seed: int, wrong: Trouble | None = None, *, customers: int = 1500
) -> Iterator[Happening]:
    """
    Yield what customers do.

    They differ in how often they come and how easily they give up; segments differ too, always.
    """
    rng = random.Random(f"shop {seed}")
    taste = {value: rng.gauss(0, 0.03) for values in PROPERTIES.values() for value in values}
    leaving = {name: rng.uniform(0.08, 0.3) for name in NAMES}
    for number in range(customers):
        segments = {name: rng.choice(values) for name, values in PROPERTIES.items()}
        patience = rng.gauss(0, 0.08) + sum(taste[value] for value in segments.values())
        visits = min(60, int(rng.expovariate(1 / 8)) + 1)
        for _ in range(visits):
            at = int((FIRST_DAY + rng.random() * DAYS) * DAY)
            for name in NAMES:
                yield Happening(f"u:{number}", at, name, segments)
                gives_up = min(0.9, max(0.01, leaving[name] + patience))
                if wrong is not None and _is_hit(wrong, name, segments, at // DAY):
                    gives_up = FAILING
                if rng.random() < gives_up:
                    break
                at += int(rng.uniform(5, 240) * 1e6)


def _is_hit(wrong: Trouble, name: str, segments: dict[str, str], day: int) -> bool:
    key, value = wrong.segment
    within = wrong.first_day <= day <= wrong.last_day
    return within and name == wrong.step and segments[key] == value


def steps() -> Steps:
    """Return the steps of the journey that these shops declare: a stage for two names each."""
    pairs = zip(NAMES[::2], NAMES[1::2], strict=True)
    stages = tuple(Stage(f"stage-{each[0]}", enter=each) for each in pairs)
    journey = Journey(key="wood", version=1, stages=stages, goal=Goal(NAMES[-1]))
    declared, _ = declare((journey,), (), {})
    return Steps(plans(declared), declared.vocabulary)


def population(seed: int, wrong: Trouble | None = None, **more: int) -> Population:
    """Return the population of the shop of *seed*."""
    found = Population(steps(), tuple(PROPERTIES))
    for number, each in enumerate(happenings(seed, wrong, **more)):
        body = json.dumps({"properties": each.properties}).encode()
        found.take(each.customer, each.at, each.name, body, f"{number:08d}")
    return found


def permuted(trials: dict[object, list[Trial]], rng: random.Random) -> dict[object, list[Trial]]:
    """Return *trials* with the segments dealt out anew among the customers."""
    segments = {trial.customer: trial.segments for each in trials.values() for trial in each}
    customers = sorted(segments)
    dealt = [segments[customer] for customer in customers]
    rng.shuffle(dealt)
    new = dict(zip(customers, dealt, strict=True))
    return {
        step: [trial._replace(segments=new[trial.customer]) for trial in each]
        for step, each in trials.items()
    }


def is_it(wrong: Trouble, anomaly: Anomaly) -> bool:
    """Return whether *anomaly* is what went wrong."""
    return (anomaly.step.event, anomaly.segment) == (wrong.step, wrong.segment)


def days_out(wrong: Trouble, anomaly: Anomaly) -> int:
    """Return by how many days the beginning or the end is out, whichever is worse."""
    return max(
        abs(anomaly.first_day - wrong.first_day),
        abs(anomaly.last_day - wrong.last_day),
    )
