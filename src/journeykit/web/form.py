"""The same questions as plain HTML, one step a page, for browsers without the script."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any, Final

from journeykit.model import jsonbytes
from journeykit.model.language import direction
from journeykit.web import labels
from journeykit.web.http import Response
from journeykit.web.static_files import static_file
from journeykit.web.wire import ANSWER_FIELD

#: A path of this site: one slash at the beginning, and nothing that browsers read as two.
_PATH: Final = re.compile(r"/(?:[^/\\\s\x00-\x1f][^\\\s\x00-\x1f]{0,1000})?")

_HEADERS: Final = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
}


def local_path(value: str | None) -> str:
    """Return *value* if it is a path of this site, else the path of its first page."""
    return value if value is not None and _PATH.fullmatch(value) else "/"


def form(
    offer: Mapping[str, Any],
    step: Mapping[str, Any],
    action: str,
    *,
    answers: Mapping[str, list[str]] | None = None,
    seq: int = 0,
    back: str = "/",
) -> str:
    """
    Return one step of an offer as a form.

    Args:
        offer: The offer as the page gets it.

        step: One of its steps.

        action: Where the form goes.

        answers: What was answered before.

        seq: The number of the answer before.

        back: The page to return to.
    """
    hidden = {
        "token": offer["token"],
        "event": "answer",
        "seq": str(seq + 1),
        "step": step["id"],
        "prompt": offer["prompt"],
        "lang": offer["lang"],
        "return": back,
    }
    fields = [*hidden.items()]
    fields += [
        (f"{ANSWER_FIELD}{key}", value)
        for key, values in (answers or {}).items()
        for value in values
    ]
    inputs = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in fields
    )
    return (
        f'<form method="post" action="{escape(action)}" lang="{escape(offer["lang"])}"'
        f' dir="{offer["dir"]}" class="journeykit-form">{inputs}'
        f"<fieldset><legend>{escape(step['title'])}</legend>{_controls(step)}</fieldset>"
        f'<button type="submit">{escape(offer["labels"]["send"])}</button></form>'
    )


def _controls(step: Mapping[str, Any]) -> str:
    name = escape(ANSWER_FIELD + step["id"])
    required = " required" if step["required"] else ""
    if step["type"] == "text":
        label = escape(step["title"])
        most = step["max"]
        return (
            f'<textarea name="{name}" rows="4" maxlength="{most}" aria-label="{label}"'
            f"{required}></textarea>"
        )
    if step["type"] == "scale":
        low, high = step["min"], step["max"]
        choices = [(str(score), str(score)) for score in range(low, high + 1)]
        choices[0] = (str(low), f"{low} {step['low']}".strip())
        choices[-1] = (str(high), f"{high} {step['high']}".strip())
    else:
        choices = [(option["id"], option["label"]) for option in step["options"]]
    many = step["type"] == "choices"
    kind = "checkbox" if many else "radio"
    # A box that must be ticked is each box; only a group of radios can be required as a whole.
    must = "" if many else required
    return "".join(
        f'<label><input type="{kind}" name="{name}" value="{escape(value)}"{must}>'
        f" {escape(label)}</label>"
        for value, label in choices
    )


def element(offer: Mapping[str, Any], inner: str) -> str:
    """Return the element that the script makes more of, with *inner* for where there is none."""
    shown = " inline data-shown" if inner else ""
    given = escape(jsonbytes.dumps(offer).decode())
    return f'<journeykit-prompt data-offer="{given}"{shown}>{inner}</journeykit-prompt>'


def following(
    steps: list[dict[str, Any]], at: str, answers: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the step behind *at* that is asked of who gave *answers*; None behind the last."""
    keys = [step["id"] for step in steps]
    score = answers.get(keys[0])
    behind = steps[keys.index(at) + 1 :] if at in keys else []
    return next((step for step in behind if _is_asked(step, score)), None)


def _is_asked(step: Mapping[str, Any], score: Any) -> bool:
    low, high = step.get("from"), step.get("to")
    if low is None and high is None:
        return True
    if not isinstance(score, int):
        return False
    return (low is None or score >= low) and (high is None or score <= high)


def page(mount: str, language: str, title: str, inner: str, status: int = 200) -> Response:
    """Return a page of our own, as plain as can be."""
    style = escape(f"{mount}/static/{static_file('page.css').name}")
    spoken = escape(language)
    text = (
        f'<!doctype html>\n<html lang="{spoken}" dir="{direction(language)}">\n<head>\n'
        '<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n"
        f'<link rel="stylesheet" href="{style}">\n</head>\n<body>\n<main>{inner}</main>\n'
        "</body>\n</html>\n"
    )
    return Response(status=status, body=text.encode("utf-8", "replace"), headers=_HEADERS)


def message(mount: str, language: str, text: str, back: str, status: int = 200) -> Response:
    """Return a page that says one thing, and leads back to the shop."""
    spoken = labels.language_of(language)
    way = escape(labels.words(spoken)["return"])
    inner = f'<h1>{escape(text)}</h1><p><a href="{escape(local_path(back))}">{way}</a></p>'
    return page(mount, language, text, inner, status)
