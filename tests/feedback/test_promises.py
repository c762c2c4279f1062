"""No sequence of events and times breaks a cap, the quiet time, the back-off or once-only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from journeykit.config.settings import FeedbackSettings
from journeykit.feedback.gates import micros
from journeykit.model import Ask, Cap, Customer, Prompt, When

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

PROMPTS = (
    Prompt(
        key="once",
        kind="csat",
        text="?",
        when=When(event="Order Completed", within=DAY),
        priority=9,
    ),
    Prompt(
        key="monthly",
        kind="nps",
        text="?",
        when=When(event="Product Viewed", within=DAY),
        ask=Ask(every=timedelta(days=30)),
        cancel=["Product Removed"],
    ),
    Prompt(
        key="always",
        kind="csat",
        group="text",
        text="?",
        when=When(page="/*"),
        ask=Ask(always=True),
    ),
    Prompt(
        key="until",
        kind="ces",
        text="?",
        when=When(page="/*"),
        ask=Ask(until_answered=True, max_shows=2),
        in_quiet=True,
        priority=60,
    ),
)
BY_KEY = {prompt.key: prompt for prompt in PROMPTS}

FEEDBACK = FeedbackSettings(
    caps=(
        Cap(most=2, per=DAY),
        Cap(most=1, per=timedelta(days=20), group="nps"),
        Cap(most=4, group="text"),
    ),
    per_session=1,
    back_off=timedelta(days=2),
    quiet=timedelta(days=5),
)

#: A person, two devices, and what they do.
EVENTS = ("Order Completed", "Product Viewed", "Product Removed", "Payment Declined", "Page Viewed")
STEPS = ("shown", "started", "answer", "completed", "dismissed", "abandoned")
OPERATIONS = st.one_of(
    st.tuples(st.just("track"), st.integers(0, 2), st.sampled_from(EVENTS)),
    st.tuples(st.just("ask"), st.integers(0, 2), st.integers(0, 3)),
    st.tuples(st.just("report"), st.integers(0, 2), st.integers(0, 3), st.sampled_from(STEPS)),
    st.tuples(st.just("visit"), st.integers(0, 2), st.integers(0, 5), st.sampled_from(STEPS)),
    st.tuples(st.just("sign in"), st.integers(0, 1)),
    st.tuples(st.just("wait"), st.sampled_from((1.0, 20.0, 400.0, 4000.0, 90_000.0, 600_000.0))),
    st.tuples(st.just("track"), st.integers(0, 2), st.just("Payment Declined")),
    st.tuples(st.just("fold")),
)


class Watch:
    """Does what it is told, and holds every show against the rules."""

    def __init__(self, shop: Any) -> None:
        self.shop = shop
        self.offers: list[str] = []
        self.prompt_of: dict[str, str] = {}
        #: Device → the person who has signed in there.
        self.people: dict[str, str] = {}
        #: Who, when, what, in which visit, and how it ended: one for each show.
        self.shows: list[dict[str, Any]] = []
        self.pains: list[tuple[str, int]] = []
        self.sessions: dict[str, str | None] = {}

    def customer(self, number: int, session: int = 0) -> Customer:
        """Return one of three: a device, another, and the first with somebody signed in."""
        device = f"d{number % 2}"
        user = "ada" if number == 2 else None
        return Customer(user, device, f"s{session}")

    def person(self, customer: Customer) -> str:
        """Return who a customer is by now."""
        return (
            customer.user_id
            or self.people.get(str(customer.anonymous_id))
            or str(customer.anonymous_id)
        )

    def sign_in(self, device: str) -> None:
        """Let a device be ada's from now on, with all that was done there."""
        self.people[device] = "ada"
        for show in self.shows:
            if show["who"] == device:
                show["who"] = "ada"
        self.pains = [("ada" if who == device else who, at) for who, at in self.pains]

    def do(self, operation: Any) -> None:  # noqa: C901 - one branch for each kind of thing
        """Do one thing."""
        what, *rest = operation
        if what == "track":
            customer = self.customer(rest[0])
            if customer.user_id:
                self.sign_in(str(customer.anonymous_id))
            self.shop.track(rest[1], customer)
            if customer.user_id or rest[1] == "Payment Declined":
                # Who is who, and what hurts, counts from the moment in which it is folded.
                self.shop.fold()
            if rest[1] == "Payment Declined":
                self.pains.append((self.person(customer), self.shop.clock()))
        elif what == "sign in":
            customer = Customer("ada", f"d{rest[0]}", "s0")
            self.sign_in(f"d{rest[0]}")
            self.shop.track("Signed In", customer)
            self.shop.fold()
        elif what == "ask":
            customer = self.customer(rest[0], rest[1])
            offer = self.shop.ask(customer)
            if offer is not None:
                self.offers.append(offer.impression)
                self.prompt_of[offer.impression] = offer.prompt.key
                self.sessions[offer.impression] = customer.session_id
        elif what == "visit":
            # The usual way: it is offered, shown and answered, or not.
            self.do(("ask", rest[0], rest[1]))
            self.do(("report", rest[0], 0, "shown"))
            self.do(("report", rest[0], 0, rest[2]))
        elif what == "report" and self.offers:
            self.report(
                self.customer(rest[0]), self.offers[-1 - rest[1] % len(self.offers)], rest[2]
            )
        elif what == "wait":
            # What is told is folded within the hour.
            if rest[0] > 1000:
                self.shop.fold()
            self.shop.clock.advance(rest[0])
        elif what == "fold":
            self.shop.fold()

    def report(self, customer: Customer, impression: str, step: str) -> None:
        """Report a step, and hold it against the rules if it is the first that counts."""
        outcome = self.shop.feedback.report(
            impression, step, customer=customer, seq=1, answers={"score": 5}
        )
        known = next((show for show in self.shows if show["id"] == impression), None)
        if outcome and known is None:
            known = {
                "id": impression,
                "who": self.person(customer),
                "at": self.shop.clock(),
                "prompt": self.prompt_of[impression],
                "session": self.sessions[impression],
                "end": None,
            }
            self.hold_against_rules(known)
            self.shows.append(known)
        if outcome and known is not None and step in ("answer", "completed", "abandoned"):
            known["end"] = "answered"
        elif outcome and known is not None and step == "dismissed" and known["end"] is None:
            known["end"] = "dismissed"

    def hold_against_rules(self, show: dict[str, Any]) -> None:
        """Fail if *show* breaks a rule, given those before it."""
        prompt, now = BY_KEY[show["prompt"]], show["at"]
        before = [each for each in self.shows if each["who"] == show["who"]]
        same = [each for each in before if each["prompt"] == prompt.key]
        if prompt.key == "once":
            assert not same
        if prompt.key == "monthly":
            assert all(now - each["at"] >= micros(timedelta(days=30)) for each in same)
        if prompt.key == "until":
            assert len(same) < 2
            assert all(each["end"] != "answered" for each in same)
        assert show["session"] not in {each["session"] for each in before}
        for cap in FEEDBACK.caps:
            counted = [
                each
                for each in before
                if cap.group in (None, BY_KEY[each["prompt"]].group)
                and (cap.per is None or now - each["at"] < micros(cap.per))
            ]
            if cap.group in (None, prompt.group):
                assert len(counted) < cap.most
        if before and before[-1]["end"] == "dismissed":
            assert now - before[-1]["at"] >= micros(FEEDBACK.back_off)
        if prompt.asks_score and not prompt.in_quiet:
            pains = [at for who, at in self.pains if who == show["who"]]
            assert all(now - at >= micros(FEEDBACK.quiet) for at in pains)


@given(operations=st.lists(OPERATIONS, min_size=10, max_size=80))
@settings(max_examples=3 * settings().max_examples)
def test_no_sequence_breaks_a_rule(make_shop: Callable[..., Any], operations: list[Any]) -> None:
    """Whatever happens in whatever order, before or after it was folded, each show keeps the rules."""
    shop = make_shop(*PROMPTS, feedback=FEEDBACK)
    shop.prompt = False
    watch = Watch(shop)
    for operation in operations:
        watch.do(operation)
    shop.fold()
    shown = {entry.id for entry in shop.log("prompt.shown")}
    assert len(shown) == len(watch.shows)
