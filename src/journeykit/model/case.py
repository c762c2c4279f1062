"""Declarations of the closed loop: which complaint becomes whose case, and by when it is due."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final

import attrs

from journeykit.model.hours import Opening, parse_opening
from journeykit.model.journey import _check_key, _title, to_tuple
from journeykit.model.pain_point import Severity
from journeykit.model.prompt import PromptKind

#: What is low of each kind of score: who answers so has had it hard, or is unhappy.
#: A CES asks how easy it was, 1 to 7, so a low one is bad as well.
LOW_SCORES: Final[Mapping[PromptKind, int]] = {
    PromptKind.NPS: 6,
    PromptKind.NPS_PLUS: 6,
    PromptKind.CSAT: 2,
    PromptKind.CES: 3,
}

#: The longest time that a clock of a case may run: some more than any business grants itself.
LONGEST_CLOCK: Final = timedelta(days=365)


def _texts(values: Iterable[Any]) -> tuple[str, ...]:
    found = to_tuple(values)
    for value in found:
        if not isinstance(value, str) or not value.strip():
            msg = f"expected a list of texts, got {value!r}"
            raise TypeError(msg)
    return found


def _openings(_: object, __: object, values: tuple[str, ...]) -> None:
    for value in values:
        parse_opening(value)


@attrs.frozen(kw_only=True)
class CaseWhen:
    """
    What opens a case: exactly one of *prompt*, *kind* and *pain_point*.

    Args:
        prompt: An answer to the prompt of this key.

        kind: An answer to any prompt of this kind; `"nps"` stands for `"nps_plus"` too.

        at_least, at_most: Only a score within these.
            Without both, a low one: NPS 0 to 6, CSAT 1 and 2, CES 1 to 3.

        pain_point: A pain point of this code; `"payment.*"` for all that begin so.

        severity: Only of at least this severity.

        where: Of an answer, the key of a question → the answer that it must have; of a pain point,
            property → value. A list is for any of its values.
    """

    prompt: str | None = attrs.field(default=None, validator=attrs.validators.optional(_check_key))
    kind: PromptKind | None = attrs.field(
        default=None, converter=attrs.converters.optional(PromptKind)
    )
    at_least: int | None = None
    at_most: int | None = None
    pain_point: str | None = None
    severity: Severity | None = attrs.field(
        default=None, converter=attrs.converters.optional(Severity)
    )
    where: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class CaseRule:
    """
    Which complaint becomes a case.

    Args:
        key: Its name in figures and events.

        when: What opens a case.

        title: What people read; the key with a capital if not given.

        severity: How urgent such a case is; a more severe pain point raises it.

        owner: Whose it is; without one, that of the touchpoint, the stage, the journey, `[cases]`.

        first_response: Somebody must have answered the customer by then; that of `[cases]` if not
            given.

        resolution: It must be resolved by then; likewise.

        subject: A property of what opens it, such as `"order_id"`, or `"target"` of a pain point:
            a customer may have one open case for each value of it.
            Without it, one of this rule.

        recovery: The prompt that asks, once the case is resolved, whether all is well now.

        recovery_at_most: A score up to this reopens the case; a low one of its kind if not given.

        reopen_within: A case that was resolved may be reopened for so long, and is closed then;
            that of `[cases]` if not given.

        causes, actions: What may lie behind it and what can be done, to choose from; those of
            `[cases]` if not given.
    """

    key: str = attrs.field(validator=_check_key)
    when: CaseWhen
    title: str = attrs.field(default=attrs.Factory(_title, takes_self=True))
    severity: Severity = attrs.field(default=Severity.MEDIUM, converter=Severity)
    owner: str | None = None
    first_response: timedelta | None = None
    resolution: timedelta | None = None
    subject: str | None = None
    recovery: str | None = attrs.field(
        default=None, validator=attrs.validators.optional(_check_key)
    )
    recovery_at_most: int | None = None
    reopen_within: timedelta | None = None
    causes: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    actions: tuple[str, ...] = attrs.field(default=(), converter=_texts)


@attrs.frozen(kw_only=True)
class Cases:
    """
    The table `[cases]`: who follows up on complaints, and by when.

    Args:
        rules: The first one that fits a complaint counts.

        owner: Whose the cases are that belong to nobody else.

        first_response: Somebody must have answered the customer by then.

        resolution: A case must be resolved by then.

        hours: When somebody works: `["mon-fri 09:00-17:00", "sat 10:00-14:00"]`.
            Clocks run in these hours only, so that 8 h may be a day; without any, they always run.

        zone: The time zone of these hours, by its IANA name: `"Europe/Vienna"`.

        reopen_within: A case that was resolved may be reopened for so long, and is closed then.

        causes, actions: What may lie behind a case and what can be done, to choose from; anything
            if not given.
    """

    rules: tuple[CaseRule, ...] = attrs.field(default=(), converter=to_tuple)
    owner: str | None = None
    first_response: timedelta = timedelta(hours=24)
    resolution: timedelta = timedelta(days=7)
    hours: tuple[str, ...] = attrs.field(default=(), converter=_texts, validator=_openings)
    zone: str = "UTC"
    reopen_within: timedelta = timedelta(days=14)
    causes: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    actions: tuple[str, ...] = attrs.field(default=(), converter=_texts)

    @property
    def openings(self) -> tuple[Opening, ...]:
        """The hours, understood."""
        return tuple(map(parse_opening, self.hours))

    def rule(self, key: str) -> CaseRule | None:
        """Return the rule of this key."""
        return next((rule for rule in self.rules if rule.key == key), None)

    def causes_of(self, key: str) -> tuple[str, ...]:
        """Return the causes to choose from for a case of the rule *key*; none for anything."""
        rule = self.rule(key)
        return (rule.causes if rule is not None else ()) or self.causes

    def actions_of(self, key: str) -> tuple[str, ...]:
        """Return the actions to choose from for a case of the rule *key*; none for anything."""
        rule = self.rule(key)
        return (rule.actions if rule is not None else ()) or self.actions
