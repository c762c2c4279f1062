"""
What passes between the page and the shop, version 1: an offer as JSON, a report read from a body.

Nothing of a customer goes to the page: an impression, a token, and what is to be asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import attrs

from journeykit.model import jsonbytes
from journeykit.model.impression import ImpressionStep
from journeykit.model.language import direction
from journeykit.model.prompt import PromptKind
from journeykit.web import labels

if TYPE_CHECKING:
    from datetime import datetime

    from journeykit.model.impression import Offer
    from journeykit.model.prompt import Prompt, PromptStep

VERSION: Final = 1

_TYPES: Final = {
    PromptKind.CHOICE: "choice",
    PromptKind.CHOICES: "choices",
    PromptKind.TEXT: "text",
}
_MOST_ANSWERS: Final = 50
_MOST_SEQ: Final = 1_000_000
_FORM_TYPE: Final = "application/x-www-form-urlencoded"
_NUMBER: Final = re.compile(r"-?[0-9]{1,9}")

#: What the fields of a plain form begin with that hold answers.
ANSWER_FIELD: Final = "answer."


class BadBody(ValueError):
    """A body that is no report; `status` is what to answer, and `code` says why."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


@attrs.frozen(kw_only=True)
class Report:
    """
    What a page says about an impression.

    Args:
        is_form: Whether a plain form says it, without the script; it gets pages for answers.

        fields: What else a form brings.

        mount: Where the pages that follow a form are.
    """

    token: str
    step: ImpressionStep
    seq: int = 0
    answers: dict[str, Any] = attrs.field(factory=dict)
    elapsed: float | None = None
    is_form: bool = False
    fields: Mapping[str, str] = attrs.field(factory=dict)
    mount: str = ""


def steps(prompt: Prompt, language: str, default: str) -> list[dict[str, Any]]:
    """
    Return the questions of *prompt* as the page gets them.

    Args:
        language: The language of the offer; empty where one text is for all.

        default: The language of the words that the shop does not give.
    """
    return [_step(prompt, step, language, language or default) for step in prompt.steps]


def _step(prompt: Prompt, step: PromptStep, language: str, spoken: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": step.key,
        "type": _TYPES.get(step.kind, "scale"),
        "title": step.text(language),
        "required": step.required,
    }
    if step.scale is not None:
        low, high = labels.ends(step.kind, spoken) or ("", "")
        found["min"], found["max"] = step.scale
        found["low"] = low if step.low is None else step.low(language)
        found["high"] = high if step.high is None else step.high(language)
        found["style"] = prompt.style.value
    elif step.kind is PromptKind.TEXT:
        found["max"] = step.max_length
    else:
        found["options"] = [
            {"id": option.key, "label": option.text(language)} for option in step.options
        ]
    if step.at_least is not None:
        found["from"] = step.at_least
    if step.at_most is not None:
        found["to"] = step.at_most
    return found


def offer(given: Offer, token: str, now: datetime, default: str) -> dict[str, Any]:
    """Return *given* as the page gets it."""
    spoken = given.language or default
    thanks = given.prompt.thanks
    said = labels.words(spoken)
    return {
        "v": VERSION,
        "impression": given.impression,
        "prompt": given.prompt.key,
        "token": token,
        "expires_in": max(0, round((given.expires_at - now).total_seconds())),
        "delay_ms": max(0, round(given.delay * 1000)),
        "lang": spoken,
        "dir": direction(spoken),
        "labels": said,
        "steps": steps(given.prompt, given.language, default),
        "thanks": said["thanks"] if thanks is None else thanks(given.language),
    }


def report(body: bytes, content_type: str) -> Report:
    """
    Return what a body says.

    Raises:
        BadBody: It is no report.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == _FORM_TYPE:
        return _from_form(body)
    fields = json_object(body, kind)
    answers = fields.get("answers", {})
    if not isinstance(answers, dict) or len(answers) > _MOST_ANSWERS:
        raise BadBody(400, "bad_answers")
    elapsed = fields.get("elapsed_ms")
    return Report(
        token=_token(fields.get("token")),
        step=_event(fields.get("event")),
        seq=_seq(fields.get("seq", 0)),
        answers=answers,
        elapsed=None if elapsed is None or not _is_count(elapsed, 10**9) else elapsed / 1000,
    )


def json_object(body: bytes, kind: str) -> dict[str, Any]:
    """
    Return the object that a body is; a beacon calls its JSON plain text.

    Raises:
        BadBody: It is none.
    """
    if kind not in ("application/json", "text/plain"):
        raise BadBody(415, "bad_type")
    try:
        found = jsonbytes.loads(body)
    except (ValueError, RecursionError):
        raise BadBody(400, "bad_json") from None
    if not isinstance(found, dict):
        raise BadBody(400, "bad_json")
    return found


def _from_form(body: bytes) -> Report:
    try:
        pairs = parse_qsl(
            body.decode("utf-8"), keep_blank_values=True, max_num_fields=4 * _MOST_ANSWERS
        )
    except ValueError:
        raise BadBody(400, "bad_form") from None
    fields: dict[str, str] = {}
    many: dict[str, list[str]] = {}
    for name, value in pairs:
        if name.startswith(ANSWER_FIELD):
            if value.strip():
                many.setdefault(name.removeprefix(ANSWER_FIELD), []).append(value)
        else:
            fields[name] = value
    seq = fields.get("seq", "0")
    return Report(
        token=_token(fields.get("token")),
        step=_event(fields.get("event")),
        seq=_seq(int(seq) if _NUMBER.fullmatch(seq) else None),
        answers=dict(many),
        is_form=True,
        fields=fields,
    )


def typed(answers: Mapping[str, Any], prompt: Prompt) -> dict[str, Any]:
    """Return the answers of a form, which are lists of texts, as the kinds of the steps have it."""
    kinds = {step.key: step for step in prompt.steps}
    return {key: _typed(values, kinds.get(key)) for key, values in answers.items()}


def _typed(values: list[str], step: PromptStep | None) -> Any:
    if step is None or step.kind is PromptKind.CHOICES:
        return values
    if step.scale is not None and _NUMBER.fullmatch(values[0]):
        return int(values[0])
    # What is no number stays a text, and is refused as one.
    return values[0].replace("\r\n", "\n")


def _token(value: Any) -> str:
    if not isinstance(value, str):
        raise BadBody(400, "no_token")
    return value


def _event(value: Any) -> ImpressionStep:
    try:
        return ImpressionStep(value)
    except ValueError:
        raise BadBody(400, "bad_event") from None


def _seq(value: Any) -> int:
    if not _is_count(value, _MOST_SEQ):
        raise BadBody(400, "bad_seq")
    return int(value)


def _is_count(value: Any, most: int) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most
