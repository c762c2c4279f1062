"""What passes between a page and `kit.feedback`: the page, the offer, what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum

import attrs

from journeykit.model.language import direction
from journeykit.model.prompt import Prompt


def _to_languages(value: Iterable[str] | str) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


@attrs.frozen(kw_only=True)
class Page:
    """
    The page that asks for a prompt.

    Args:
        path: The path of its address, without query and fragment.

        languages: What the visitor reads, the best first.

        device: `"desktop"`, `"phone"` or `"tablet"`, as far as it is known.

        referrer: How the visitor came: `"direct"`, `"search"`, `"social"`, `"internal"`, …

        session_id: The visit.

        bot: Whether a program asks.

        prefetch: Whether a browser asks in advance, for a page that nobody looks at yet.
    """

    path: str = "/"
    languages: tuple[str, ...] = attrs.field(default=(), converter=_to_languages)
    device: str | None = None
    referrer: str | None = None
    session_id: str | None = None
    bot: bool = False
    prefetch: bool = False


@attrs.frozen(kw_only=True)
class Offer:
    """
    A prompt to show, claimed for one customer.

    Args:
        impression: The id of this showing.

        prompt: What to show, with what was changed without a deployment laid over.

        language: The language of its texts; empty where one text is for all.

        delay: How long to wait before it is shown, in seconds.

        expires_at: When the claim ends unless the prompt was shown.

        surface: Where it is shown.

        variant: Which of several forms of it; None where there is one.
    """

    impression: str
    prompt: Prompt
    language: str
    delay: float
    expires_at: datetime
    surface: str = "page"
    variant: str | None = None

    @property
    def direction(self) -> str:
        """`"rtl"` or `"ltr"`: how its texts run."""
        return direction(self.language)


class ImpressionStep(StrEnum):
    """What a page reports of an impression."""

    SHOWN = "shown"
    STARTED = "started"
    ANSWER = "answer"
    DISMISSED = "dismissed"
    ABANDONED = "abandoned"
    COMPLETED = "completed"


class OutcomeStatus(StrEnum):
    """What became of a report."""

    #: It counts, or did already.
    OK = "ok"
    #: The impression has come to its end, or the prompt must not be shown any more.
    CLOSED = "closed"
    #: It was not shown in time, or not answered within a day.
    EXPIRED = "expired"
    #: An answer is none; `errors` says which and why. Nothing was stored.
    INVALID = "invalid"
    #: There is no such impression, or the customer was erased.
    UNKNOWN = "unknown"
    #: It was shown to somebody else.
    NOT_YOURS = "not_yours"


@attrs.frozen
class Outcome:
    """
    What became of a report.

    Args:
        status: Whether it counts, or why not.

        errors: Key of a step → what is wrong with its answer: `"required"`, `"wrong_type"`,
            `"out_of_range"`, `"no_option"`, `"too_long"` or `"unknown"`.
            Under the empty key: why nothing could be recorded.
    """

    status: OutcomeStatus
    errors: Mapping[str, str] = attrs.field(factory=dict)

    def __bool__(self) -> bool:
        return self.status is OutcomeStatus.OK


@attrs.frozen(kw_only=True)
class Candidate:
    """
    Something that may be shown now, for `select_prompt` to choose among.

    Args:
        key: The prompt's key.

        prompt: The prompt.

        kind: `"prompt"`; there will be others.

        armed_at: When its trigger occurred.
    """

    key: str
    prompt: Prompt
    kind: str = "prompt"
    armed_at: datetime
