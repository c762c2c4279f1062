from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from journeykit.config.settings import FeedbackSettings
from journeykit.feedback.decide import decide, explain
from journeykit.feedback.gates import GATES, bucket, is_like
from journeykit.feedback.history import DISMISSED, SHOWN, History, Impression, Tally
from journeykit.feedback.overrides import Overlaid
from journeykit.feedback.standing import Known
from journeykit.model import Ask, Cap, Customer, Page, Prompt, Schedule, When, Where
from journeykit.store.claims import Claim

NOON = 1_772_452_800_000_000
DAY = 86_400_000_000
ADA = Customer("ada", None, "s1")
FREE = FeedbackSettings(caps=(), per_session=0)


def prompt(**more: Any) -> Prompt:
    """Return a prompt that any page arms."""
    fields: dict[str, Any] = {"key": "q", "kind": "csat", "text": "?", "when": When(page="/*")}
    return Prompt(**{**fields, **more})


def shown(days: float, *, rank: int = SHOWN, key: str = "q", **more: Any) -> Impression:
    """Return an impression that was shown *days* ago."""
    at = NOON - round(days * DAY)
    return Impression(f"i{at:020d}{key}", key, at, more.pop("session", "s0"), rank, **more)


def known(
    *prompts: Prompt,
    impressions: tuple[Impression, ...] = (),
    feedback: FeedbackSettings = FREE,
    **more: Any,
) -> Known:
    """Return what is known of somebody who was shown *impressions*."""
    history = History()
    for each in impressions:
        history.note_impression(each)
        history.count(each.prompt, Tally(1, each.shown_at, int(each.answered), each.shown_at))
    for name in ("triggers", "cancels", "pained", "refused"):
        if name in more:
            setattr(history, name, more.pop(name))
    return Known(overlaid=Overlaid(prompts or (prompt(),), feedback), history=history, **more)


def reason(state: Known, *, path: str = "/", claims: tuple[Claim, ...] = (), **page: Any) -> str:
    """Return why the first prompt is not shown; empty if it is."""
    on = Page(path=path, **{"session_id": "s1", **page})
    decision = decide(state, claims, ADA, on, NOON)
    first = state.overlaid.prompts[0].key
    return next((gate.reason for gate in decision.gates if gate.prompt == first), "")


def claim(**more: Any) -> Claim:
    """Return a claim of a minute ago, that is due now."""
    fields: dict[str, Any] = {"impression": "c", "customer": "u:ada", "prompt": "q"}
    fields |= {"session": "s0", "language": "", "claimed_at": NOON - 60_000_000}
    fields |= {"due_at": NOON, "expires_at": NOON + 300_000_000}
    return Claim(**{**fields, **more})


def at(hours: float) -> datetime:
    """Return an instant, counted from noon."""
    return datetime(2026, 3, 2, 12, tzinfo=UTC) + timedelta(hours=hours)


CASES: list[tuple[str, Known, dict[str, Any]]] = [
    ("", known(), {}),
    ("no_consent", known(consents=False), {}),
    ("opted_out", known(refused=(1, "e", True)), {}),
    ("", known(refused=(1, "e", False)), {}),
    ("bot", known(), {"bot": True}),
    ("prefetch", known(), {"prefetch": True}),
    ("off", known(prompt(on=False)), {}),
    ("not_yet", known(prompt(schedule=Schedule(start=at(1)))), {}),
    ("over", known(prompt(schedule=Schedule(end=at(0)))), {}),
    ("", known(prompt(schedule=Schedule(start=at(0), end=at(1)))), {}),
    ("limit", known(prompt(ask=Ask(limit=3)), answers={"q": 3}), {}),
    ("", known(prompt(ask=Ask(limit=3)), answers={"q": 2}), {}),
    (
        "no_language",
        known(prompt(text={"en": "?"}), feedback=attrs.evolve(FREE, missing_language="hide")),
        {"languages": ("de-AT", "fr")},
    ),
    ("", known(prompt(text={"en": "?"})), {"languages": ("de-AT", "fr")}),
    ("not_armed", known(prompt(when=When(page="/a"))), {"path": "/b"}),
    ("page", known(prompt(where=Where(page=["/a/*"]))), {"path": "/b"}),
    ("page", known(prompt(where=Where(not_page=["/b*"]))), {"path": "/b"}),
    ("never_page", known(), {"path": "/checkout/pay"}),
    ("", known(prompt(where=Where(page=["/checkout/thanks"]))), {"path": "/checkout/thanks"}),
    ("", known(prompt(when=When(page="/checkout/thanks"))), {"path": "/checkout/thanks"}),
    ("device", known(prompt(where=Where(device=["phone"]))), {"device": "desktop"}),
    ("", known(prompt(where=Where(device=["phone"]))), {"device": "phone"}),
    ("referrer", known(prompt(where=Where(referrer=["search"]))), {"referrer": "direct"}),
    ("known", known(prompt(where=Where(known=False))), {}),
    ("stage", known(prompt(where=Where(stage=["retention"])), stages=frozenset(["x"])), {}),
    ("", known(prompt(where=Where(stage=["x"])), stages=frozenset(["x"])), {}),
    ("stage", known(prompt(where=Where(not_stage=["x"])), stages=frozenset(["x"])), {}),
    ("never_stage", known(stages=frozenset(["payment"])), {}),
    ("not_sampled", known(prompt(ask=Ask(sample=0.0))), {}),
    ("", known(prompt(ask=Ask(sample=1.0))), {}),
    ("shown", known(impressions=(shown(400),)), {}),
    ("", known(prompt(ask=Ask(always=True)), impressions=(shown(0.01),)), {}),
    ("too_soon", known(prompt(ask=Ask(every=timedelta(days=9))), impressions=(shown(8),)), {}),
    ("", known(prompt(ask=Ask(every=timedelta(days=9))), impressions=(shown(9),)), {}),
    (
        "answered",
        known(prompt(ask=Ask(until_answered=True)), impressions=(shown(90, answered=True),)),
        {},
    ),
    (
        "max_shows",
        known(
            prompt(ask=Ask(until_answered=True, max_shows=2)), impressions=(shown(90), shown(80))
        ),
        {},
    ),
    ("", known(prompt(ask=Ask(until_answered=True, max_shows=2)), impressions=(shown(9),)), {}),
    (
        "session_capped",
        known(
            prompt(ask=Ask(always=True)),
            impressions=(shown(0.01, session="s1"),),
            feedback=attrs.evolve(FREE, per_session=1),
        ),
        {},
    ),
    (
        "capped",
        known(
            impressions=(shown(6, key="o"),),
            feedback=attrs.evolve(FREE, caps=(Cap(most=1, per=timedelta(days=7)),)),
        ),
        {},
    ),
    (
        "",
        known(
            impressions=(shown(7, key="o"),),
            feedback=attrs.evolve(FREE, caps=(Cap(most=1, per=timedelta(days=7)),)),
        ),
        {},
    ),
    (
        "",
        known(
            prompt(),
            prompt(key="n", kind="nps"),
            impressions=(shown(6, key="n"),),
            feedback=attrs.evolve(FREE, caps=(Cap(most=1, per=timedelta(days=7), group="csat"),)),
        ),
        {},
    ),
    ("backed_off", known(impressions=(shown(29, rank=DISMISSED, key="o"),)), {}),
    ("", known(impressions=(shown(30, rank=DISMISSED, key="o"),)), {}),
    (
        "backed_off",
        known(
            impressions=(
                shown(59, rank=DISMISSED, key="o"),
                shown(80, rank=DISMISSED, key="o"),
            )
        ),
        {},
    ),
    (
        "",
        known(
            impressions=(
                shown(59, rank=DISMISSED, key="o"),
                shown(70, key="o", answered=True),
                shown(80, rank=DISMISSED, key="o"),
            )
        ),
        {},
    ),
    ("open_case", known(has_open_case=True), {}),
    ("", known(has_open_case=True, recovery=frozenset(["q"])), {}),
    ("", known(prompt(kind="text"), has_open_case=True), {}),
    ("quiet", known(case_closed_at=NOON - 13 * DAY), {}),
    ("", known(case_closed_at=NOON - 14 * DAY), {}),
    ("quiet", known(pained=NOON - 13 * DAY), {}),
    ("", known(prompt(in_quiet=True), pained=NOON - 13 * DAY), {}),
    ("", known(pained=NOON - 14 * DAY), {}),
]


@pytest.mark.parametrize(("expected", "state", "page"), CASES)
def test_each_gate(expected: str, state: Known, page: dict[str, Any]) -> None:
    """Each gate gives its reason where it refuses, and none up to its border."""
    found = reason(state, **page)
    assert found == expected


def test_every_gate_has_a_case() -> None:
    """No gate is left out of the cases above but those with tests of their own."""
    gates = set()
    for _, state, page in CASES:
        on = Page(**{"session_id": "s1", **page})
        gates |= {gate.name for gate in decide(state, (), ADA, on, NOON).gates}
    assert gates == {name for name, _ in GATES}


@pytest.mark.parametrize(
    ("expected", "held"),
    [
        ("claimed", claim()),
        ("claimed", claim(due_at=NOON - 9_000_000)),
        ("", claim(due_at=NOON - 10_000_000)),
        ("", claim(withdrawn=True)),
        ("shown", claim(shown_at=NOON - 1)),
        ("", claim(due_at=NOON + 10, expires_at=NOON)),
    ],
)
def test_claims_keep_others_away(expected: str, held: Claim) -> None:
    """A claim that may still be shown keeps another away; one that was shown counts as a show."""
    assert reason(known(), claims=(held,)) == expected


def test_a_show_that_is_not_folded_counts_once() -> None:
    """A claim whose show State knows already is no second one."""
    impression = shown(5)
    held = claim(impression=impression.id, shown_at=impression.shown_at)
    cap = attrs.evolve(FREE, caps=(Cap(most=2, per=timedelta(days=7)),))
    state = known(prompt(ask=Ask(always=True)), impressions=(impression,), feedback=cap)
    assert reason(state, claims=(held,)) == ""
    assert reason(state, claims=(held, claim(impression="d", shown_at=NOON - 5))) == "capped"


def test_order_of_candidates() -> None:
    """The highest priority comes first, then what was armed first, then the key."""
    event = When(event="Order Completed")
    prompts = (
        prompt(key="c", when=event),
        prompt(key="b", when=event),
        prompt(key="a", when=event),
        prompt(key="z", when=event, priority=51),
    )
    state = known(*prompts, triggers={key: (NOON - (key == "b") - 1, "e") for key in "abcz"})
    decision = decide(state, (), ADA, Page(session_id="s1"), NOON)
    assert [each.key for each in decision.candidates] == ["z", "b", "a", "c"]


def test_explain_tells_every_gate() -> None:
    """All gates are told in their order, and what depends on a page or a request is open."""
    state = known(prompt(on=False, ask=Ask(sample=0)), consents=None)
    told = explain(state, (claim(),), ADA, None, NOON)
    assert [gate.name for gate in told] == [*(name for name, _ in GATES), "claim"]
    said = {gate.name: gate.passes for gate in told}
    assert [name for name, passes in said.items() if passes is None] == [
        "consent",
        "armed",
        "conditions",
    ]
    assert [name for name, passes in said.items() if passes is False] == [
        "schedule",
        "sampling",
        "claim",
    ]


def test_the_sample_is_sticky_and_fair() -> None:
    """The same customers are drawn each time, about as many as asked; another salt draws others."""
    people = [f"u:{number}" for number in range(4000)]
    one = {person for person in people if bucket(prompt(), person) < 0.25}
    assert one == {person for person in people if bucket(prompt(on=False), person) < 0.25}
    assert 900 < len(one) < 1100
    other = {person for person in people if bucket(prompt(ask=Ask(salt="x")), person) < 0.25}
    assert len(one & other) < 350
    more = {person for person in people if bucket(prompt(), person) < 0.5}
    assert one < more


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("/orders/1", "/orders/*", True),
        ("/orders", "/orders/*", False),
        ("/a[1]", "/a[1]", True),
        ("/ab", "/a?", False),
        ("/a?", "/a?", True),
        ("/x/checkout", "*/checkout", True),
    ],
)
def test_patterns(path: str, pattern: str, expected: bool) -> None:
    """An asterisk is any text, and nothing else means anything."""
    assert is_like(path, (pattern,)) is expected


def test_nobody_breaks_a_case(make_clock: Callable[[], Any]) -> None:
    """With nothing declared there is nothing to decide."""
    state = Known(overlaid=Overlaid((), FREE))
    assert decide(state, (), ADA, Page(), make_clock()()).candidates == ()
