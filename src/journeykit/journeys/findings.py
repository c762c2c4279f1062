"""
What was found about a customer, added up: one record for each code, customer and target.

The derived events tell each time that it hurt; these records are what reports read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Self

import attrs

from journeykit.model import jsonbytes
from journeykit.model.pain_point import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from journeykit.store.protocol import Store

#: Code, customer and target → the finding.
FINDINGS: Final = "finding"

#: The newest events and days that a finding names: enough to look at, and to see a trend of two
#: months, in half a kilobyte.
MOST_EVIDENCE: Final = 5
MOST_DAYS: Final = 64

#: The longest target; a longer one is cut.
TARGET_LENGTH: Final = 200

_SEPARATOR: Final = "\x1f"
_DAY: Final = 86_400_000_000

_RANKS: Final = {severity: rank for rank, severity in enumerate(Severity)}


def _days(values: Iterable[int]) -> tuple[int, ...]:
    return tuple(values)


def _ids(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


class FindingKey(NamedTuple):
    """Where a finding is kept; the customer is "" for one that is about many."""

    code: str
    customer: str
    target: str

    @property
    def text(self) -> str:
        """The key in State."""
        return _SEPARATOR.join(self)

    @classmethod
    def of(cls, key: str) -> Self:
        """Return the parts of a key in State."""
        return cls(*key.split(_SEPARATOR, 2))


@attrs.frozen(kw_only=True)
class Finding:
    """
    A pain point of one customer and target.

    Times are in microseconds.

    Args:
        count: How often it was found.

        first_at, last_at: When it was found first and last.

        severity: The worst.

        days: On which days, in days since the epoch; the newest 64.

        evidence: Ids of the events that prove it; the newest 5.

        journey, stage, instance: Where the customer was when it was found first, in the first
            journey that they were in a stage of.

        segments: Declared property → the customer's value.

        value: The money at stake; None if nobody knows.

        recovered_at: When it came to a good end; None if it has not, or was found again since.

        historical: Whether nothing but imported events has led to it.
    """

    code: str
    target: str = ""
    count: int = 1
    first_at: int
    last_at: int
    severity: Severity = attrs.field(default=Severity.MEDIUM, converter=Severity)
    days: tuple[int, ...] = attrs.field(default=(), converter=_days)
    evidence: tuple[str, ...] = attrs.field(default=(), converter=_ids)
    journey: str | None = None
    stage: str | None = None
    instance: str | None = None
    segments: dict[str, str] = attrs.field(factory=dict)
    value: float | None = None
    recovered_at: int | None = None
    historical: bool = False

    @classmethod
    def decode(cls, data: bytes) -> Finding:
        """Return what `encode` has written."""
        return cls(**dict(zip(_FIELDS, jsonbytes.loads(data), strict=True)))

    def encode(self) -> bytes:
        """Return this finding as bytes."""
        return jsonbytes.dumps([getattr(self, name) for name in _FIELDS])

    def again(self, other: Finding) -> Finding:
        """Return this finding with what *other*, of the same code and target, has found later."""
        return attrs.evolve(
            self,
            count=self.count + other.count,
            first_at=min(self.first_at, other.first_at),
            last_at=max(self.last_at, other.last_at),
            severity=max(self.severity, other.severity, key=_RANKS.__getitem__),
            days=tuple(sorted({*self.days, *other.days})[-MOST_DAYS:]),
            evidence=_newest(self.evidence, other.evidence),
            value=self.value if other.value is None else other.value,
            recovered_at=None,
            historical=self.historical and other.historical,
        )


_FIELDS: Final = tuple(field.name for field in attrs.fields(Finding))


def _newest(known: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    kept = (one for one in known if one not in more)
    return tuple(dict.fromkeys((*kept, *more)))[-MOST_EVIDENCE:]


def day_of(at: int) -> int:
    """Return the day of the instant *at*, in days since the epoch."""
    return at // _DAY


def findings(store: Store, code: str | None = None) -> Iterator[tuple[FindingKey, Finding]]:
    """Yield every finding, or those of one code, in order of their keys."""
    prefix = "" if code is None else f"{code}{_SEPARATOR}"
    for key, data in store.scan(FINDINGS, prefix):
        yield FindingKey.of(key), Finding.decode(data)
