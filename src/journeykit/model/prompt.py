"""Declarations of feedback questions: what is asked, when, of whom, and how often."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import attrs

from journeykit.model.journey import _check_key, _check_name, to_tuple
from journeykit.model.language import Texts, to_texts
from journeykit.model.pain_point import Severity

#: The most shows that a cap may count: so many of each prompt are kept for a customer.
MOST_COUNTED: Final = 10

#: The most prompts of a shop: what is kept of a customer is bounded by it.
MOST_PROMPTS: Final = 100


class PromptKind(StrEnum):
    """What is asked."""

    #: 0 to 10: would they recommend the shop?
    NPS = "nps"
    #: The same, then a reason for each band of scores, then a comment.
    NPS_PLUS = "nps_plus"
    #: 1 to 5: how satisfied are they?
    CSAT = "csat"
    #: 1 to 7: how easy was it?
    CES = "ces"
    #: One of several options.
    CHOICE = "choice"
    #: Any of several options.
    CHOICES = "choices"
    #: A text.
    TEXT = "text"


#: The lowest and the highest score of the kinds that have one.
SCALES: Final[Mapping[PromptKind, tuple[int, int]]] = {
    PromptKind.NPS: (0, 10),
    PromptKind.NPS_PLUS: (0, 10),
    PromptKind.CSAT: (1, 5),
    PromptKind.CES: (1, 7),
}

#: The bands of an NPS score, by the lowest and the highest of each.
NPS_BANDS: Final = (("detractors", 0, 6), ("passives", 7, 8), ("promoters", 9, 10))


class Style(StrEnum):
    """How the scores of a CSAT question look."""

    STARS = "stars"
    FACES = "faces"
    NUMBERS = "numbers"


class Clock(StrEnum):
    """From when on `every` counts."""

    LAST_SHOWN = "last_shown"
    LAST_ANSWERED = "last_answered"


def _optional_texts(value: Any) -> Texts | None:
    return None if value is None else to_texts(value)


def _to_options(values: Iterable[Any]) -> tuple[Option, ...]:
    return tuple(_to_option(value) for value in to_tuple(values))


def _to_option(value: Any) -> Option:
    if isinstance(value, Option):
        return value
    if isinstance(value, Mapping):
        return Option(**value)
    msg = f"expected a table with key and text, got {value!r}"
    raise TypeError(msg)


@attrs.frozen
class Option:
    """
    One answer to choose.

    Args:
        key: What an answer holds, whatever the language.

        text: What people read.
    """

    key: str = attrs.field(validator=_check_key)
    text: Texts = attrs.field(converter=to_texts)


@attrs.frozen(kw_only=True)
class PromptStep:
    """
    One question of a prompt.

    Args:
        key: What its answer is kept under.

        kind: `"choice"`, `"choices"` or `"text"`; the first step of a prompt has the prompt's kind.

        text: The question.

        options: What to choose from.

        at_least, at_most: It is asked only where the score is within these.

        required: Whether the prompt is complete without it.

        max_length: The most characters of a text.

        low, high: What the ends of the scale mean; of the first step only.
    """

    key: str = attrs.field(validator=_check_key)
    kind: PromptKind = attrs.field(converter=PromptKind)
    text: Texts = attrs.field(converter=to_texts)
    options: tuple[Option, ...] = attrs.field(default=(), converter=_to_options)
    at_least: int | None = None
    at_most: int | None = None
    required: bool = False
    max_length: int = 1000
    low: Texts | None = attrs.field(default=None, converter=_optional_texts)
    high: Texts | None = attrs.field(default=None, converter=_optional_texts)

    @property
    def scale(self) -> tuple[int, int] | None:
        """The lowest and the highest score; None where the answer is no score."""
        return SCALES.get(self.kind)

    def is_asked(self, score: int | None) -> bool:
        """Return whether it is asked of somebody whose score is *score*."""
        if self.at_least is None and self.at_most is None:
            return True
        if score is None:
            return False
        return (self.at_least is None or score >= self.at_least) and (
            self.at_most is None or score <= self.at_most
        )


@attrs.frozen(kw_only=True)
class When:
    """
    What arms a prompt: exactly one of *event*, *stage*, *pain_point* and *page*.

    Args:
        event: An event of this name, or of one that means the same.

        stage: The customer has entered this stage.

        journey: Only the stage of this journey.

        pain_point: A pain point of this code was found; `"payment.*"` for all that begin so.

        severity: Only of at least this severity.

        page: A page whose path is like this, with `*` for any text: `"/orders/*"`.

        where: Property of the event → the value that it must have, or a list of such values.

        after: The name of an event that must have come before the trigger.

        after_within: How long before at most.

        delay: How long after the trigger the prompt is shown at the earliest.

        within: How long after that the prompt stays armed.
    """

    event: str | None = attrs.field(default=None, validator=attrs.validators.optional(_check_name))
    stage: str | None = attrs.field(default=None, validator=attrs.validators.optional(_check_key))
    journey: str | None = attrs.field(default=None, validator=attrs.validators.optional(_check_key))
    pain_point: str | None = None
    severity: Severity | None = attrs.field(
        default=None, converter=attrs.converters.optional(Severity)
    )
    page: str | None = None
    where: dict[str, Any] = attrs.field(factory=dict)
    after: str | None = attrs.field(default=None, validator=attrs.validators.optional(_check_name))
    after_within: timedelta = timedelta(days=1)
    delay: timedelta = timedelta(0)
    within: timedelta = timedelta(minutes=30)


@attrs.frozen(kw_only=True)
class Where:
    """
    What must hold besides; all of what is given.

    Args:
        page: The page's path is like one of these, with `*` for any text.

        not_page: It is like none of these.

        device: The device is one of these: `"desktop"`, `"phone"`, `"tablet"`.

        referrer: How the visitor came is one of these.

        stage: The customer is in one of these stages, as `"payment"` or `"checkout.payment"`.

        not_stage: They are in none of these.

        known: Whether they are signed in.
    """

    page: tuple[str, ...] = attrs.field(default=(), converter=to_tuple)
    not_page: tuple[str, ...] = attrs.field(default=(), converter=to_tuple)
    device: tuple[str, ...] = attrs.field(default=(), converter=to_tuple)
    referrer: tuple[str, ...] = attrs.field(default=(), converter=to_tuple)
    stage: tuple[str, ...] = attrs.field(default=(), converter=to_tuple)
    not_stage: tuple[str, ...] = attrs.field(default=(), converter=to_tuple)
    known: bool | None = None


@attrs.frozen(kw_only=True)
class Ask:
    """
    How often one customer is asked: one of *every*, *once*, *until_answered* and *always*.

    Where none is given it is *once*.

    Args:
        every: Again after so long.

        clock: From when on that counts: `"last_shown"` or `"last_answered"`.

        once: Never again once it was shown.

        until_answered: Again until it was answered, and *max_shows* times at most.

        always: As often as it is armed, as far as the caps allow.

        sample: The share of customers who are asked, 0 to 1; it is always the same ones.

        salt: Another one draws other customers.

        limit: The most answers of all customers together.
    """

    every: timedelta | None = None
    clock: Clock = attrs.field(default=Clock.LAST_SHOWN, converter=Clock)
    once: bool = False
    until_answered: bool = False
    max_shows: int = 3
    always: bool = False
    sample: float = 1.0
    salt: str = ""
    limit: int | None = None


def _to_utc(value: datetime | None) -> datetime | None:
    if value is not None and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value


@attrs.frozen(kw_only=True)
class Schedule:
    """
    From when and until when a prompt is asked.

    Args:
        start, end: Points in time; one without a zone is UTC.
    """

    start: datetime | None = attrs.field(default=None, converter=_to_utc)
    end: datetime | None = attrs.field(default=None, converter=_to_utc)


@attrs.frozen(kw_only=True)
class Cap:
    """
    The most prompts that one customer is shown.

    Args:
        most: So many.

        per: In any time of this length; None for ever.

        group: Only prompts of this group; None for all.
    """

    most: int
    per: timedelta | None = None
    group: str | None = attrs.field(default=None, validator=attrs.validators.optional(_check_key))


#: What is asked of nobody more often, unless `[feedback]` says otherwise.
DEFAULT_CAPS: Final = (
    Cap(most=1, per=timedelta(days=7)),
    Cap(most=1, per=timedelta(days=90), group="nps"),
)


def _group(prompt: Prompt) -> str:
    nps = prompt.kind in (PromptKind.NPS, PromptKind.NPS_PLUS)
    return "nps" if nps else str(prompt.kind.value)


@attrs.frozen(kw_only=True)
class Prompt:
    """
    A feedback question, with its rule for when to ask it.

    Args:
        key: Its name in figures and events.

        kind: What is asked.

        text: The question.

        when: What arms it.

        on: Whether it is asked at all; can be changed without a deployment.

        style: How the scores of a CSAT question look.

        low, high: What the ends of the scale mean.

        options: What to choose from.

        then: The questions behind the first, for all scores or for some.

        thanks: What is said at the end.

        cancel: Names of events that take back what has armed it.

        where: What must hold besides.

        ask: How often one customer is asked.

        priority: Of several the one with the highest is asked, 0 to 100.

        schedule: From when and until when.

        group: What caps count it among; the kind if not given, and `"nps"` for both kinds of it.

        in_quiet: Whether it is asked in the quiet time too.
    """

    key: str = attrs.field(validator=_check_key)
    kind: PromptKind = attrs.field(converter=PromptKind)
    text: Texts = attrs.field(converter=to_texts)
    when: When
    on: bool = True
    style: Style = attrs.field(default=Style.NUMBERS, converter=Style)
    low: Texts | None = attrs.field(default=None, converter=_optional_texts)
    high: Texts | None = attrs.field(default=None, converter=_optional_texts)
    options: tuple[Option, ...] = attrs.field(default=(), converter=_to_options)
    then: tuple[PromptStep, ...] = attrs.field(default=(), converter=to_tuple)
    thanks: Texts | None = attrs.field(default=None, converter=_optional_texts)
    cancel: tuple[str, ...] = attrs.field(default=(), converter=to_tuple)
    where: Where = attrs.field(factory=Where)
    ask: Ask = attrs.field(factory=Ask)
    priority: int = 50
    schedule: Schedule = attrs.field(factory=Schedule)
    group: str = attrs.field(default=attrs.Factory(_group, takes_self=True), validator=_check_key)
    in_quiet: bool = False

    @property
    def steps(self) -> tuple[PromptStep, ...]:
        """All questions in their order; the key of the first is `"score"` or `"answer"`."""
        kind = PromptKind.NPS if self.kind is PromptKind.NPS_PLUS else self.kind
        first = PromptStep(
            key="score" if kind in SCALES else "answer",
            kind=kind,
            text=self.text,
            options=self.options,
            required=True,
            low=self.low,
            high=self.high,
        )
        return (first, *self.then)

    @property
    def asks_score(self) -> bool:
        """Whether the first answer is a score."""
        return self.kind in SCALES

    def wording(self, language: str) -> str:
        """Return what changes when readers of *language* are asked in other words: 8 digits."""
        texts = [each and each(language) for each in (self.text, self.low, self.high)]
        return hashlib.blake2b(repr(texts).encode(), digest_size=4).hexdigest()

    @property
    def version(self) -> str:
        """What changes when any part of the declaration does: 16 hexadecimal digits."""
        return hashlib.blake2b(repr(self).encode(), digest_size=8).hexdigest()
