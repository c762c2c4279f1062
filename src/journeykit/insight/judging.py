"""
What population rules measure, kept by the day; and what they judge of a day that is over.

Each day is judged once, in order. What they find again on the next day is the same pain point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from journeykit.insight.sealing import day_key
from journeykit.insight.visits import packed, unpacked
from journeykit.journeys.derived import Cause, derive
from journeykit.journeys.findings import FINDINGS, MOST_EVIDENCE, TARGET_LENGTH, Finding, FindingKey
from journeykit.model.event import DELIVER, HISTORICAL
from journeykit.model.pain_point import Severity
from journeykit.model.population import Judged, PopulationRule, Spread, Top
from journeykit.model.rule import EventView

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from journeykit.journeys.rulebook import Rulebook
    from journeykit.model.event import Entry, Stored
    from journeykit.store.protocol import Store

#: Rule and day → target → what was measured.
MEASURES: Final = "watch_measures"

#: The key of a finding → among how many it happened, and what the rule has told.
JUDGED: Final = "watch_judged"

#: The most targets of a rule on one day; further ones are left out.
_MOST_TARGETS: Final = 200

#: What was not found for so many days is over.
_OVER_AFTER: Final = 2

_SEPARATOR: Final = "\x1f"
_DAY: Final = 86_400_000_000

State = dict[tuple[str, str], bytes | None]
Measured = dict[tuple[str, int], dict[str, Spread]]


def measure(book: Rulebook, measured: Measured, stored: Stored, at: int, who: str) -> None:
    """Add what the rules of *book* measure of an event; *who* is a hash of its customer."""
    for route in book.routes.get(stored.entry.name, ()):
        rule = route.rule
        if not isinstance(rule, PopulationRule):
            continue
        found = rule.measure(EventView(stored.entry, route.name, at, _properties(stored)))
        if found is None:
            continue
        target, value = found
        day = measured.setdefault((rule.name, at // _DAY), {})
        flags = stored.entry.flags & (HISTORICAL | DELIVER)
        top = Top(value, stored.id, who, flags)
        if target[:TARGET_LENGTH] in day or len(day) < _MOST_TARGETS:
            day.setdefault(target[:TARGET_LENGTH], Spread()).add(top)


def _properties(stored: Stored) -> dict[str, Any]:
    return stored.event().properties  # type: ignore[return-value]


def kept(store: Store, measured: Measured) -> State:
    """Return what is kept of the days with what was *measured*."""
    state: State = {}
    for (name, day), spreads in measured.items():
        key = _key(name, day)
        data = store.state((MEASURES, key))
        both = _decoded(data) if data else {}
        for target, spread in spreads.items():
            if target in both or len(both) < _MOST_TARGETS:
                both.setdefault(target, Spread()).join(spread)
        state[MEASURES, key] = _encoded(both)
    return state


def without(store: Store, gone: Iterable[str]) -> State:
    """Return what is kept of the days without the events of customers who are *gone*."""
    erased, state = frozenset(gone), State()
    for key, data in store.scan(MEASURES):
        day = _decoded(data)
        if any(top.who in erased for spread in day.values() for top in spread.top):
            for spread in day.values():
                spread.top = [top for top in spread.top if top.who not in erased]
            state[MEASURES, key] = _encoded(day)
    return state


def _key(name: str, day: int) -> str:
    return f"{name}{_SEPARATOR}{day_key(day)}"


def _encoded(day: Mapping[str, Spread]) -> bytes:
    return packed(
        {
            target: [sorted(spread.counts.items()), [list(top) for top in spread.top]]
            for target, spread in sorted(day.items())
        }
    )


def _decoded(data: bytes) -> dict[str, Spread]:
    return {
        target: Spread(dict(counts), [Top(*top) for top in tops])
        for target, (counts, tops) in unpacked(data).items()
    }


class Judge:
    """Has the rules of *book* judge days that are over."""

    def __init__(self, store: Store, book: Rulebook, keeps: int) -> None:
        self._store = store
        self._rules = [rule for rule in book.rules if isinstance(rule, PopulationRule) and rule.on]
        self._keeps = keeps
        self._findings: dict[str, Finding] = {}
        for rule in self._rules:
            prefix = FindingKey(rule.code, "", "").text
            for key, data in store.scan(FINDINGS, prefix):
                self._findings[key] = Finding.decode(data)

    def judge(self, day: int) -> tuple[State, list[Entry]]:
        """Return what to keep of one day more, and what to tell."""
        state: State = {}
        derived: list[Entry] = []
        for rule in self._rules:
            state[MEASURES, _key(rule.name, day - self._keeps)] = None
            days = [self._measured(rule, each) for each in range(day - rule.days + 1, day + 1)]
            found = {each.target: each for each in rule.judge(days)} if days[-1] else {}
            for each in found.values():
                derived += self._found(rule, day, each, state)
            derived += self._over(rule, day, state)
        return state, derived

    def _measured(self, rule: PopulationRule, day: int) -> dict[str, Spread]:
        data = self._store.state((MEASURES, _key(rule.name, day)))
        return _decoded(data) if data else {}

    def _found(self, rule: PopulationRule, day: int, judged: Judged, state: State) -> list[Entry]:
        key = FindingKey(rule.code, "", judged.target).text
        known = self._findings.get(key)
        severity = Severity(judged.severity or rule.severity)
        flags = _flags(judged.evidence)
        finding = Finding(
            code=rule.code,
            target=judged.target,
            count=max(1, len({top.who for top in judged.evidence})),
            first_at=day * _DAY,
            last_at=(day + 1) * _DAY - 1,
            severity=severity,
            days=(day,),
            evidence=tuple(top.event for top in judged.evidence[:MOST_EVIDENCE]),
            historical=bool(flags & HISTORICAL),
        )
        is_new = known is None or known.recovered_at is not None
        if known is not None:
            # Of so many it is known on one day; who came on several is not counted twice.
            most = max(known.count, finding.count)
            finding = attrs.evolve(known.again(finding), count=most)
        self._findings[key] = finding
        state[FINDINGS, key] = finding.encode()
        state[JUDGED, key] = packed([judged.of, dict(judged.properties)])
        if not is_new:
            return []
        properties = {
            **judged.properties,
            "code": rule.code,
            "target": judged.target,
            "severity": severity.value,
            "evidence": list(finding.evidence),
        }
        return [_told(finding, "pain_point.detected", day, properties, flags)]

    def _over(self, rule: PopulationRule, day: int, state: State) -> list[Entry]:
        derived = []
        for key, finding in self._findings.items():
            is_open = finding.code == rule.code and finding.recovered_at is None
            if is_open and finding.last_at // _DAY + _OVER_AFTER <= day:
                ended = attrs.evolve(finding, recovered_at=finding.last_at)
                self._findings[key] = ended
                state[FINDINGS, key] = ended.encode()
                properties = {"code": rule.code, "target": finding.target}
                flags = HISTORICAL if finding.historical else 0
                derived.append(_told(finding, "pain_point.recovered", day, properties, flags))
        return derived


def _told(
    finding: Finding, name: str, day: int, properties: Mapping[str, Any], flags: int
) -> Entry:
    cause = Cause(finding.evidence[-1] if finding.evidence else "", None, None, None, flags)
    subject = _SEPARATOR.join((finding.code, finding.target, str(day)))
    return derive(cause, name, subject, (day + 1) * _DAY - 1, properties)


def _flags(evidence: Sequence[Top]) -> int:
    """Return the flags of what was imported; none where anything was not."""
    if not evidence or not all(top.flags & HISTORICAL for top in evidence):
        return 0
    return HISTORICAL | (DELIVER if any(top.flags & DELIVER for top in evidence) else 0)
