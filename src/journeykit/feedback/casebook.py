"""
The case rules, as they were in force from some instant on.

What is declared is kept as JSON values, in the Log, so that a case that was opened stays opened
whatever the file says later.
"""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from journeykit.feedback.case_state import Terms
from journeykit.feedback.gates import micros
from journeykit.feedback.routes import rank
from journeykit.journeys.plan import matches
from journeykit.model.case import LOW_SCORES
from journeykit.model.prompt import PromptKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from journeykit.model.case import CaseRule, Cases
    from journeykit.model.journey import Journey, Touchpoint
    from journeykit.model.prompt import Prompt
    from journeykit.model.vocabulary import Vocabulary

_SEPARATOR: Final = "\x1f"
_NPS: Final = frozenset((PromptKind.NPS.value, PromptKind.NPS_PLUS.value))


class Place(NamedTuple):
    """Where somebody has complained: the event, the stage and the journey that it goes back to."""

    touchpoint: str | None = None
    stage: str | None = None
    journey: str | None = None


@attrs.frozen
class RuleInForce:
    """A rule as it is in force, by its parts on the wire."""

    key: str
    title: str
    when: Mapping[str, Any]
    severity: int
    owner: str | None
    subject: str | None
    terms: Terms

    def fits_answer(self, properties: Mapping[str, Any]) -> bool:
        """Return whether an answer is a complaint by this rule."""
        when, kind = self.when, str(properties.get("kind"))
        if when["pain_point"] is not None:
            return False
        if when["prompt"] is not None and when["prompt"] != properties.get("prompt"):
            return False
        if when["kind"] is not None and not _is_kind(kind, when["kind"]):
            return False
        if not _fits(when["where"], properties.get("answers")):
            return False
        return self._fits_score(kind, properties.get("score"))

    def _fits_score(self, kind: str, score: Any) -> bool:
        least, most = self.when["at_least"], self.when["at_most"]
        if least is None and most is None:
            most = low_score(kind)
            if most is None:
                # No score was asked for, so it takes the words of the answer.
                return bool(self.when["where"])
        if type(score) is not int:
            return False
        return (least is None or score >= least) and (most is None or score <= most)

    def fits_pain(self, properties: Mapping[str, Any]) -> bool:
        """Return whether a pain point is a complaint by this rule."""
        wanted, code = self.when["pain_point"], str(properties.get("code"))
        if wanted is None:
            return False
        if not (code.startswith(wanted[:-1]) if wanted.endswith(".*") else code == wanted):
            return False
        if rank(str(properties.get("severity"))) < self.when["severity"]:
            return False
        return matches(self.when["where"], properties)

    def subject_of(self, properties: Mapping[str, Any]) -> str:
        """Return what a complaint is about, so that another one is the same case."""
        value = properties.get(self.subject) if self.subject is not None else None
        if value is None and self.subject is not None:
            answers = properties.get("answers")
            value = answers.get(self.subject) if isinstance(answers, dict) else None
        return "" if value is None else str(value)[:200]


def is_bad(terms: Terms, kind: str, score: Any) -> bool:
    """Return whether a score of the recovery question says that all is not well."""
    most = terms.recovery_at_most
    if most is None:
        most = low_score(kind)
    return type(score) is int and most is not None and score <= most


def low_score(kind: str) -> int | None:
    """Return up to what a score is low; None where the answer is no score."""
    try:
        return LOW_SCORES.get(PromptKind(kind))
    except ValueError:
        return None


class Casebook:
    """The rules of *wire*, which `to_wire` has made."""

    def __init__(self, wire: Mapping[str, Any]) -> None:
        self._wire = wire
        self.rules = tuple(_rule(each, wire) for each in wire["rules"])
        self.owner: str | None = wire["owner"]

    def rule_for_answer(self, properties: Mapping[str, Any]) -> RuleInForce | None:
        """Return the first rule by which an answer is a complaint."""
        return next((rule for rule in self.rules if rule.fits_answer(properties)), None)

    def rule_for_pain(self, properties: Mapping[str, Any]) -> RuleInForce | None:
        """Return the first rule by which a pain point is a complaint."""
        return next((rule for rule in self.rules if rule.fits_pain(properties)), None)

    def origin(self, prompt: object) -> Place:
        """Return what a prompt goes back to, as far as its declaration tells."""
        return Place(*self._wire["prompts"].get(str(prompt), ()))

    def owner_at(self, place: Place) -> str | None:
        """Return who answers for a place; None if nobody in particular."""
        wire = self._wire
        found = wire["touchpoints"].get(place.touchpoint)
        if found is None and place.journey is not None:
            found = wire["stages"].get(f"{place.journey}{_SEPARATOR}{place.stage}")
            found = found or wire["journeys"].get(place.journey)
        return str(found) if found else None


def to_wire(
    cases: Cases,
    prompts: Iterable[Prompt],
    journeys: Iterable[Journey],
    touchpoints: Iterable[Touchpoint],
    vocabulary: Vocabulary,
) -> dict[str, Any] | None:
    """Return what opens cases, whose they are and when they are due; None without any rule."""
    if not cases.rules:
        return None
    # The newest version of a journey comes last.
    journeys = sorted(journeys, key=lambda each: each.version)
    return {
        "rules": [_rule_to_wire(rule, cases) for rule in cases.rules],
        "owner": cases.owner,
        "hours": list(cases.hours),
        "zone": cases.zone,
        "prompts": {
            prompt.key: [prompt.when.event, prompt.when.stage, prompt.when.journey]
            for prompt in prompts
            if prompt.when.event or prompt.when.stage
        },
        "touchpoints": {
            same: point.owner
            for point in touchpoints
            if point.owner
            for same in vocabulary.same(point.name)
        },
        "stages": {
            f"{journey.key}{_SEPARATOR}{stage.key}": stage.owner
            for journey in journeys
            for stage in journey.stages
            if stage.owner
        },
        "journeys": {journey.key: journey.owner for journey in journeys if journey.owner},
    }


def hash_of(wire: Mapping[str, Any]) -> str:
    """Return what tells these rules from others."""
    text = json.dumps(wire, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _rule_to_wire(rule: CaseRule, cases: Cases) -> dict[str, Any]:
    when = rule.when
    return {
        "key": rule.key,
        "title": rule.title,
        "when": {
            "prompt": when.prompt,
            "kind": None if when.kind is None else when.kind.value,
            "at_least": when.at_least,
            "at_most": when.at_most,
            "pain_point": when.pain_point,
            "severity": rank(when.severity) if when.severity is not None else -1,
            "where": when.where,
        },
        "severity": rank(rule.severity),
        "owner": rule.owner,
        "subject": rule.subject,
        "first_response": _length(rule.first_response, cases.first_response),
        "resolution": _length(rule.resolution, cases.resolution),
        "reopen": _length(rule.reopen_within, cases.reopen_within),
        "recovery": rule.recovery,
        "recovery_at_most": rule.recovery_at_most,
    }


def _length(own: timedelta | None, common: timedelta) -> int:
    return micros(common if own is None else own)


def _rule(rule: Mapping[str, Any], wire: Mapping[str, Any]) -> RuleInForce:
    terms = Terms(
        rule["first_response"],
        rule["resolution"],
        rule["reopen"],
        tuple(wire["hours"]),
        wire["zone"],
        rule["recovery"],
        rule["recovery_at_most"],
    )
    named = ("key", "title", "when", "severity", "owner", "subject")
    return RuleInForce(**{name: rule[name] for name in named}, terms=terms)


def _is_kind(kind: str, wanted: str) -> bool:
    return kind == wanted or (kind in _NPS and wanted == PromptKind.NPS.value)


def _fits(where: Mapping[str, Any], answers: Any) -> bool:
    if not where:
        return True
    return isinstance(answers, dict) and all(
        _is_among(answers.get(key), wanted) for key, wanted in where.items()
    )


def _is_among(answer: Any, wanted: Any) -> bool:
    """Return whether an answer is the wanted one, or one of them; of several answers, any."""
    options: Sequence[Any] = wanted if isinstance(wanted, list) else [wanted]
    given: Sequence[Any] = answer if isinstance(answer, list) else [answer]
    return any(each in options for each in given)
