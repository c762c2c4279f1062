"""Cases as those who work them see them, and answers as plugins do."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import attrs

from journeykit.model.customer import Customer
from journeykit.model.pain_point import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from journeykit.model.prompt import PromptKind

#: So many letters at the end of a case's id are what people call it by.
REFERENCE_LENGTH = 8


class CaseStatus(StrEnum):
    """How far a case has come."""

    #: It is there, and nobody has done anything about it.
    NEW = "new"
    #: Somebody was told to see to it.
    ASSIGNED = "assigned"
    #: The customer has had an answer.
    ACKNOWLEDGED = "acknowledged"
    #: It is the customer's turn; clocks stand still.
    WAITING = "waiting"
    #: It is done, and may be reopened.
    RESOLVED = "resolved"
    #: It was resolved, and is not.
    REOPENED = "reopened"
    #: It is over for good.
    CLOSED = "closed"


@attrs.frozen(kw_only=True)
class CaseClock:
    """
    One clock of a case.

    Args:
        name: `"first_response"` or `"resolution"`.

        started: When it began to run.

        due: When it runs out; None while it stands still.

        stopped: When what it waits for was done.

        breached: Whether that was too late, or is overdue.
    """

    name: str
    started: datetime
    due: datetime | None
    stopped: datetime | None = None
    breached: bool = False


@attrs.frozen(kw_only=True)
class CaseEvidence:
    """
    What a case rests on: an answer or a pain point.

    Args:
        event: The id of the event.

        kind: `"answer"`, `"pain_point"`, or `"recovery"` for the answer to its recovery question.

        at: When that occurred.

        prompt, score, scale, answers: Of an answer: the prompt's key, the score on which scale, and
            all answers so far by the key of their question.

        code, target: Of a pain point: its code, and what it is about.

        status: `"recovered"` or `"withdrawn"` where the pain point is so since.
    """

    event: str
    kind: str
    at: datetime
    prompt: str | None = None
    score: int | None = None
    scale: tuple[int, ...] = ()
    answers: dict[str, Any] = attrs.field(factory=dict)
    code: str | None = None
    target: str | None = None
    status: str | None = None


@attrs.frozen(kw_only=True)
class CaseChange:
    """
    One thing that has happened to a case.

    Args:
        what: `"opened"`, `"assigned"`, `"acknowledged"`, `"waiting"`, `"resumed"`, `"noted"`,
            `"resolved"`, `"reopened"`, `"closed"`; `"complained"` where the customer has once more.

        actor, reason: Who did it and why; None where it follows from something else.

        details: What else: the new owner, the note, root cause and action.
    """

    at: datetime
    what: str
    actor: str | None = None
    reason: str | None = None
    details: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Case:
    """
    A follow-up that somebody owns until it is resolved.

    Args:
        id: That of the event that opened it.

        rule, title: The rule's key, and what people read.

        customer: Who has complained, as far as they were known then.

        owner: Whose it is; None if nobody's.

        subject: What it is about, where the rule names a subject.

        opened_at: When journeykit has learned of the complaint; clocks begin here.

        journey, stage, touchpoint: Where the customer was, and the event that it began with.

        clocks: The first response, and a resolution for each time that it was open.

        evidence: What it rests on, the first and the newest.

        history: What has happened to it, in order.

        cause, action: What lay behind it and what was done, once it is resolved.

        recovery_score: What the customer has answered to its recovery question.

        sentiment, themes, root_cause: What plugins have read out of the answers.
    """

    id: str
    rule: str
    title: str
    customer: Customer
    status: CaseStatus = CaseStatus.NEW
    severity: Severity = Severity.MEDIUM
    owner: str | None = None
    subject: str = ""
    opened_at: datetime
    journey: str | None = None
    stage: str | None = None
    touchpoint: str | None = None
    clocks: tuple[CaseClock, ...] = ()
    evidence: tuple[CaseEvidence, ...] = ()
    history: tuple[CaseChange, ...] = ()
    cause: str | None = None
    action: str | None = None
    recovery_score: int | None = None
    sentiment: str | float | None = None
    themes: tuple[str, ...] = ()
    root_cause: str | None = None

    @property
    def reference(self) -> str:
        """What people call it by: the end of its id."""
        return self.id[-REFERENCE_LENGTH:]

    @property
    def is_open(self) -> bool:
        """Whether there is something to do."""
        return self.status not in (CaseStatus.RESOLVED, CaseStatus.CLOSED)

    @property
    def due(self) -> datetime | None:
        """When the next of its clocks runs out; None where none runs."""
        running = [clock.due for clock in self.clocks if clock.stopped is None and clock.due]
        return min(running, default=None) if self.is_open else None

    @property
    def is_overdue(self) -> bool:
        """Whether something is still to do that should be done."""
        return self.is_open and any(
            clock.breached and clock.stopped is None for clock in self.clocks
        )

    @property
    def summary(self) -> str:
        """What it rests on, in a few words."""
        if not self.evidence:
            return ""
        first = self.evidence[0]
        if first.code is not None:
            return f"{first.code} {first.target}" if first.target else first.code
        return f"{first.prompt}: {first.score}" if first.score is not None else str(first.prompt)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        value: dict[str, Any] = attrs.asdict(self, value_serializer=_plain)
        return {
            **value,
            "reference": self.reference,
            "due": _plain(None, None, self.due),
            "overdue": self.is_overdue,
        }


def _plain(_: object, __: object, value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(None, None, each) for each in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


@attrs.frozen(kw_only=True)
class Answer:
    """
    What a customer has answered so far, as plugins see it.

    Args:
        prompt, kind: The prompt's key, and what it asks.

        score, scale: Where the first question asks for a score: it, and the lowest and the highest.

        answers: All answers by the key of their question.

        language: The language that the prompt was shown in.

        complete: Whether that is all.

        customer: Who.

        at: When.
    """

    prompt: str
    kind: PromptKind
    customer: Customer
    at: datetime
    score: int | None = None
    scale: tuple[int, ...] = ()
    answers: Mapping[str, Any] = attrs.field(factory=dict)
    language: str | None = None
    complete: bool = False
