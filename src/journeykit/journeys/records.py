"""How a finding is kept, and what is derived when it is made, recovers or is taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from journeykit.journeys.derived import About, Cause, derive
from journeykit.journeys.findings import FINDINGS, Finding, FindingKey
from journeykit.journeys.where import Where, where

if TYPE_CHECKING:
    from collections.abc import Sequence

    from journeykit.journeys.meaning import Meaning
    from journeykit.journeys.reckoning import Reckoning, Signal
    from journeykit.journeys.rulebook import Rulebook
    from journeykit.journeys.segments import Segments
    from journeykit.model.event import Entry, Stored
    from journeykit.store.view import View

_SEPARATOR: Final = "\x1f"

#: What a finding tells of where the customer was, and of who they are.
PLACED: Final = ("journey", "stage", "instance", "segments")


class Records:
    """
    Knows the findings of the rules of *book*.

    Args:
        meanings: What events mean to the journeys that findings name the stages of.

        segments: The properties to tell customers apart by.
    """

    def __init__(
        self,
        book: Rulebook,
        meanings: Sequence[Meaning],
        segments: Segments | None,
    ) -> None:
        self._book = book
        self._meanings = meanings
        self._segments = segments

    def key(self, customer: str, place: Sequence[Any]) -> str:
        """Return what a finding is kept under; *place* is the rule's number and the target."""
        number, target = place
        return FindingKey(self._book.rules[number].code, customer, target).text

    def placed(self, view: View, customer: str, finding: Finding) -> Finding:
        """Return *finding* with where the customer was, and what is known of them."""
        place = where(view, self._meanings, customer, finding.first_at, finding.target)
        segments = self._segments
        return attrs.evolve(
            finding,
            journey=place.journey,
            stage=place.stage,
            instance=place.instance,
            segments=segments.of(view, customer, finding.first_at) if segments else {},
        )

    def tell(self, view: View, customer: str, signal: Signal, reckoning: Reckoning) -> Entry:
        """Derive that something was found, or has come to a good end."""
        rule, found = self._book.rules[signal.rule], signal.found
        finding = view.get(
            FINDINGS, self.key(customer, (signal.rule, signal.target)), Finding.decode
        )
        place = Where()
        properties: dict[str, Any] = {**found.properties, "code": rule.code}
        if not signal.recovered:
            severity = rule.severity if found.severity is None else found.severity
            properties |= {"severity": severity.value, "evidence": list(signal.evidence)}
        properties["target"] = signal.target
        if finding is not None:
            place = where(view, self._meanings, customer, signal.at, signal.target)
            properties["segments"] = finding.segments
        value = found.value if finding is None or found.value is not None else finding.value
        if value is not None:
            properties["value"] = value
        name = "pain_point.recovered" if signal.recovered else "pain_point.detected"
        about = About(place.encoded, place.stage, place.instance)
        cause = _cause(signal, customer, reckoning.stamp)
        subject = f"{self._subject(signal)}{_SEPARATOR}{reckoning.taken_back}"
        return derive(cause, name, subject, signal.at, properties, about)

    def withdraw(self, stored: Stored, signal: Signal) -> Entry:
        """Derive that something that was told is not so."""
        rule = self._book.rules[signal.rule]
        properties: dict[str, Any] = {
            "code": rule.code,
            "target": signal.target,
            "evidence": list(signal.evidence),
        }
        if signal.recovered:
            properties["recovery"] = True
        subject = f"{self._subject(signal)}{_SEPARATOR}{signal.cause}"
        cause = Cause.of(stored)
        return derive(cause, "pain_point.withdrawn", subject, signal.at, properties)

    def _subject(self, signal: Signal) -> str:
        code = self._book.rules[signal.rule].code
        return _SEPARATOR.join((code, signal.target, str(signal.at), str(signal.number)))


def _cause(signal: Signal, customer: str, stamp: str) -> Cause:
    if signal.stored is not None:
        return Cause.of(signal.stored)
    known = customer.startswith("u:")
    user_id, anonymous_id = (customer[2:], None) if known else (None, customer[2:])
    return Cause(signal.cause, user_id, anonymous_id, None, signal.flags, stamp.encode())
