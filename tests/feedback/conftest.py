from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

import attrs
import pytest

from journeykit import hookimpl
from journeykit.config.settings import ConsentMode, FeedbackSettings
from journeykit.feedback import Feedback
from journeykit.feedback.asking import Asking
from journeykit.feedback.history import PROMPTS, History
from journeykit.feedback.reading import Reader
from journeykit.journeys import Rulebook, declare, folds, plans
from journeykit.model import (
    Customer,
    Entry,
    Event,
    Journey,
    Kind,
    Offer,
    Page,
    PainPoint,
    Prompt,
    Receipt,
)
from journeykit.model.rule import PainPointRule
from journeykit.model.times import to_micros
from journeykit.plugins import Plugins
from journeykit.store.memory import MemoryStore
from journeykit.store.projector import Projector
from journeykit.store.protocol import Commit, Store

#: The instant that entries count their seconds from.
NOON = 1_772_452_800_000_000


class Hurts:
    """A plugin that finds a pain point in each declined payment: severe from the second try on."""

    @hookimpl
    def detect_pain_points(self, event: Event) -> Iterable[PainPoint]:
        """Find one."""
        if event.name == "Payment Declined":
            severity = event.properties.get("severity", "high")
            yield PainPoint("payment.declined", severity=severity)


@attrs.define
class Shop:
    """The parts behind `kit.feedback`, without threads: a store, a projector, a clock."""

    store: Store
    projector: Projector
    feedback: Feedback
    clock: Any
    make_entry: Callable[..., Entry]
    waiting: list[Entry] = attrs.field(factory=list)
    #: Whether facts are committed and folded at once.
    prompt: bool = True

    def track(
        self, name: str, customer: Customer, properties: dict[str, Any] | None = None, **more: Any
    ) -> Entry:
        """Record an event of now, or of `at` seconds after noon."""
        ids = {"user_id": customer.user_id, "anonymous_id": customer.anonymous_id}
        more.setdefault("at", (self.clock() - NOON) / 1e6)
        entry = self.make_entry(name, properties, **ids, session_id=customer.session_id, **more)
        self.waiting.append(entry)
        if self.prompt:
            self.fold()
        return entry

    def record(
        self,
        name: str,
        properties: Any,
        customer: Any = None,
        *,
        at: datetime | None = None,
        anyway: bool = False,
        **more: Any,
    ) -> Receipt:
        """Record a fact, as the kit does."""
        if at is not None:
            more["at"] = (to_micros(at) - NOON) / 1e6
        who = Customer.of(customer)
        return Receipt(self.track(name, who, dict(properties), **more).id)

    def commit(self) -> None:
        """Bring what was recorded to the Log."""
        entries, self.waiting = self.waiting, []
        if entries:
            self.store.commit(Commit(entries), self.clock())

    def fold(self) -> None:
        """Bring everything to the Log and to State."""
        self.commit()
        while self.projector.step() == 0:
            pass

    def ask(self, customer: Customer, path: str = "/", **more: Any) -> Offer | None:
        """Ask for a prompt, as a page does."""
        more.setdefault("session_id", customer.session_id)
        return self.feedback.ask(customer, Page(path=path, **more))

    def show(self, customer: Customer, path: str = "/") -> Offer:
        """Ask for a prompt and show it."""
        offer = self.ask(customer, path)
        assert offer is not None, self.why(customer)
        assert self.feedback.report(offer.impression, "shown", customer=customer)
        return offer

    def why(self, customer: Customer, path: str = "/", prompt: str | None = None) -> list[str]:
        """Return the reasons why nothing, or not this prompt, is shown."""
        page = Page(path=path, session_id=customer.session_id)
        gates = self.feedback.explain(customer, prompt, page)
        return [gate.reason for gate in gates if gate.passes is False]

    def history(self, key: str) -> History:
        """Return what State keeps of a customer."""
        data = self.store.state((PROMPTS, key))
        return History() if data is None else History.decode(data)

    def log(self, name: str) -> list[Entry]:
        """Return the events of this name in the Log."""
        return [each.entry for each in self.store.read(None, 10_000) if each.entry.name == name]


@pytest.fixture(scope="session")
def make_shop(
    make_clock: Callable[[], Any], make_entry: Callable[..., Entry]
) -> Callable[..., Any]:
    """Return a factory of shops: `make_shop(prompt, …, journeys=…, rules=…, store=…)`."""

    def make_shop(
        *prompts: Prompt,
        journeys: Iterable[Journey] = (),
        feedback: FeedbackSettings | None = None,
        store: Store | None = None,
        plugins: Iterable[object] = (),
        clock: Any = None,
        rules: Iterable[PainPointRule] = (),
        touchpoints: Iterable[str] = (),
        segments: Iterable[str] = (),
    ) -> Shop:
        clock, store = clock or make_clock(), store if store is not None else MemoryStore()
        settings = feedback or FeedbackSettings()
        asked = Plugins([Hurts(), *plugins], installed=False)
        declared, _ = declare(tuple(journeys), [], {})
        compiled = plans(declared)
        asks = Asking(
            prompts, settings, declared.vocabulary, frozenset(touchpoints), tuple(segments)
        )
        projector = Projector(
            store,
            folds(compiled, asked, Rulebook.of(rules, declared.vocabulary), asks.folds),
            declaration=asks.fingerprint(compiled),
            now=clock,
        )
        shop: list[Shop] = []

        def record(*arguments: Any, **more: Any) -> Receipt:
            return shop[0].record(*arguments, **more)

        def refuse(**more: Any) -> Receipt:
            denied = {"granted": [], "denied": list(more["denied"])}
            return record("customer.consented", denied, more["customer"], kind=Kind.FACT)

        facade = Feedback(
            store,
            Reader(store, asks, lambda: compiled),
            asked,
            mode=ConsentMode.OPT_OUT,
            record=record,
            refuse=refuse,
            now=clock,
            randomness=random.Random(1),
        )
        shop.append(Shop(store, projector, facade, clock, make_entry))
        return shop[0]

    return make_shop


DAY = timedelta(days=1)
