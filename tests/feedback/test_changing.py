from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from journeykit.feedback.changing import ChangesRefused
from journeykit.model import Prompt, When

MakeShop = Callable[..., Any]

PROMPT = Prompt(
    key="q",
    kind="csat",
    text={"en": "How?", "de": "Wie?"},
    when=When(page="/*"),
)
ADA = {"actor": "ada", "reason": "a trial"}


@pytest.fixture
def shop(make_shop: MakeShop) -> Any:
    """Return a shop with one prompt in two languages."""
    return make_shop(PROMPT)


def values(shop: Any, prompt: str | None = "q") -> dict[str, Any]:
    """Return name → value of all that can be changed."""
    return {each.name: each.value for each in shop.feedback.settings(prompt)}


def test_all_that_can_be_changed_is_listed(shop: Any) -> None:
    """Of a prompt, and for all: each key with its value, and what is declared."""
    assert values(shop) == {
        "on": True,
        "priority": 50,
        "ask.sample": 1.0,
        "ask.every": None,
        "ask.limit": None,
        "ask.max_shows": 3,
        "text.en": "How?",
        "text.de": "Wie?",
        **dict.fromkeys(("low.en", "low.de", "high.en", "high.de", "thanks.en", "thanks.de")),
    }
    assert values(shop, None)["caps"] == [
        {"most": 1, "per": "7d"},
        {"most": 1, "per": "90d", "group": "nps"},
    ]
    with pytest.raises(LookupError, match="there is no prompt 'x'"):
        shop.feedback.settings("x")


def test_every_listed_key_can_be_changed(shop: Any) -> None:
    """What is listed is taken by `set_all`, whatever it is."""
    new = {
        "on": False,
        "priority": 1,
        "ask.sample": 0.5,
        "ask.every": "2d",
        "ask.limit": 9,
        "ask.max_shows": 4,
        "caps": [{"most": 2}],
        "per_session": 2,
        "back_off": "3d",
        "quiet": "4d",
        "min_answers": 6,
    }
    for prompt in ("q", None):
        listed = shop.feedback.settings(prompt)
        changes = {each.path: new.get(each.name, f"new {each.name}") for each in listed}
        assert all(shop.feedback.set_all(changes, **ADA))
        now = {each.path: each for each in shop.feedback.settings(prompt)}
        assert {path: each.value for path, each in now.items()} == changes
        assert {each.change.actor for each in now.values()} == {"ada"}
        assert {each.path: each.declared for each in now.values()} == {
            each.path: each.value for each in listed
        }


def test_none_is_changed_where_one_is_wrong(shop: Any) -> None:
    """Whatever is wrong is told by path, all at once, and nothing is recorded."""
    changes = {
        "prompts.q.on": False,
        "prompts.q.ask.sample": 3,
        "prompts.q.ask.every": "soon",
        "prompts.q.nothing": 1,
        "prompts.x.on": True,
        "feedback.caps": "many",
    }
    with pytest.raises(ChangesRefused) as caught:
        shop.feedback.set_all(changes, **ADA)
    assert set(caught.value.problems) == set(changes) - {"prompts.q.on"}
    assert "prompts.q.ask.sample: expected a number from 0 to 1" in str(caught.value)
    assert shop.log("setting.changed") == []


def test_texts_are_checked_together(shop: Any) -> None:
    """One language of a text is refused where there are two, and taken with the other."""
    with pytest.raises(ChangesRefused) as caught:
        shop.feedback.set_all({"prompts.q.low.de": "Schlecht"}, **ADA)
    assert caught.value.problems == {
        "prompts.q.low.de": "has no text in 'en', as the question has; add one"
    }
    both = {"prompts.q.low.de": "Schlecht", "prompts.q.low.en": "Bad"}
    assert len(shop.feedback.set_all(both, **ADA)) == 2
    # Neither can be taken back alone, and both can.
    with pytest.raises(ChangesRefused):
        shop.feedback.set_all({"prompts.q.low.de": None}, **ADA)
    assert shop.feedback.set_all(dict.fromkeys(both), **ADA)
    assert shop.feedback.prompt("q").low is None


def test_what_somebody_else_has_changed_is_told(shop: Any) -> None:
    """A key that holds something else than was seen is not changed; others may be."""
    seen = {"prompts.q.text.en": "How?", "prompts.q.priority": 50}
    shop.feedback.set("prompts.q.text.en", "And how?", **ADA)
    with pytest.raises(ChangesRefused, match="is 'And how\\?' now"):
        shop.feedback.set_all({"prompts.q.text.en": "Well?"}, seen=seen, **ADA)
    assert shop.feedback.set_all({"prompts.q.priority": 60}, seen=seen, **ADA)
    assert values(shop)["priority"] == 60


def test_a_change_that_was_taken_back_is_no_change(shop: Any) -> None:
    """What is as declared again has no change that holds."""
    shop.feedback.set("prompts.q.on", False, **ADA)
    shop.feedback.set("prompts.q.on", None, **ADA)
    (on,) = [each for each in shop.feedback.settings("q") if each.name == "on"]
    assert (on.value, on.change) == (True, None)


@pytest.mark.parametrize("nobody", [{"actor": ""}, {"reason": ""}])
def test_changes_need_a_name_and_a_reason(shop: Any, nobody: dict[str, str]) -> None:
    """Nothing is changed by nobody, or for no reason."""
    with pytest.raises(ValueError, match="say who makes it"):
        shop.feedback.set_all({"prompts.q.on": False}, **{**ADA, **nobody})
