"""What sinks get of cases, and what is left of them when a customer is erased."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from journeykit import Batch, JourneyKit
from journeykit.capture.context import bind_customer
from journeykit.config import Settings
from journeykit.model import CaseRule, Cases, CaseWhen, Customer, Kind, Prompt, When, jsonbytes

PROMPT = Prompt(key="q", kind="csat", text="How?", when=When(event="Order Completed"))
CASES = Cases(rules=[CaseRule(key="low", when=CaseWhen(prompt="q"), owner="desk")])
BOB = {"actor": "bob", "reason": "so it is"}


class Kept:
    """A sink that keeps what it gets."""

    def __init__(self, name: str, purpose: str | None = None) -> None:
        self.name = name
        self.purpose = purpose
        self.events: list[dict[str, Any]] = []

    def deliver(self, batch: Batch) -> None:
        """Keep all of it."""
        self.events += [jsonbytes.loads(line) for line in batch.lines]

    def close(self) -> None:
        """Do nothing."""

    def names(self) -> list[str]:
        """Return the names of what was delivered about cases."""
        return [each["name"] for each in self.events if each["name"].startswith("case")]


@pytest.fixture
def open_kit(make_settings: Callable[..., Settings]) -> Iterator[Callable[..., JourneyKit]]:
    """Return a function that opens a shop with these sinks."""
    kits: list[JourneyKit] = []

    def open_kit(*sinks: Any, cases: Cases = CASES) -> JourneyKit:
        kits.append(JourneyKit(make_settings(prompts=[PROMPT], cases=cases), sinks=sinks))
        return kits[-1]

    yield open_kit
    for kit in kits:
        kit.close()


def answer(kit: JourneyKit, customer: Customer, score: int = 1) -> None:
    """Record an answer, as a page does."""
    properties = {
        "impression": f"i-{customer.key}-{score}",
        "prompt": "q",
        "kind": "csat",
        "seq": 0,
        "answers": {"score": score, "more": "write to me"},
        "score": score,
        "scale": [1, 5],
    }
    fact = {"kind": Kind.FACT, "actor": "customer", "reason": "x"}
    assert kit._record("prompt.answered", properties, customer, **fact)
    assert kit.flush()


def test_every_change_reaches_the_sinks(open_kit: Callable[..., JourneyKit]) -> None:
    """What was derived and what people did goes out, in order, with the case in each."""
    sink = Kept("crm")
    kit = open_kit(sink)
    answer(kit, Customer("ada"))
    (case,) = kit.cases.list()
    for step in (
        lambda: kit.cases.assign(case.id, "carla", **BOB),
        lambda: kit.cases.acknowledge(case.id, **BOB),
        lambda: kit.cases.wait(case.id, **BOB),
        lambda: kit.cases.resume(case.id, **BOB),
        lambda: kit.cases.note(case.id, "asleep", actor="bob"),
        lambda: kit.cases.resolve(case.id, cause="late", action="voucher", **BOB),
        lambda: kit.cases.reopen(case.id, **BOB),
    ):
        assert step()
        assert kit.flush()
    answer(kit, Customer("ada"), 2)
    assert sink.names() == [
        *("case.opened", "case.assigned", "case.acknowledged", "case.waiting", "case.resumed"),
        *("case.noted", "case.resolved", "case.reopened", "case.evidence_added"),
    ]
    about = [each for each in sink.events if each["name"].startswith("case.")]
    assert {each["properties"]["case"] for each in about} == {case.id}
    assert {each["customer"]["user_id"] for each in about} == {"ada"}
    opened, assigned = about[0], about[1]
    assert (opened["kind"], opened["id"]) == ("derived", case.id)
    assert opened["properties"]["owner"] == "desk"
    assert opened["properties"]["evidence"]["answers"]["more"] == "write to me"
    assert set(opened) >= {"journey", "version", "stage", "instance", "caused_by", "v"}
    assert (assigned["kind"], assigned["actor"]) == ("fact", "bob")
    assert {"cases.declared", "case.declared"}.isdisjoint(each["name"] for each in sink.events)


def test_cases_go_where_their_complaint_may_go(open_kit: Callable[..., JourneyKit]) -> None:
    """A sink with a purpose gets the case, and what is done to it, of who has agreed to it only."""
    sink = Kept("crm", purpose="contact")
    kit = open_kit(sink)
    for name, purposes in (("ada", {"analytics", "contact"}), ("eve", {"analytics"})):
        with bind_customer(Customer(name), purposes=purposes):
            answer(kit, Customer(name))
    with bind_customer(Customer("bob"), purposes={"analytics", "contact"}):
        for case in kit.cases.list():
            kit.cases.acknowledge(case.id, **BOB)
    assert kit.flush()
    assert sink.names() == ["case.opened", "case.acknowledged"]
    assert {each["customer"]["user_id"] for each in sink.events} == {"ada"}


def test_an_erased_customer_leaves_no_case(open_kit: Callable[..., JourneyKit]) -> None:
    """Of somebody who was erased neither the case nor what was done to it is left anywhere."""
    kit = open_kit(cases=Cases(rules=CASES.rules, first_response=timedelta(days=1)))
    answer(kit, Customer(None, "device-of-ada"))
    with bind_customer(Customer("ada-who-leaves", "device-of-ada")):
        kit.track("User Signed In")
    answer(kit, Customer("eve"))
    assert kit.flush()
    (case,) = kit.cases.list(customer="ada-who-leaves")
    kit.cases.note(case.id, "asleep", actor="bob")
    assert kit.flush()
    assert kit.erase("ada-who-leaves", reason="asked", actor="customer").done
    assert [each.customer.user_id for each in kit.cases.list(everything=True)] == ["eve"]
    with pytest.raises(LookupError):
        kit.cases.get(case.id)
    state = [
        (space, key, data)
        for space in ("case", "case_closed", "case_file", "timer", "prompts")
        for key, data in kit.store.scan(space)
    ]
    rows = [each.entry.body for each in kit.store.read(None, 1000)]
    assert all(case.id not in key for _, key, _ in state)
    for word in (b"ada-who-leaves", b"device-of-ada", case.id.encode()):
        assert not any(word in data for _, _, data in state)
        assert not any(word in body for body in rows)
    assert len(kit.cases.list()) == 1


def test_an_erased_customer_leaves_no_browser_in_a_case(
    open_kit: Callable[..., JourneyKit],
) -> None:
    """The case of somebody who complained from the browser of one who is erased does not name it."""
    kit = open_kit(cases=Cases(rules=CASES.rules, first_response=timedelta(days=1)))
    with bind_customer(Customer("ada", "device-of-ada")):
        kit.track("User Signed In")
    answer(kit, Customer("eve", "device-of-ada"))
    assert kit.flush()
    assert kit.erase("ada", reason="asked", actor="customer").done

    (case,) = kit.cases.list()
    assert kit.cases.acknowledge(case.id, **BOB)
    assert kit.flush()
    assert kit.cases.get(case.id).customer == Customer("eve")
    state = [data for space in ("case", "case_file", "timer") for _, data in kit.store.scan(space)]
    rows = [each.entry.body for each in kit.store.read(None, 1000)]
    assert not any(b"device-of-ada" in data for data in (*state, *rows))
