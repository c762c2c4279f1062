"""The anomaly rule by itself; `tools/calibrate.py` measures it at length."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from journeykit.insight.anomaly import Limits, Scan, Trial, scan
from journeykit.insight.likelihood import Cell, Table, excess, log_ratio, log_ratio_of, worth
from tools import made_up

#: The days of the trials made here, and those on which something is wrong.
DAYS = 60
WRONG = range(20, 34)


def trial(customer: int, day: int, failed: bool, *segments: str | None) -> Trial:
    """Return a trial at noon of *day*."""
    return Trial(customer, day, failed, segments, day * 86_400_000_000 + customer)


def shop(seed: int, rates: dict[str, tuple[float, float]], *, customers: int = 400) -> list[Trial]:
    """Return trials of customers who come four times; a segment's rate, usual and while wrong."""
    rng = random.Random(seed)
    found = []
    for customer in range(customers):
        segment = sorted(rates)[customer % len(rates)]
        for _ in range(4):
            day = rng.randrange(DAYS)
            failed = rng.random() < rates[segment][day in WRONG]
            found.append(trial(customer, day, failed, segment))
    return found


def look(trials: Iterable[Trial], **limits: float) -> Scan:
    """Return what is found in one step of a property."""
    return scan({"step": list(trials)}, ["platform"], Limits(**limits))  # type: ignore[arg-type]


def test_what_fails_for_a_segment_is_found_with_its_dates() -> None:
    """The segment, the span and the numbers of failed trials are those that were put there."""
    trials = shop(1, {"mobile": (0.1, 0.8), "desktop": (0.1, 0.1), "tablet": (0.1, 0.1)})

    (found,) = look(trials).anomalies

    assert (found.step, found.segment) == ("step", ("platform", "mobile"))
    assert abs(found.first_day - WRONG[0]) <= 2
    assert abs(found.last_day - WRONG[-1]) <= 2
    inside = [
        each
        for each in trials
        if found.first_day <= each.day <= found.last_day and each.segments == ("mobile",)
    ]
    failed = [each for each in inside if each.failed]
    assert (found.trials, found.failed) == (len(inside), len(failed))
    assert found.customers == len({each.customer for each in failed})
    assert found.failures == tuple(sorted(failed, key=lambda each: each.at))
    assert (found.first_at, found.last_at) == (found.failures[0].at, found.failures[-1].at)
    assert not found.ongoing


def test_the_order_of_trials_does_not_matter() -> None:
    """The same trials in another order give the same result."""
    trials = shop(2, {"mobile": (0.1, 0.7), "desktop": (0.1, 0.1)})
    other = trials.copy()
    random.Random(3).shuffle(other)

    assert look(trials).anomalies
    assert look(other) == look(trials)


def test_what_fails_for_everybody_is_told_of_everybody() -> None:
    """Where most of everybody's trials fail it is an alarm, and no segment is named."""
    rates = dict.fromkeys(("mobile", "desktop", "tablet"), (0.1, 0.7))

    (found,) = look(shop(4, rates)).anomalies

    assert found.segment is None


def test_a_smaller_change_for_everybody_is_a_shift() -> None:
    """It may be the season, so that it is told apart from alarms."""
    rates = dict.fromkeys(("mobile", "desktop"), (0.03, 0.3))

    found = look(shop(5, rates, customers=800))

    assert found.anomalies == ()
    assert [each.segment for each in found.shifts] == [None]


def test_a_segment_that_always_fails_more_is_no_alarm() -> None:
    """A difference that was always there has not begun."""
    assert look(shop(6, {"mobile": (0.6, 0.6), "desktop": (0.1, 0.1)})).anomalies == ()


def test_a_step_that_became_better_is_no_alarm() -> None:
    """If it failed from the beginning and was mended, nothing has begun to fail."""
    rng = random.Random(7)
    trials = [
        trial(customer, day, rng.random() < (0.6 if day < 34 else 0.1), "mobile")
        for customer in range(400)
        for day in rng.sample(range(DAYS), 4)
    ]

    found = look(trials)

    assert found.anomalies == ()


def test_one_customer_makes_no_alarm() -> None:
    """However often one customer fails, the others of the segment have not."""
    trials = shop(8, {"mobile": (0.1, 0.1), "desktop": (0.1, 0.1)})
    heavy = [trial(900 + each, day, True, "mobile") for each in range(2) for day in WRONG]

    assert look([*trials, *heavy]).anomalies == ()
    # The same failures of as many customers are one.
    many = [each._replace(customer=900 + number) for number, each in enumerate(heavy * 2)]
    assert look([*trials, *many]).anomalies


def test_ten_trials_are_held_back() -> None:
    """Too few customers: nothing is found, nothing was tested, and it says that it held back."""
    trials = [trial(number, number, number > 4, "mobile") for number in range(10)]

    found = look(trials)

    assert (found.anomalies, found.tests) == ((), 0)
    assert found.held_back == 2


def test_nothing_at_all() -> None:
    """No trials and no steps are no error."""
    assert scan({}, []) == Scan(anomalies=(), shifts=(), tests=0, held_back=0)
    assert look([]).held_back == 1


def test_what_goes_on_is_said_to() -> None:
    """A span that reaches the newest day is still going on."""
    rng = random.Random(9)
    trials = [
        trial(customer, day, rng.random() < (0.8 if day > 45 and customer % 2 else 0.1), segment)
        for customer in range(400)
        for segment in ["mobile" if customer % 2 else "desktop"]
        for day in rng.sample(range(DAYS), 4)
    ]

    (found,) = look(trials).anomalies

    assert found.ongoing
    assert abs(found.first_day - 46) <= 2


def test_two_segments_are_two_alarms() -> None:
    """What was found is set aside, and does not hide the next."""
    rng = random.Random(10)
    wrong = {"mobile": range(8, 20), "tablet": range(35, 50)}
    trials = [
        trial(
            customer, day, rng.random() < (0.8 if day in wrong.get(segment, ()) else 0.1), segment
        )
        for customer in range(900)
        for segment in [("mobile", "tablet", "desktop")[customer % 3]]
        for day in rng.sample(range(DAYS), 4)
    ]

    found = look(trials).anomalies

    assert {each.segment for each in found} == {("platform", "mobile"), ("platform", "tablet")}
    assert len(found) == 2


def test_made_up_shops() -> None:
    """In shops like those that `make calibrate` counts, what is wrong is found in time."""
    missed = []
    for seed in range(8):
        wrong = made_up.trouble(seed)
        trials = made_up.population(seed, wrong, customers=600).trials()
        found = scan(trials.steps, trials.properties).anomalies
        hits = [each for each in found if made_up.is_it(wrong, each)]
        if not any(made_up.days_out(wrong, each) <= 2 for each in hits):
            missed.append(seed)

    assert len(missed) <= 1, missed


@pytest.mark.parametrize("planted", [False, True])
def test_permuted_labels_raise_no_alarm(planted: bool) -> None:
    """Where segments mean nothing, next to none is named: 5 % of the time at most."""
    alarms = []
    for seed in range(3):
        wrong = made_up.trouble(seed) if planted else None
        steps = made_up.population(seed, wrong, customers=600).trials().steps
        for number in range(6):
            dealt = made_up.permuted(steps, random.Random(number))
            alarms += scan(dealt, tuple(made_up.PROPERTIES)).anomalies

    assert len(alarms) <= 2, alarms


def test_log_ratio_of_chance_is_the_normal_tail() -> None:
    """One in forty, one way, is where 1.96 standard errors are: half their square."""
    assert log_ratio_of(0.025) == pytest.approx(1.959964**2 / 2, rel=1e-5)


def test_log_ratio_by_hand() -> None:
    """Three of four against one of four, with their rates and with the common one."""
    assert log_ratio(Cell(4, 3), Cell(4, 1)) == pytest.approx(1.0464963, rel=1e-6)
    assert log_ratio(Cell(10, 5), Cell(20, 10)) == pytest.approx(0)


def test_trials_of_one_customer_are_worth_less() -> None:
    """Where each customer's trials are all alike, they are worth about one a customer."""
    alike = {number: (5, 5 * (number % 2)) for number in range(100)}
    mixed = dict.fromkeys(range(100), (2, 1))

    assert worth(alike).n == pytest.approx(99)
    assert worth(alike).rate == pytest.approx(0.5)
    assert worth(mixed) == Cell(200, 100)


def test_excess_leaves_out_what_everybody_shows() -> None:
    """A rise that the others share is no excess, whether in points or in odds."""
    same = Table(Cell(100, 40), Cell(100, 20), Cell(100, 40), Cell(100, 20))
    more = same._replace(inside=Cell(100, 80))
    alone = same._replace(rest_inside=Cell(1, 0))

    assert excess(same) == 0
    assert excess(more) > 3
    assert excess(alone) == 0
