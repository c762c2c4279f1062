"""
Which prompts a customer may be shown on a page: pure, with a reason for each that they may not.

The order of the gates is the order of the design: what is cheap and lasts comes first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from journeykit.feedback.gates import GATES, LONGEST_WAIT, Gate, Situation, micros
from journeykit.feedback.standing import Standing
from journeykit.model.impression import Candidate
from journeykit.model.times import to_datetime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from journeykit.feedback.standing import Known
    from journeykit.model.customer import Customer
    from journeykit.model.impression import Page
    from journeykit.model.prompt import Prompt
    from journeykit.store.claims import Claim


@attrs.frozen
class Decision:
    """
    What may be shown, the first one first.

    Args:
        candidates: Prompts that every gate lets through; of several the one with the highest
            priority comes first, then the one that was armed first.

        gates: For each other prompt the first gate that does not let it through.
    """

    candidates: tuple[Candidate, ...]
    gates: tuple[Gate, ...]


def decide(
    state: Known, claims: Sequence[Claim], customer: Customer, page: Page, now: int
) -> Decision:
    """
    Return what *customer* may be shown on *page* at the instant *now*.

    Args:
        state: What is known of the customer.

        claims: What they are shown at present, and were of late.
    """
    standing = Standing(state, claims, customer, page)
    refused: list[Gate] = []
    passed: list[Prompt] = []
    for prompt in state.overlaid.prompts:
        gate = _first_refusal(Situation(prompt, standing, page, now))
        if gate is None:
            passed.append(prompt)
        else:
            refused.append(gate)
    if any(claim.holds(now) for claim in claims):
        refused += [_claimed(prompt) for prompt in passed]
        passed = []
    found = [_candidate(prompt, standing, now) for prompt in passed]
    found.sort(key=lambda each: (-each.prompt.priority, each.armed_at, each.key))
    return Decision(tuple(found), tuple(refused))


def may_show(
    state: Known, claims: Sequence[Claim], customer: Customer, claim: Claim, now: int
) -> Gate | None:
    """
    Return the gate that keeps the prompt of *claim* from being shown by now, or None.

    The page has been looked at when it was claimed.
    """
    prompt = state.overlaid.prompt(claim.prompt)
    if prompt is None:
        return Gate(claim.prompt, "schedule", passes=False, reason="gone")
    others = [each for each in claims if each.impression != claim.impression]
    standing = Standing(state, others, attrs.evolve(customer, session_id=claim.session), None)
    return _first_refusal(Situation(prompt, standing, None, now), open_=True)


def explain(
    state: Known,
    claims: Sequence[Claim],
    customer: Customer,
    page: Page | None,
    now: int,
) -> list[Gate]:
    """Return what every gate says about every prompt, in the order in which they are asked."""
    standing = Standing(state, claims, customer, page)
    held = any(claim.holds(now) for claim in claims)
    told: list[Gate] = []
    for prompt in state.overlaid.prompts:
        situation = Situation(prompt, standing, page, now)
        told += [_tell(name, situation) for name, _ in GATES]
        told.append(_claimed(prompt) if held else Gate(prompt.key, "claim", passes=True))
    return told


def wait(prompt: Prompt, state: Known, now: int) -> int:
    """Return how long a page waits until it shows *prompt*, in microseconds."""
    delay = micros(prompt.when.delay)
    trigger = state.history.triggers.get(prompt.key)
    if prompt.when.page is not None or trigger is None:
        return min(delay, LONGEST_WAIT)
    return max(0, trigger[0] + delay - now)


def _first_refusal(situation: Situation, *, open_: bool = False) -> Gate | None:
    """Return the first gate that refuses; *open_* gates pass if so asked."""
    for name, asks in GATES:
        refusal = asks(situation)
        if refusal is not None and not (open_ and refusal.open_):
            reason, detail, _ = refusal
            return Gate(situation.prompt.key, name, passes=False, reason=reason, detail=detail)
    return None


def _tell(name: str, situation: Situation) -> Gate:
    refusal = dict(GATES)[name](situation)
    key = situation.prompt.key
    if refusal is None:
        return Gate(key, name, passes=True)
    passes = None if refusal.open_ else False
    return Gate(key, name, passes, refusal.reason, refusal.detail)


def _claimed(prompt: Prompt) -> Gate:
    detail = "another page of the customer is about to show a prompt"
    return Gate(prompt.key, "claim", passes=False, reason="claimed", detail=detail)


def _candidate(prompt: Prompt, standing: Standing, now: int) -> Candidate:
    trigger = standing.history.triggers.get(prompt.key)
    at = now if trigger is None or prompt.when.page is not None else trigger[0]
    return Candidate(key=prompt.key, prompt=prompt, armed_at=to_datetime(at))
