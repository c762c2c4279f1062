"""Every rule of the catalogue, against a plain reading of its definition over the whole history."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit.journeys import catalogue as rules
from journeykit.model import Entry
from journeykit.model.rule import PainPointRule
from journeykit.store.protocol import Commit

MakeEntry = Callable[..., Entry]

SECOND = 1_000_000
NOON = 1_772_452_800 * SECOND


class Seen(NamedTuple):
    """An event as a definition reads it."""

    at: int
    id: str
    name: str
    given: dict[str, Any]


#: Target, instant, severity.
Hit = tuple[str, int, str]


class Definition(NamedTuple):
    """
    A rule, the events that concern it, and what it is meant to find in them.

    `unit` is the time that matters, in seconds; `read` returns hits, and `recovered` the targets
    and instants of recoveries.
    """

    rule: PainPointRule
    unit: float
    pool: Sequence[tuple[str, dict[str, Any]]]
    read: Callable[[list[Seen]], list[Hit]]
    recovered: Callable[[list[Seen]], list[tuple[str, int]]] = lambda _: []


def micros(seconds: float) -> int:
    return round(seconds * SECOND)


def targets(events: Sequence[Seen], key: str) -> list[str]:
    return sorted({str(each.given.get(key, "")) for each in events})


def about(events: Sequence[Seen], key: str, target: str, ends: tuple[str, ...]) -> list[Seen]:
    """Return the events of one target, and those that end every one."""
    return [
        each
        for each in events
        if str(each.given.get(key, "")) == target or (each.name in ends and key not in each.given)
    ]


# Carts

ENDS = ("Order Completed",)
CART_ENDS = ("Order Completed", "Checkout Started")
CARTS: list[tuple[str, dict[str, Any]]] = [
    (name, {**cart, **more})
    for cart in ({"cart_id": "a"}, {"cart_id": "b"}, {})
    for name, more in (
        ("Product Added", {"price": 10, "quantity": 2}),
        ("Product Added", {}),
        ("Product Removed", {"quantity": 2}),
        ("Cart Viewed", {}),
        ("Checkout Started", {}),
        ("Order Completed", {}),
    )
]


def quiet_carts(events: list[Seen]) -> Iterator[tuple[str, int]]:
    """Yield carts that are not empty, and when nothing was done with them for an hour."""
    for cart in targets(events, "cart_id"):
        mine = about(events, "cart_id", cart, CART_ENDS)
        pieces = 0
        for index, each in enumerate(mine):
            many = int(each.given.get("quantity", 1))
            if each.name in CART_ENDS:
                pieces = 0
            elif each.name == "Product Added":
                pieces += many
            elif each.name == "Product Removed":
                pieces = max(0, pieces - many)
            deadline = each.at + micros(3600)
            if pieces and (index + 1 == len(mine) or mine[index + 1].at >= deadline):
                yield cart, deadline


def abandoned_carts(events: list[Seen]) -> list[Hit]:
    return [(cart, at, "medium") for cart, at in quiet_carts(events)]


def recovered_by_order(
    events: list[Seen], found: Sequence[tuple[str, int]]
) -> list[tuple[str, int]]:
    """Return the orders of targets in which something was found since the order before."""
    back = []
    for cart in targets(events, "cart_id"):
        since = 0
        for each in about(events, "cart_id", cart, ENDS):
            if each.name in ENDS:
                if any(which == cart and since < at <= each.at for which, at in found):
                    back.append((cart, each.at))
                since = each.at
    return back


def abandoned_checkouts(events: list[Seen]) -> list[Hit]:
    hits = []
    for cart in targets(events, "cart_id"):
        mine = about(events, "cart_id", cart, ENDS)
        mine = [each for each in mine if each.name in CART_ENDS]
        for index, each in enumerate(mine):
            deadline = each.at + micros(3600)
            last = index + 1 == len(mine) or mine[index + 1].at >= deadline
            if each.name == "Checkout Started" and last:
                hits.append((cart, deadline, "high"))
    return hits


PAYMENTS = [
    (name, cart)
    for cart in ({"cart_id": "a"}, {"cart_id": "b"}, {})
    for name in ("Payment Declined", "Payment Failed", "Order Completed")
]
DAY = 86_400


def declined(events: list[Seen]) -> list[Hit]:
    hits = []
    for cart in targets(events, "cart_id"):
        run: list[int] = []
        for each in about(events, "cart_id", cart, ENDS):
            if each.name in ENDS:
                run = []
            else:
                run.append(each.at)
                count = sum(at >= each.at - micros(DAY) for at in run)
                hits.append((cart, each.at, "high" if count > 1 else "medium"))
    return hits


def paid_after_all(events: list[Seen]) -> list[tuple[str, int]]:
    back = []
    for cart in targets(events, "cart_id"):
        last = None
        for each in about(events, "cart_id", cart, ENDS):
            if each.name not in ENDS:
                last = each.at
            elif last is not None:
                if last >= each.at - micros(DAY):
                    back.append((cart, each.at))
                last = None
    return back


# Searches, requests, pages


def counted(
    events: list[Seen], most: int, window: float, ends: Sequence[str] = ()
) -> list[tuple[int, str]]:
    """Return where *most* events lie within *window*, counted from the beginning after each."""
    hits, run = [], []
    for each in events:
        if each.name in ends:
            run = []
            continue
        run = [at for at in run if at >= each.at - micros(window)] + [each.at]
        if len(run) == most:
            hits.append((each.at, each.id))
            run = []
    return hits


def nothing_found(events: list[Seen]) -> list[Hit]:
    empty = [
        each
        for each in events
        if each.given.get("results") in (0, "0") or each.given.get("products") == []
    ]
    return [("", each.at, "low") for each in empty]


def searched_in_vain(events: list[Seen]) -> list[Hit]:
    ends = ("Product Clicked", "Product Viewed", "Product Added")
    return [("", at, "medium") for at, _ in counted(events, 3, 300, ends)]


def failing_routes(events: list[Seen]) -> list[Hit]:
    bad = [
        each
        for each in events
        if each.given["status"] >= (400 if each.given.get("method") == "POST" else 500)
    ]
    return [
        (route, at, "high")
        for route in targets(bad, "route")
        for at, _ in counted([each for each in bad if each.given["route"] == route], 2, 300)
    ]


def slow_pages(events: list[Seen]) -> list[Hit]:
    limits = {"lcp_ms": 4000, "inp_ms": 500, "duration_ms": 3000}
    return [
        (each.given["path"], each.at, "low")
        for each in events
        if any(each.given.get(name, 0) > limit for name, limit in limits.items())
    ]


def visits(events: list[Seen], pause: float) -> Iterator[list[Seen]]:
    """Yield the steps from page to page, cut where nothing was shown for so long."""
    shown = [each for each in events if "path" in each.given]
    visit: list[Seen] = []
    for before, each in zip([None, *shown], shown, strict=False):
        if before is not None and each.at - before.at > micros(pause):
            yield visit
            visit = []
        if not visit or visit[-1].given["path"] != each.given["path"]:
            visit = [*visit, each]
    yield visit


def quickly_back(events: list[Seen]) -> list[Hit]:
    return [
        ("", third.at, "low")
        for visit in visits(events, 1800)
        for first, second, third in zip(visit, visit[1:], visit[2:], strict=False)
        if first.given["path"] == third.given["path"] and third.at - second.at < micros(5)
    ]


def to_and_fro(events: list[Seen]) -> list[Hit]:
    hits = []
    for visit in visits(events, 600):
        run: list[int] = []
        for index, each in enumerate(visit):
            if index < 2 or visit[index - 2].given["path"] != each.given["path"]:
                run = []
                continue
            run = [at for at in run if at >= each.at - micros(600)] + [each.at]
            if len(run) == 3:
                hits.append(("", each.at, "medium"))
                run = []
    return hits


FORMS = [
    (name, {**form, "field": "email"} if name.startswith("Form Field") else form)
    for form in ({"form": "address"}, {"form": "login"}, {})
    for name in ("Form Field Filled", "Form Field Filled", "Form Submitted", "Form Left")
]


def unsent_forms(events: list[Seen]) -> list[Hit]:
    hits = []
    ends = ("Form Submitted", "Form Left")
    for form in targets(events, "form"):
        mine = about(events, "form", form, ends)
        waiting = False
        for index, each in enumerate(mine):
            if each.name == "Form Left" and waiting:
                hits.append((form, each.at, "medium"))
            waiting = each.name == "Form Field Filled"
            deadline = each.at + micros(1800)
            if waiting and (index + 1 == len(mine) or mine[index + 1].at >= deadline):
                hits.append((form, deadline, "medium"))
                waiting = False
    return hits


def hard_fields(events: list[Seen]) -> list[Hit]:
    hits = []
    for field in targets(events, "field"):
        for name in ("Form Field Failed", "Form Field Returned"):
            mine = [each for each in events if each.given["field"] == field and each.name == name]
            hits += [(f"f {field}", at, "medium") for at, _ in counted(mine, 3, 1800)]
    return hits


# Clicks


def raging(events: list[Seen]) -> list[Hit]:
    hits = [("", each.at, "medium") for each in events if each.name == "Rage Clicked"]
    clicks = [
        each for each in events if each.name == "Element Clicked" and "ignored" not in each.given
    ]
    long = 0
    for before, each in zip([None, *clicks], clicks, strict=False):
        near = before is not None and each.at - before.at < SECOND
        if near and before is not None:
            down = abs(before.given["x"] - each.given["x"])
            near = down + abs(before.given["y"] - each.given["y"]) < 30
        long = long + 1 if near else 1
        if long == 3:
            hits.append(("", each.at, "medium"))
    return hits


def dead(events: list[Seen]) -> list[Hit]:
    return [
        (each.given["element"], each.at, "low")
        for each in events
        if each.given.get("waited_ms", 9999) >= 2500
    ]


def clicked_into_errors(events: list[Seen]) -> list[Hit]:
    hits = []
    for index, each in enumerate(events):
        if each.name == "Element Clicked" or index == 0:
            continue
        before = events[index - 1]
        if before.name == "Element Clicked" and each.at - before.at <= SECOND:
            hits.append(("", each.at, "medium"))
    return hits


# Service

ASKED = [
    (name, {**about_, **more})
    for about_ in ({"conversation_id": "a"}, {})
    for name, more in (
        ("Support Requested", {"channel": "email"}),
        ("Support Requested", {"channel": "chat"}),
        ("Support Replied", {}),
        ("Support Replied", {"is_bot": True}),
    )
]


def waiting(events: list[Seen]) -> Iterator[tuple[str, int, int | None]]:
    """Yield conversation, the end of the promise, and when a person answered."""
    for which in targets(events, "conversation_id"):
        since = None
        for each in events:
            if str(each.given.get("conversation_id", "")) != which or "is_bot" in each.given:
                continue
            if each.name == "Support Requested" and since is None:
                promise = {"email": 4 * 3600, "chat": 120}[each.given["channel"]]
                since = each.at + micros(promise)
            elif each.name == "Support Replied" and since is not None:
                yield which, since, each.at
                since = None
        if since is not None:
            yield which, since, None


def unanswered(events: list[Seen]) -> list[Hit]:
    return [
        (which, until, "medium")
        for which, until, answer in waiting(events)
        if answer is None or answer >= until
    ]


def answered_late(events: list[Seen]) -> list[tuple[str, int]]:
    return [
        (which, answer)
        for which, until, answer in waiting(events)
        if answer is not None and answer >= until
    ]


def asked_again(events: list[Seen]) -> list[Hit]:
    hits = []
    for order in targets(events, "order_id"):
        mine = [each for each in events if str(each.given.get("order_id", "")) == order]
        for index, each in enumerate(mine):
            if any(before.at >= each.at - micros(3 * DAY) for before in mine[:index]):
                hits.append((order, each.at, "medium"))
    return hits


def low_scores(events: list[Seen]) -> list[Hit]:
    limits = {"nps": 6, "nps_plus": 6, "csat": 2, "ces": 3}
    found = []
    for each in events:
        kind, impression = each.given["kind"], each.given.get("impression")
        if kind not in limits or each.given["score"] > limits[kind]:
            continue
        same = [other for other in found if other.given["kind"] == kind]
        if impression is None or not same or same[-1].given.get("impression") != impression:
            found.append(each)
    return [(each.given["kind"], each.at, "high") for each in found]


PROMISES = [
    ("Order Shipped", {"order_id": "o", "promised_at": "2026-03-02T13:00:00Z"}),
    ("Order Shipped", {"order_id": "o", "estimated_delivery": "2026-03-02"}),
    ("Order Shipped", {"order_id": "o"}),
    ("Order Delivered", {"order_id": "o"}),
    ("Order Delivered", {"order_id": "o", "delivered_at": "2026-03-06T00:00:00+00:00"}),
    ("Order Delivered", {"order_id": "p", "promised_at": "2026-03-02T12:30:00"}),
]


def late_deliveries(events: list[Seen]) -> list[Hit]:
    def instant(text: str) -> int:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else datetime.fromisoformat(text + "+00:00")
        return round(moment.timestamp()) * SECOND

    promises: dict[str, int] = {}
    hits = []
    for each in events:
        order = each.given["order_id"]
        if "promised_at" in each.given:
            promises[order] = instant(each.given["promised_at"])
        if "estimated_delivery" in each.given:
            promises[order] = instant("2026-03-03T00:00:00Z")
        if each.name == "Order Delivered" and order in promises:
            came = instant(each.given["delivered_at"]) if "delivered_at" in each.given else each.at
            late = came - promises.pop(order)
            if late > 0:
                hits.append((order, each.at, "high" if late > micros(2 * DAY) else "medium"))
    return hits


def cancelled(events: list[Seen]) -> list[Hit]:
    hits = []
    made: dict[str, int] = {}
    for each in events:
        order = each.given.get("order_id", "")
        if each.name == "Order Completed" and order:
            made[order] = each.at
        elif each.name == "Order Cancelled":
            at = made.pop(order, None)
            soon = at is not None and each.at - at <= micros(DAY)
            hits.append((order, each.at, "high" if soon else "medium"))
    return hits


def each_order(events: list[Seen]) -> list[Hit]:
    return [(each.given.get("order_id", ""), each.at, "medium") for each in events]


SEARCHES = [
    ("Products Searched", results)
    for results in ({"results": 0}, {"results": 7}, {"results": "0"}, {"products": []}, {})
]
VIEWS = [("Page Viewed", {"path": path}) for path in "abc"] + [("Page Viewed", {})]

DEFINITIONS = [
    Definition(
        rules.CartAbandoned(),
        3600,
        CARTS,
        abandoned_carts,
        lambda events: recovered_by_order(events, list(quiet_carts(events))),
    ),
    Definition(
        rules.CheckoutAbandoned(),
        3600,
        [each for each in CARTS if each[0] in CART_ENDS],
        abandoned_checkouts,
        lambda events: recovered_by_order(
            events, [(cart, at) for cart, at, _ in abandoned_checkouts(events)]
        ),
    ),
    Definition(rules.PaymentDeclined(), DAY, PAYMENTS, declined, paid_after_all),
    Definition(rules.SearchNoResults(), 60, SEARCHES, nothing_found),
    Definition(
        rules.SearchLooped(),
        300,
        [*SEARCHES[:3], ("Product Viewed", {}), ("Product Clicked", {})],
        searched_in_vain,
    ),
    Definition(
        rules.ServerError(),
        300,
        [
            ("Request Failed", {"route": route, "status": status, "method": method})
            for route in ("/pay", "/cart")
            for status, method in ((500, "GET"), (404, "GET"), (404, "POST"), (503, "POST"))
        ],
        failing_routes,
    ),
    Definition(
        rules.PageSlow(),
        60,
        [
            ("Page Performance Measured", {"path": "/", **measured})
            for measured in (
                {"lcp_ms": 4000},
                {"lcp_ms": 4001},
                {"inp_ms": 501, "lcp_ms": 10},
                {"duration_ms": 3000.5},
                {},
            )
        ],
        slow_pages,
    ),
    Definition(rules.PageQuickBack(), 5, VIEWS, quickly_back),
    Definition(rules.PageLooped(), 600, VIEWS[:2] * 3 + VIEWS, to_and_fro),
    Definition(rules.FormAbandoned(), 1800, FORMS, unsent_forms),
    Definition(
        rules.FormStruggled(),
        1800,
        [
            (name, {"form": "f", "field": field})
            for name in ("Form Field Failed", "Form Field Returned")
            for field in ("email", "zip")
        ],
        hard_fields,
    ),
    Definition(
        rules.ClickRaged(),
        1,
        [
            *(("Element Clicked", {"x": x, "y": 5}) for x in (1, 1, 20, 31)),
            ("Element Clicked", {"x": 1, "y": 5, "ignored": True}),
            ("Rage Clicked", {}),
        ],
        raging,
    ),
    Definition(
        rules.ClickDead(),
        60,
        [
            ("Dead Clicked", {"element": "buy", **more})
            for more in ({}, {"waited_ms": 2499}, {"waited_ms": 2500})
        ],
        dead,
    ),
    Definition(
        rules.ClickFailed(),
        1,
        [("Element Clicked", {}), ("Script Failed", {}), ("Request Failed", {})],
        clicked_into_errors,
    ),
    Definition(rules.ReplySlow(), 3600 * 2, ASKED, unanswered, answered_late),
    Definition(
        rules.ContactRepeated(window=timedelta(days=3)),
        3 * DAY / 4,
        [("Support Requested", topic) for topic in ({"order_id": "o"}, {"topic": "tea"}, {})],
        lambda events: asked_again(
            [
                each._replace(
                    given={"order_id": each.given.get("order_id", each.given.get("topic", ""))}
                )
                for each in events
            ]
        ),
    ),
    Definition(
        rules.ScoreLow(),
        60,
        [
            ("Score Given", {"kind": kind, "score": score, **impression})
            for kind in ("nps", "nps_plus", "csat", "ces", "stars")
            for score in (0, 2, 3, 4, 6, 7)
            for impression in ({}, {"impression": "i1"}, {"impression": "i2"})
        ],
        low_scores,
    ),
    Definition(rules.DeliveryLate(), DAY / 2, PROMISES, late_deliveries),
    Definition(
        rules.OrderCancelled(soon=timedelta(days=1)),
        DAY / 2,
        [
            (name, order)
            for name in ("Order Completed", "Order Cancelled")
            for order in ({"order_id": "o"}, {})
        ],
        cancelled,
    ),
    Definition(rules.OrderReturned(), 60, [("Order Returned", {"order_id": "o"})], each_order),
    Definition(rules.OrderRefunded(), 60, [("Order Refunded", {})], each_order),
]


@st.composite
def histories(draw: st.DrawFn, definition: Definition) -> list[tuple[float, str, dict[str, Any]]]:
    """Draw events of the definition's pool, with pauses around the time that matters."""
    unit = definition.unit
    pauses = st.sampled_from(
        [0, unit / 100, unit / 3, unit - unit / 100, unit, unit + unit / 100, 2 * unit]
    )
    chosen = draw(st.lists(st.tuples(pauses, st.sampled_from(definition.pool)), max_size=12))
    at, found = 0.0, []
    for pause, (name, properties) in chosen:
        at += pause
        found.append((at, name, properties))
    # All within the late window.
    longest = 6.5 * DAY
    return [each for each in found if each[0] < longest]


def test_every_rule_has_a_definition() -> None:
    """No rule of the catalogue goes without a reading of its definition."""
    defined = [definition.rule.code for definition in DEFINITIONS]
    assert sorted(defined) == sorted(rule.code for rule in rules.CATALOGUE)


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda each: each.rule.code)
@given(data=st.data(), shuffle=st.randoms(use_true_random=False))
def test_rules_find_what_their_definition_says(
    new_world: Callable[..., Any],
    make_entry: MakeEntry,
    definition: Definition,
    data: st.DataObject,
    shuffle: random.Random,
) -> None:
    """In whatever order, in whatever batches and however often events arrive, they are the same."""
    drawn = data.draw(histories(definition))
    entries = [
        make_entry(name, properties, at=at, id=f"e{index}")
        for index, (at, name, properties) in enumerate(drawn)
    ]
    seen = sorted(
        Seen(entry.occurred_at, entry.id, name, properties)
        for entry, (_, name, properties) in zip(entries, drawn, strict=True)
    )
    in_order = data.draw(st.booleans(), label="in order")
    arriving = entries if in_order else [*entries, *shuffle.sample(entries, len(entries) // 3)]
    if not in_order:
        shuffle.shuffle(arriving)
    now = [NOON]
    with new_world(rules=[definition.rule], now=lambda: now[0]) as world:
        while arriving:
            size = 1 if in_order else shuffle.randint(1, len(arriving))
            batch, arriving = arriving[:size], arriving[size:]
            now[0] = max(now[0], *(entry.occurred_at for entry in batch))
            world.store.commit(Commit(batch), now[0])
            world.fold()
        now[0] += micros(30 * DAY)
        world.fold()

        hits = definition.read(seen)
        code = definition.rule.code
        told = [("detected", code, target, at) for target, at, _ in hits]
        told += [("recovered", code, target, at) for target, at in definition.recovered(seen)]
        assert world.told() == sorted(told)
        _check_findings(world, hits)
        again = world.again().fold()
        assert again.told() == world.told()
        _check_findings(again, hits)


def _check_findings(world: Any, hits: list[Hit]) -> None:
    found = {key[2]: finding for key, finding in world.findings.items()}
    assert found.keys() == {target for target, _, _ in hits}
    for target, finding in found.items():
        mine = sorted(hit for hit in hits if hit[0] == target)
        assert finding.count == len(mine)
        assert (finding.first_at, finding.last_at) == (mine[0][1], mine[-1][1])
        worst = "high" if any(hit[2] == "high" for hit in mine) else mine[0][2]
        assert finding.severity == worst
        assert finding.days == tuple(sorted({at // (DAY * SECOND) for _, at, _ in mine}))
        assert finding.evidence
        assert not finding.historical
