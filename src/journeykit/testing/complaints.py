"""Answers and cases that an event may have led to, for hooks that are asked about complaints."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from journeykit.model.casework import Answer, Case, CaseChange, CaseClock, CaseEvidence, CaseStatus
from journeykit.model.pain_point import Severity
from journeykit.model.prompt import SCALES, PromptKind

if TYPE_CHECKING:
    from journeykit.model.event import Event

_KINDS: Final = tuple(PromptKind)

_SEVERITIES: Final = tuple(Severity)

#: What the first question has for an answer where it asks for no score: any of several, or one.
_FIRST: Final = (["price", "delivery"], "delivery")


def answer_to(event: Event) -> Answer:
    """
    Return what a customer may have answered behind *event*; the same for the same event.

    What they say in words, under `more`, holds all that the event tells of them; some say nothing.
    """
    drawn = sum(event.id.encode())
    kind = _KINDS[drawn % len(_KINDS)]
    scale = SCALES.get(kind, ())
    score = scale[drawn % 2] if scale else None
    first = ("score", score) if scale else ("answer", copy.copy(_FIRST[drawn % 2]))
    answers: dict[str, Any] = dict([first])
    if drawn % 3:
        answers["more"] = f"{event.name}: {dict(event.properties)}"
    return Answer(
        prompt="after-checkout",
        kind=kind,
        customer=event.customer,
        at=event.occurred_at,
        score=score,
        scale=scale,
        answers=answers,
        language=(None, "en", "de-AT")[drawn % 3],
        complete=drawn % 2 == 0,
    )


def case_after(event: Event) -> Case:
    """Return a case that may have been opened behind *event*; the same for the same event."""
    drawn = sum(event.id.encode())
    at = event.occurred_at
    due = at + timedelta(hours=4)
    return Case(
        id=event.id,
        rule="detractor",
        title="A customer is unhappy",
        customer=event.customer,
        status=CaseStatus.NEW,
        severity=_SEVERITIES[drawn % len(_SEVERITIES)],
        owner=(None, "support")[drawn % 2],
        subject=("", "o-1")[drawn % 2],
        opened_at=at,
        journey=(None, "shop")[drawn % 2],
        stage=(None, "purchase")[drawn % 2],
        touchpoint=event.name,
        clocks=(CaseClock(name="first_response", started=at, due=due),),
        evidence=(_evidence(event, drawn),),
        history=(CaseChange(at=at, what="opened"),),
        sentiment=(None, "negative", -0.5)[drawn % 3],
        themes=((), ("delivery",))[drawn % 2],
    )


def _evidence(event: Event, drawn: int) -> CaseEvidence:
    if drawn % 2:
        return CaseEvidence(
            event=event.id, kind="pain_point", at=event.occurred_at, code="payment.declined"
        )
    answer = answer_to(event)
    return CaseEvidence(
        event=event.id,
        kind="answer",
        at=answer.at,
        prompt=answer.prompt,
        score=answer.score,
        scale=answer.scale,
        answers=dict(answer.answers),
    )
