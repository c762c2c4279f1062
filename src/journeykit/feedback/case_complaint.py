"""Complaints: answers and pain points, as evidence of a case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from journeykit.feedback.routes import rank
from journeykit.journeys.derived import Cause
from journeykit.model.casework import Answer
from journeykit.model.customer import Customer
from journeykit.model.event import Stored
from journeykit.model.prompt import PromptKind
from journeykit.model.times import to_datetime

if TYPE_CHECKING:
    from collections.abc import Mapping

    from journeykit.feedback.case_state import Record
    from journeykit.model.event import Entry
    from journeykit.plugins import Plugins

#: The most of a text that State keeps, in characters; the event has all of it.
_TEXT_LENGTH: Final = 1000

#: What a plugin may have read out of an answer.
READ: Final = ("sentiment", "themes", "root_cause")

#: What sinks are told of evidence.
_TOLD: Final = (
    *("event", "kind", "prompt", "score", "scale", "answers"),
    *("code", "severity", "target", "status"),
)


@attrs.frozen
class Complaint:
    """
    Something that a case is opened for, or that is added to one.

    Args:
        stored: The event, and when the Log has come to it.

        evidence: What is kept of it.

        subject: What it is about.
    """

    stored: Stored
    evidence: dict[str, Any]
    subject: str = ""

    @staticmethod
    def stored_of(entry: Entry, now: int) -> Stored:
        """Return a derived event as if the Log had it by the instant *now*."""
        return Stored(None, now, entry)

    @property
    def id(self) -> str:
        """The event's id."""
        return self.stored.entry.id

    @property
    def at(self) -> int:
        """When it occurred, as far as the clock of whoever says so is right."""
        return min(self.stored.entry.occurred_at, self.stored.recorded_at)

    @property
    def severity(self) -> int:
        """How severe it says that it is."""
        return rank(str(self.evidence.get("severity")))

    @property
    def cause(self) -> Cause:
        """What follows from it has this cause."""
        return Cause.of(self.stored)

    @property
    def told(self) -> dict[str, Any]:
        """What sinks are told of it."""
        found = {name: self.evidence.get(name) for name in _TOLD}
        return {name: value for name, value in found.items() if value not in (None, {}, [])}


def answer_evidence(event: str, at: int, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of an answer."""
    answers, score = properties.get("answers"), properties.get("score")
    seq = properties.get("seq")
    return {
        "event": event,
        "kind": "answer",
        "at": at,
        "prompt": _text(properties.get("prompt")),
        "prompt_kind": _text(properties.get("kind")),
        "impression": properties.get("impression"),
        "seq": seq if type(seq) is int else 0,
        "score": score if type(score) is int else None,
        "scale": properties.get("scale") or [],
        "answers": _shortened(answers) if isinstance(answers, dict) else {},
        "language": properties.get("language"),
        "complete": properties.get("complete") is True,
    }


def pain_evidence(event: str, at: int, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of a pain point."""
    return {
        "event": event,
        "kind": "pain_point",
        "at": at,
        "code": _text(properties.get("code")),
        "severity": _text(properties.get("severity")),
        "target": _text(properties.get("target")),
    }


def read_with(plugins: Plugins, record: Record, complaint: Complaint) -> None:
    """Have plugins read an answer, and keep what they make of it."""
    evidence, entry = complaint.evidence, complaint.stored.entry
    if evidence["kind"] == "pain_point" or not plugins.implements("read_answer"):
        return
    try:
        kind = PromptKind(evidence["prompt_kind"])
    except ValueError:
        return
    answer = Answer(
        prompt=evidence["prompt"],
        kind=kind,
        customer=Customer(entry.user_id, entry.anonymous_id, entry.session_id),
        at=to_datetime(complaint.at),
        score=evidence["score"],
        scale=tuple(evidence["scale"]),
        answers=dict(evidence["answers"]),
        language=evidence["language"],
        complete=evidence["complete"],
    )
    record.reading.update(plugins.read_answer(answer))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)[:_TEXT_LENGTH]


def _shortened(answers: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value[:_TEXT_LENGTH] if isinstance(value, str) else value
        for key, value in answers.items()
    }
