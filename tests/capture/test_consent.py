from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from journeykit import Customer, Event, EventRejected, JourneyKit
from journeykit.capture.context import Bound, bind, bind_customer, unbind
from journeykit.model.consent import Stamp, stamp_of

MakeKit = Callable[..., JourneyKit]


@pytest.fixture
def make_kit(make_settings: Callable[..., Any]) -> Iterator[MakeKit]:
    """Return a factory of kits with a store in memory."""
    kits = []

    def make_kit(consent: str = "opt_out", **core: Any) -> JourneyKit:
        kits.append(JourneyKit(make_settings(consent, core)))
        return kits[-1]

    yield make_kit
    for kit in kits:
        kit.close()


def events(kit: JourneyKit) -> list[Event]:
    """Return what is in the Log."""
    assert kit.flush()
    return [stored.event() for stored in kit.store.read(None, 100)]


@pytest.mark.parametrize("mode", ["opt_out", "opt_in"])
def test_a_choice_is_a_fact(make_kit: MakeKit, mode: str) -> None:
    """The fact says what was granted and denied, by whom, why, and by which text."""
    kit = make_kit(mode)
    with kit.bind_customer(Customer("ada", "cookie", "s"), channel="web", context={"page": "x"}):
        assert kit.consent(granted={"analytics", "marketing"}, denied={"export:crm"}, policy="v3")

    (fact,) = events(kit)
    assert (fact.name, fact.kind, fact.actor, fact.reason) == (
        "customer.consented",
        "fact",
        "customer",
        "chosen",
    )
    assert fact.properties == {
        "granted": ["analytics", "marketing"],
        "denied": ["export:crm"],
        "policy": "v3",
    }
    assert fact.customer == Customer("ada", "cookie", "s")
    assert fact.channel == "web"
    assert fact.context == {
        "library": "journeykit",
        "purposes": ["analytics", "marketing"],
        "denied": ["export:crm"],
    }


@pytest.mark.parametrize("mode", ["opt_out", "opt_in"])
def test_the_request_goes_on_with_the_choice(make_kit: MakeKit, mode: str) -> None:
    """From the choice on, events carry it; who withdraws is recorded no more, but for that."""
    kit = make_kit(mode, strict=False)
    with kit.bind_customer(Customer("ada", "cookie", "s"), purposes=["analytics"]) as bound:
        assert kit.track("One")
        assert kit.consent(granted="marketing")
        assert bound.purposes == {"analytics", "marketing"}
        assert kit.track("Two")
        assert kit.consent(denied=["analytics"])
        assert kit.track("Three").reason == "no_consent"
        assert kit.consent(granted=["analytics"])
        assert kit.track("Four")

    found = events(kit)
    names = [event.name for event in found]
    assert names == ["One", "customer.consented", "Two", *["customer.consented"] * 2, "Four"]
    assert found[2].context["purposes"] == ["analytics", "marketing"]
    assert found[3].context["purposes"] == ["marketing"]
    assert found[5].context["purposes"] == ["analytics", "marketing"]


def test_a_withdrawal_says_no_more_than_whose_it_is(make_kit: MakeKit) -> None:
    """Of who is not to be recorded, the fact has one id: no session, and no link of two."""
    kit = make_kit()
    for customer, left in [
        (Customer("ada", "cookie", "s"), Customer("ada")),
        (Customer(None, "cookie", "s"), Customer(None, "cookie")),
    ]:
        with kit.bind_customer(customer):
            assert kit.consent(denied={"analytics"})
        assert events(kit)[-1].customer == left


def test_who_is_only_asked_about_more_stays_recorded(make_kit: MakeKit) -> None:
    """In an opt-out shop, agreeing to marketing is no objection to being recorded."""
    kit = make_kit()
    with kit.bind_customer("ada") as bound:
        assert kit.consent(granted={"marketing"})
        assert bound.purposes == {"analytics", "marketing"}
        assert kit.track("X")
    with kit.bind_customer("bob") as bound:
        assert kit.consent(denied={"marketing"})
        assert (bound.purposes, bound.denied) == (None, {"marketing"})
        assert kit.track("X")


def test_another_customers_choice_is_not_the_requests(make_kit: MakeKit) -> None:
    """Who records a choice for somebody else goes on as before."""
    kit = make_kit()
    with kit.bind_customer("clerk", purposes=["analytics"]) as bound:
        assert kit.consent(denied={"analytics"}, customer="ada", actor="clerk", reason="by letter")
        assert bound.purposes == {"analytics"}
        assert kit.track("X")
    assert kit.consent(granted={"analytics"}, customer="bob")

    fact, event, other = events(kit)
    assert (fact.customer.user_id, fact.actor, fact.reason) == ("ada", "clerk", "by letter")
    assert (event.customer.user_id, other.customer.user_id) == ("clerk", "bob")


def test_who_may_be_recorded_now_is_looked_up_again(make_kit: MakeKit) -> None:
    """A customer who had no cookie before they agreed has one from then on."""
    kit = make_kit("opt_in")
    bound = Bound(
        lambda: Customer("ada", "cookie" if "analytics" in (bound.purposes or ()) else None),
        purposes=(),
    )
    token = bind(bound)
    assert bound.customer == Customer("ada")
    assert kit.consent(granted={"analytics"})
    unbind(token)

    assert [event.customer for event in events(kit)] == [Customer("ada", "cookie")]


@pytest.mark.parametrize(
    ("choice", "detail"),
    [
        ({}, "no purpose is granted and none is denied; name one"),
        (
            {"granted": ["Marketing"]},
            "'Marketing' is no purpose; write it like marketing or export:crm",
        ),
        ({"denied": [None]}, "None is no purpose; write it like marketing or export:crm"),
        ({"granted": "a", "denied": "a"}, "'a' is both granted and denied"),
    ],
)
def test_a_choice_that_says_nothing_is_refused(
    make_kit: MakeKit, choice: dict[str, Any], detail: str
) -> None:
    """A choice without purposes, or with what is none, is refused and changes nothing."""
    kit = make_kit(strict=False)
    with kit.bind_customer("ada", purposes=["analytics"]) as bound:
        assert kit.consent(**choice)[1:] == ("bad_purpose", detail)
        assert bound.purposes == {"analytics"}
    assert kit.receipts == {"bad_purpose": 1}
    with pytest.raises(EventRejected, match="bad_purpose"):
        make_kit().consent(**choice, customer="ada")


def test_nobodys_choice_is_refused(make_kit: MakeKit) -> None:
    """A choice is somebody's: without a customer there is nothing to prove."""
    assert make_kit(strict=False).consent(granted={"analytics"}).reason == "no_customer"


def test_denials_are_stamped_and_deny(make_kit: MakeKit) -> None:
    """What was refused by name is on the event; who refused to be recorded is not."""
    kit = make_kit(strict=False)
    with bind_customer("ada", denied=["marketing"], context={"purposes": "mine"}):
        assert kit.track("X")
    for denied in ("analytics", "*"):
        with bind_customer("ada", purposes=["analytics"], denied=[denied]):
            assert kit.track("X").reason == "no_consent"

    (event,) = events(kit)
    (stored,) = kit.store.read(None, 9)
    assert stamp_of(stored.entry.flags, stored.entry.body) == Stamp(None, frozenset(["marketing"]))
    assert event.context == {"library": "journeykit", "denied": ["marketing"], "purposes": "mine"}


def test_the_stamp_comes_before_what_the_shop_adds(make_kit: MakeKit) -> None:
    """Who looks for the stamp need not read a shop's own context, and that does not replace it."""
    kit = make_kit()
    context = {"page": "x", "purposes": ["all"], "library": "mine"}
    with kit.bind_customer("ada", context=context, purposes=["analytics"]):
        assert kit.track("X")

    (event,) = events(kit)
    assert list(event.context.items()) == [
        ("library", "journeykit"),
        ("purposes", ["analytics"]),
        ("page", "x"),
    ]
