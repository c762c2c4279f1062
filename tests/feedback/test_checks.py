from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from journeykit import ConfigError, JourneyKit
from journeykit.model.prompt import MOST_PROMPTS

HEAD = """
[journeykit]
store = "memory://"
[consent]
mode = "opt_out"
[[journeys]]
key = "shop"
version = 1
extends = "ecommerce"
"""

GOOD = {
    "key": '"q"',
    "kind": '"csat"',
    "text": '{ en = "How?", de = "Wie?" }',
    "when": '{ event = "Order Completed" }',
}
CHOICE = (
    'kind = "choice", text = "?", options = [{ key = "a", text = "A" }, { key = "b", text = "B" }]'
)


@pytest.fixture
def problems(tmp_path: Path) -> Callable[..., list[str]]:
    """Return a function that returns the mistakes in a prompt, and in what is *more* of the file."""

    def problems(more: str = "", **changes: str) -> list[str]:
        lines = [f"{name} = {value}" for name, value in {**GOOD, **changes}.items()]
        path = tmp_path / "journeykit.toml"
        path.write_text("\n".join([HEAD, more, "[[prompts]]", *lines]), encoding="utf-8")
        try:
            JourneyKit.from_toml(path).close()
        except ConfigError as error:
            return list(error.problems)
        return []

    return problems


def band(key: str, low: int, high: int) -> str:
    """Return a reason for a band of scores."""
    return f'{{ key = "{key}", at_least = {low}, at_most = {high}, {CHOICE} }}'


BANDS = ", ".join([band("d", 0, 6), band("p", 7, 8), band("pr", 9, 10)])


def test_every_kind_can_be_declared(problems: Callable[..., list[str]]) -> None:
    """A prompt of each kind, with all that goes with it, has no mistake."""
    options = '[{ key = "a", text = { en = "A", de = "A" } }, { key = "b", text = "B" }]'
    comment = '{ key = "more", kind = "text", text = "More?" }'
    assert problems() == []
    assert problems(kind='"csat"', style='"stars"', low='"bad"', high='"good"') == []
    assert (
        problems(kind='"ces"', ask='{ every = "90d", sample = 0.5, clock = "last_answered" }') == []
    )
    assert problems(kind='"nps"', then=f"[{comment}]") == []
    assert problems(kind='"nps_plus"', then=f"[{BANDS}, {comment}]") == []
    assert problems(kind='"choice"', options=options) == []
    assert problems(kind='"choices"', options=options, thanks='"Ta"') == []
    assert (
        problems(kind='"text"', schedule="{ start = 2026-01-01, end = 2026-02-01T00:00:00Z }") == []
    )
    assert problems(when='{ stage = "purchase", journey = "shop", delay = "3s" }') == []
    assert problems(when='{ pain_point = "payment.*", severity = "high" }') == []
    assert problems(when='{ page = "/orders/*" }', where='{ stage = ["shop.purchase"] }') == []
    assert problems(when='{ event = "Order Completed", after = "Payment Declined" }') == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"key": '"Q"'}, "prompts[0]: key is 'Q'"),
        ({"kind": '"nops"'}, 'prompts[0].kind: expected one of "nps"'),
        ({"text": "{}"}, "prompts[0].text: has no text"),
        ({"text": "3"}, "prompts[0].text: expected a text"),
        ({"text": '{ deutsch1 = "x", en = "" }'}, "'deutsch1' is no language"),
        ({"text": '{ de = "x" }'}, "prompts.q.text: has no text in 'en'"),
        ({"thanks": '{ en = "x" }'}, "prompts.q.thanks: has no text in 'de'"),
        ({"low": '{ en = "x" }'}, "prompts.q.low: has no text in 'de'"),
        ({"when": "{}"}, "prompts.q.when: has none of them"),
        ({"when": '{ event = "A", page = "/" }'}, "prompts.q.when: has event and page"),
        ({"when": '{ event = "Order Complete" }'}, "did you mean 'Order Completed'?"),
        ({"when": '{ event = "share" }'}, "prompts.q.when.event: 'share' may mean"),
        ({"cancel": '["order completed"]'}, "prompts.q.cancel: no event is known as"),
        ({"when": '{ stage = "buying" }'}, "prompts.q.when.stage: there is no stage 'buying'"),
        ({"when": '{ stage = "purchase", journey = "x" }'}, "there is no journey 'x'"),
        ({"when": '{ event = "A", journey = "shop" }'}, "prompts.q.when.journey: goes with stage"),
        ({"when": '{ pain_point = "Bad" }'}, "prompts.q.when.pain_point: is 'Bad'"),
        ({"when": '{ event = "A", severity = "high" }'}, "prompts.q.when.severity: goes with"),
        ({"when": '{ page = "orders" }'}, "prompts.q.when.page: 'orders' is no path"),
        (
            {"when": '{ event = "A", delay = "3q" }'},
            "prompts[0].when.delay: '3q' is not a duration",
        ),
        ({"where": '{ page = ["x"] }'}, "prompts.q.where.page: 'x' is no path"),
        ({"where": '{ stage = ["x"] }'}, "prompts.q.where.stage: there is no stage 'x'"),
        ({"where": '{ pages = ["/x"] }'}, "prompts[0].where.pages: is not known"),
        ({"ask": "{ sample = 1.5 }"}, "prompts.q.ask.sample: is 1.5"),
        ({"ask": "{ sample = -0.1 }"}, "prompts.q.ask.sample: is -0.1"),
        ({"ask": '{ once = true, every = "9d" }'}, "prompts.q.ask: has every and once"),
        ({"ask": "{ limit = 0 }"}, "prompts.q.ask.limit: is 0"),
        ({"ask": "{ until_answered = true, max_shows = 0 }"}, "prompts.q.ask.max_shows: is 0"),
        ({"priority": "101"}, "prompts.q.priority: is 101"),
        ({"schedule": "{ start = 2026-02-01, end = 2026-01-01 }"}, "prompts.q.schedule.end"),
        ({"schedule": '{ start = "soon" }'}, "prompts[0].schedule.start: expected a date"),
        ({"kind": '"ces"', "style": '"stars"'}, "prompts.q.style: is for csat only"),
        ({"kind": '"text"', "low": '"x"'}, "prompts.q.low: is for scores only"),
        ({"kind": '"choice"'}, "prompts.q.options: has 0; write 2 to 20"),
        ({"options": '[{ key = "a", text = "A" }]'}, "prompts.q.options: go with choice"),
        (
            {"then": f'[{{ key = "w", at_most = 6, {CHOICE} }}]'},
            "then.w.at_most: is 6; scores are 1 to 5",
        ),
        (
            {"then": f'[{{ key = "w", at_least = 3, at_most = 2, {CHOICE} }}]'},
            "is more than at_most",
        ),
        ({"then": f'[{{ key = "score", {CHOICE} }}]'}, "'score' is there 2 times"),
        ({"then": '[{ key = "w", kind = "nps", text = "?" }]'}, "then.w.kind: is 'nps'"),
        (
            {"then": '[{ key = "w", kind = "text", text = "?", max_length = 0 }]'},
            "max_length: is 0",
        ),
        ({"kind": '"text"', "then": f'[{{ key = "w", at_most = 2, {CHOICE} }}]'}, "has no score"),
        ({"kind": '"nps_plus"'}, "add a choice for detractors"),
        ({"kind": '"nps_plus"', "then": f"[{BANDS}]"}, "nps_plus ends with a comment"),
    ],
)
def test_mistakes(problems: Callable[..., list[str]], changes: Any, told: str) -> None:
    """Each mistake is told with its key path."""
    found = problems(**changes)
    assert [line for line in found if told in line], found


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('language = "english!"', "feedback.language"),
        ("per_session = 11", "feedback.per_session: is 11"),
        ('caps = [{ most = 11, per = "7d" }]', "feedback.caps[0].most: is 11"),
        ('caps = [{ most = 1, per = "x" }]', "feedback.caps[0].per: 'x' is not a duration"),
        ('missing_language = "show"', 'feedback.missing_language: expected one of "default"'),
        ("colour = 1", "feedback.colour: is not known"),
    ],
)
def test_mistakes_of_feedback(problems: Callable[..., list[str]], table: str, told: str) -> None:
    """So is each mistake in `[feedback]`."""
    found = problems(more=f"[feedback]\n{table}")
    assert [line for line in found if told in line], found


def test_all_at_once(problems: Callable[..., list[str]]) -> None:
    """Mistakes in different places are told together."""
    found = problems(ask="{ sample = 2, limit = 0 }", when="{}", priority="-1")
    assert len(found) == 4


def test_names_of_its_own(problems: Callable[..., list[str]]) -> None:
    """A shop's own event is no mistake, and neither is one like a known name that it declares."""
    assert problems(when='{ event = "Parcel Opened" }') == []
    own = '[[touchpoints]]\nname = "Order Complete"'
    assert problems(more=own, when='{ event = "Order Complete" }') == []


def test_keys_and_numbers(problems: Callable[..., list[str]]) -> None:
    """Two prompts of one key are told, and so are too many."""
    again = "\n".join(["[[prompts]]", *(f"{name} = {value}" for name, value in GOOD.items())])
    assert "prompts: 'q' is declared 2 times; give each its own key" in problems(more=again)
    many = "\n".join([again] * MOST_PROMPTS)
    assert any(f"{MOST_PROMPTS} is the most" in line for line in problems(more=many))
