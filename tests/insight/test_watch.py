"""Where customers hurt: what rules found in State, and steps that began to fail in the Log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from journeykit.capture.ids import hashed_id
from journeykit.insight.population import DAY
from journeykit.insight.report import Report, report
from journeykit.insight.steps import Steps
from journeykit.insight.watch import ANOMALY, Watch
from journeykit.journeys import declare, folds, plans
from journeykit.journeys.findings import FINDINGS, Finding, FindingKey
from journeykit.model import Entry, Goal, Journey, Kind, Stage
from journeykit.model.pain_point import Severity
from journeykit.model.times import to_rfc3339
from journeykit.plugins import Plugins
from journeykit.store.memory import MemoryStore
from journeykit.store.projector import Projector
from journeykit.store.protocol import Commit, Projection, Store

NOW = 4_000_000_000_000_000
START = 20_000 * DAY

SHOP = Journey(
    key="shop",
    version=1,
    stages=[Stage("cart", enter=["pick"]), Stage("pay", enter=["card", "paid"])],
    goal=Goal("paid", value="total"),
)
PLANS = plans(declare((SHOP,), (), {})[0])


def entry(customer: str, at: int, name: str, **properties: Any) -> Entry:
    """Return an event of the past."""
    event_id = hashed_id(at, customer, name)
    wire = {
        "id": event_id,
        "kind": "touchpoint",
        "name": name,
        "customer": {"user_id": customer, "anonymous_id": None, "session_id": None},
        "occurred_at": to_rfc3339(at),
        "channel": None,
        "properties": properties,
        "context": {},
    }
    body = json.dumps(wire, separators=(",", ":")).encode()
    return Entry(event_id, Kind.TOUCHPOINT, name, customer, None, None, at, 0, body)


def visits(customers: int = 300, days: int = 40) -> Iterator[Entry]:
    """Yield visits of each customer on four days; `card` fails for mobile on days 15 to 24."""
    for number in range(customers):
        platform = ("mobile", "desktop")[number % 2]
        for visit in range(4):
            day = (number * 7 + visit * 11) % days
            at = START + day * DAY + number * 1_000_000
            customer = f"u{number}"
            yield entry(customer, at, "pick", platform=platform)
            yield entry(customer, at + 1, "card", platform=platform)
            fails = platform == "mobile" and 15 <= day < 25
            if fails:
                yield entry(customer, at + 2, "gateway_error", platform=platform)
            if (number + visit) % 10 == 0 or (fails and number % 8):
                continue
            yield entry(customer, at + 3, "paid", platform=platform, total=50)
    yield entry("end", START + (days + 2) * DAY, "home", platform="desktop")


def watch(*segments: str, **effort: float) -> Watch:
    """Return what reports watch."""
    vocabulary = declare((SHOP,), (), {})[0].vocabulary
    return Watch(steps=Steps(PLANS, vocabulary), segments=segments, effort=effort)


def folded(*entries: Entry, store: Store | None = None) -> Store:
    """Return a store whose Log has *entries*, folded."""
    store = store or MemoryStore()
    store.open()
    store.commit(Commit(entries), NOW)
    projector = Projector(
        store, folds(PLANS, Plugins(installed=False)), declaration="x", now=lambda: NOW
    )
    while projector.step() is not None:
        pass
    return store


def put(store: Store, *found: tuple[str, Finding]) -> None:
    """Keep findings as the fold of rules does."""
    state = {
        (FINDINGS, FindingKey(finding.code, customer, finding.target).text): finding.encode()
        for customer, finding in found
    }
    at = store.cursor("findings")
    store.project(Projection("findings", at, at, state), NOW)


@pytest.fixture(scope="module")
def told() -> Report:
    """Return the report of a shop in which something is wrong."""
    return report(folded(*visits()), PLANS, watch("platform"))


def test_a_step_that_began_to_fail_leads_the_report(told: Report) -> None:
    """It says where, for whom, since when, how many, and what happened besides."""
    (point,) = told.pain_points

    assert (point.code, point.journey, point.stage) == (ANOMALY, "shop", "pay")
    assert point.segment == {"platform": "mobile"}
    assert point.first_seen.timestamp() * 1e6 // DAY == 20_015
    assert point.last_seen.timestamp() * 1e6 // DAY == 20_024
    assert point.score is not None
    assert point.score > 0


def test_the_evidence_is_of_events_that_failed(told: Report) -> None:
    """Each id is an event of a customer and day on which it failed."""
    (point,) = told.pain_points
    events = {each.id: each for each in visits()}

    assert point.evidence
    for one in point.evidence:
        event = events[one]
        assert event.name in ("card", "gateway_error")
        assert 15 <= event.occurred_at // DAY - 20_000 < 25
        assert b"mobile" in event.body


def test_money_is_at_stake_where_the_goal_has_a_value(told: Report) -> None:
    """Lost orders times what an order is worth, with an interval around it."""
    (point,) = told.pain_points

    assert point.money is not None
    assert point.money["order_value"] == 50
    assert point.money["amount"] == pytest.approx(50 * point.money["lost_conversions"], abs=5)
    assert 0 < point.money["low"] < point.money["amount"] < point.money["high"]


def test_the_order_of_arrival_and_repeats_change_nothing(told: Report) -> None:
    """The same events backwards, and twice, make the same report."""
    entries = list(visits())

    again = report(folded(*reversed(entries), *entries), PLANS, watch("platform"))

    assert attrs.evolve(again, journeys=()) == attrs.evolve(told, journeys=())


def test_without_segments_no_event_is_read() -> None:
    """What is not declared does not run."""
    store = folded(*visits(60))

    def read(*_: Any, **__: Any) -> Any:
        raise AssertionError

    store.read = read  # type: ignore[method-assign]

    assert report(store, PLANS, watch()).pain_points == ()


def test_ten_events_are_too_few() -> None:
    """Nothing is found, and it says that it held back."""
    found = report(folded(*list(visits())[:10]), PLANS, watch("platform"))

    assert found.pain_points == ()
    assert any("too few customers" in note for note in found.notes)


def test_unknown_and_crowded_properties_are_said() -> None:
    """A property that no event has, and one with more values than anybody could read."""
    entries = [entry(f"u{each}", START + each, "pick", query=f"q{each}") for each in range(200)]
    entries.append(entry("end", START + 9 * DAY, "home"))

    notes = report(folded(*entries), PLANS, watch("query", "plattform")).notes

    assert any("'plattform'" in note for note in notes)
    assert any("'query' has 200 values" in note for note in notes)


def finding(**more: Any) -> Finding:
    """Return a finding of the first day."""
    values = {
        "code": "card.declined",
        "first_at": START + DAY,
        "last_at": START + DAY,
        "days": (20_001,),
        "journey": "shop",
        "stage": "pay",
        "evidence": ("older", "newest"),
        **more,
    }
    return Finding(**values)


def test_findings_of_rules_are_ranked_with_the_rest() -> None:
    """One point for each code and stage, with its customers, times, worst weeks and evidence."""
    store = folded(*visits())
    many = [(f"u:u{each}", finding(count=2, severity=Severity.HIGH)) for each in range(40)]
    put(store, *many, ("u:u1", finding(code="cart.lost", stage="cart")))

    found = report(store, PLANS, watch())

    (point,) = found.pain_points
    assert (point.code, point.stage, point.customers, point.events) == (
        "card.declined",
        "pay",
        40,
        80,
    )
    assert (point.severity, point.segment) == (Severity.HIGH, None)
    assert set(point.evidence) == {"newest"}
    assert point.money is not None
    assert [each.code for each in found.held_back] == ["cart.lost"]


def test_who_left_before_it_was_found_is_compared_with() -> None:
    """What time alone shows is found when others are gone; those of the day before still count."""
    entries = [entry(f"u{each}", START + each, "pick", total=1) for each in range(30)]
    hour = 3_600_000_000
    late = finding(stage="cart", first_at=START + hour, last_at=START + hour, days=(20_000,))

    for days, ranked in ((0, 1), (2, 0)):
        moved = attrs.evolve(
            late, first_at=late.first_at + days * DAY, last_at=late.last_at + days * DAY
        )
        store = folded(*entries)
        put(store, *((f"u:u{each}", moved) for each in range(6)))

        assert len(report(store, PLANS, watch()).pain_points) == ranked


def test_a_segment_is_named_where_it_stands_out() -> None:
    """If next to all affected are of one platform, and half of all are, the point says which."""
    store = folded(*visits())
    put(store, *((f"u:u{each}", finding()) for each in range(0, 120, 2)))

    points = report(store, PLANS, watch("platform")).pain_points

    assert [each.segment for each in points if each.code == "card.declined"] == [
        {"platform": "mobile"}
    ]


def test_effort_changes_the_order() -> None:
    """What takes more work comes later."""
    store = folded(*visits())
    put(store, *((f"u:u{each}", finding(code="b")) for each in range(40)))
    put(store, *((f"u:u{each}", finding(code="a")) for each in range(40)))

    first = [each.code for each in report(store, PLANS, watch()).pain_points]
    then = [each.code for each in report(store, PLANS, watch(a=5)).pain_points]

    assert (first, then) == (["a", "b"], ["b", "a"])
