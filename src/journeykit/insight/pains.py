"""Pain points by code: how many customers and events, since when, and what was decided."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

import attrs

from journeykit.journeys.decisions import MUTED, RESOLVED, Decision, decided
from journeykit.journeys.findings import findings
from journeykit.model.pain_point import Severity
from journeykit.model.times import to_datetime

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from journeykit.journeys.findings import Finding, FindingKey
    from journeykit.store.protocol import Store

_RANKS = {severity: rank for rank, severity in enumerate(Severity)}


@attrs.frozen(kw_only=True)
class Said:
    """What somebody has decided, when and why; `cause` is what they think lies behind it."""

    at: datetime
    actor: str
    reason: str
    cause: str | None = None


@attrs.frozen(kw_only=True)
class PainPointFigures:
    """
    One pain point in numbers.

    Args:
        customers: Who it was found for.

        events: How many times.

        recovered: For how many customers and targets it came to a good end.

        muted, resolved: What was decided; None if nothing was.

        reopened: Whether it was found again after it was resolved.

        causes: What may lie behind it: what is declared, and what was said when it was resolved.
    """

    code: str
    severity: Severity
    customers: int
    events: int
    recovered: int
    first_seen: datetime
    last_seen: datetime
    muted: Said | None = None
    resolved: Said | None = None
    reopened: bool = False
    causes: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it is neither muted, nor resolved and not found since."""
        return self.muted is None and (self.resolved is None or self.reopened)

    @property
    def status(self) -> str:
        """What it is: `open`, `reopened`, `resolved` or `muted`."""
        if self.muted is not None:
            return "muted"
        if self.resolved is None:
            return "open"
        return "reopened" if self.reopened else "resolved"

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values, instants as text."""
        return {"status": self.status, **attrs.asdict(self, value_serializer=_json)}


@attrs.frozen(kw_only=True)
class PainPointCase:
    """A pain point of one customer and target; `known` is whether `customer` is a user id."""

    customer: str
    known: bool
    target: str
    events: int
    severity: Severity
    first_seen: datetime
    last_seen: datetime
    evidence: tuple[str, ...]
    journey: str | None
    stage: str | None
    value: float | None
    recovered: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the case as JSON values, instants as text."""
        return attrs.asdict(self, value_serializer=_json)


@attrs.frozen(kw_only=True)
class FoundWhere:
    """
    Which findings to count.

    Args:
        journey, stage: FoundWhere the customer was when it was found first.

        segment: A declared property, and the customer's value.
    """

    journey: str | None = None
    stage: str | None = None
    segment: tuple[str, str] | None = None

    def has(self, finding: Finding) -> bool:
        """Return whether *finding* is one of them."""
        segment = self.segment is None or finding.segments.get(self.segment[0]) == self.segment[1]
        in_journey = self.journey in (None, finding.journey)
        return segment and in_journey and self.stage in (None, finding.stage)


def pain_points(
    store: Store,
    causes: Mapping[str, Sequence[str]],
    code: str | None = None,
    *,
    where: FoundWhere | None = None,
) -> list[PainPointFigures]:
    """
    Return what was found, the most customers first; it reads every finding.

    Args:
        causes: What is declared to lie behind a code.

        code: Only this one.

        where: Only those findings.
    """
    found: dict[str, list[tuple[FindingKey, Finding]]] = {}
    for key, finding in findings(store, code):
        if where is not None and not where.has(finding):
            continue
        found.setdefault(key.code, []).append((key, finding))
    figures = [_figures(store, each, of, causes.get(each, ())) for each, of in found.items()]
    return sorted(figures, key=lambda each: (-each.customers, -each.events, each.code))


def cases(store: Store, code: str, limit: int) -> list[PainPointCase]:
    """Return for whom and what a pain point was found, the latest first, *limit* at most."""
    found = heapq.nlargest(limit, findings(store, code), key=lambda pair: pair[1].last_at)
    return [_case(key, finding) for key, finding in found]


def _figures(
    store: Store,
    code: str,
    found: Sequence[tuple[FindingKey, Finding]],
    causes: Sequence[str],
) -> PainPointFigures:
    muted, resolved = decided(store, code, MUTED), decided(store, code, RESOLVED)
    last = max(finding.last_at for _, finding in found)
    said = () if resolved is None or resolved.cause is None else (resolved.cause,)
    return PainPointFigures(
        code=code,
        severity=max((finding.severity for _, finding in found), key=_RANKS.__getitem__),
        # What many met together has no customer, and counts them itself.
        customers=len({key.customer for key, _ in found if key.customer})
        + sum(finding.count for key, finding in found if not key.customer),
        events=sum(finding.count for _, finding in found),
        recovered=sum(finding.recovered_at is not None for _, finding in found),
        first_seen=to_datetime(min(finding.first_at for _, finding in found)),
        last_seen=to_datetime(last),
        muted=_said(muted),
        resolved=_said(resolved),
        reopened=resolved is not None and last > resolved.at,
        causes=tuple(dict.fromkeys((*causes, *said))),
    )


def _said(decision: Decision | None) -> Said | None:
    if decision is None:
        return None
    _, _, _, actor, reason, cause = decision
    return Said(at=to_datetime(decision.at), actor=actor, reason=reason, cause=cause)


def _case(key: FindingKey, finding: Finding) -> PainPointCase:
    return PainPointCase(
        customer=key.customer[2:],
        known=key.customer.startswith("u:"),
        target=key.target,
        events=finding.count,
        severity=finding.severity,
        first_seen=to_datetime(finding.first_at),
        last_seen=to_datetime(finding.last_at),
        evidence=finding.evidence,
        journey=finding.journey,
        stage=finding.stage,
        value=finding.value,
        recovered=finding.recovered_at is not None,
    )


def _json(_: object, __: object, value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
