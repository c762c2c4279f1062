"""What is kept of a case, as those who work it see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from journeykit.feedback.case_state import stand
from journeykit.model.casework import Case, CaseChange, CaseClock, CaseEvidence
from journeykit.model.customer import Customer
from journeykit.model.pain_point import Severity
from journeykit.model.times import to_datetime

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from journeykit.feedback.case_state import Clock, Record, Standing

SEVERITIES = tuple(Severity)


def case_of(record: Record, until: int) -> Case:
    """Return the case of *record* as it is at the instant *until*."""
    standing, opened, reading = stand(record, until), record.opened, record.reading
    _, stage, _ = opened.about
    return Case(
        id=record.id,
        rule=opened.rule,
        title=opened.title,
        customer=Customer(opened.user_id, opened.anonymous_id),
        status=standing.status,
        severity=SEVERITIES[record.severity],
        owner=standing.owner,
        subject=opened.subject,
        opened_at=to_datetime(opened.at),
        journey=opened.journey,
        stage=stage,
        touchpoint=opened.touchpoint,
        clocks=tuple(_clock(clock, until) for clock in standing.clocks()),
        evidence=tuple(map(_evidence, record.evidence)),
        history=tuple(_history(record, standing, until)),
        cause=standing.cause,
        action=standing.action,
        recovery_score=_recovery_score(record),
        sentiment=reading.get("sentiment"),
        themes=tuple(reading.get("themes", ())),
        root_cause=reading.get("root_cause"),
    )


def _clock(clock: Clock, until: int) -> CaseClock:
    return CaseClock(
        name=clock.name,
        started=to_datetime(clock.started),
        due=None if clock.due is None else to_datetime(clock.due),
        stopped=None if clock.stopped is None else to_datetime(clock.stopped),
        breached=clock.is_breached(until),
    )


def _evidence(found: Mapping[str, Any]) -> CaseEvidence:
    return CaseEvidence(
        event=found["event"],
        kind=found["kind"],
        at=to_datetime(found["at"]),
        prompt=found.get("prompt"),
        score=found.get("score"),
        scale=tuple(found.get("scale") or ()),
        answers=dict(found.get("answers") or {}),
        code=found.get("code"),
        target=found.get("target"),
        status=found.get("status"),
    )


def _history(record: Record, standing: Standing, until: int) -> Iterator[CaseChange]:
    yield CaseChange(
        at=to_datetime(record.opened.at), what="opened", details={"owner": record.opened.owner}
    )
    for change in record.changes:
        if change.id not in standing.void:
            at = to_datetime(change.at)
            yield CaseChange(
                at=at,
                what=change.what,
                actor=change.actor,
                reason=change.reason,
                details=dict(change.more),
            )
    if standing.is_closed:
        yield CaseChange(at=to_datetime(standing.closes_at or until), what="closed")


def _recovery_score(record: Record) -> int | None:
    scores = [each.get("score") for each in record.evidence if each["kind"] == "recovery"]
    return scores[-1] if scores else None
