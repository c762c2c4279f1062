from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from journeykit.capture.ids import RandomIds, earliest
from journeykit.feedback import given
from journeykit.feedback.given import Wanted
from journeykit.model import Ask, Customer, Option, Prompt, When

MakeShop = Callable[..., Any]

PAGE = When(page="/*")
ASK = Ask(always=True)
SCORE = Prompt(key="score", kind="csat", text="How?", when=PAGE, ask=ASK, priority=60)
CHOICE = Prompt(
    key="choice",
    kind="choice",
    text="Why?",
    when=When(page="/why"),
    ask=ASK,
    priority=90,
    options=(Option("slow", "Slow"), Option("dear", "Dear")),
)


@pytest.fixture
def shop(make_shop: MakeShop, caps_off: Any) -> Any:
    """Return a shop with a prompt that asks for a score, and one that does not."""
    return make_shop(SCORE, CHOICE, feedback=caps_off)


@pytest.fixture
def caps_off() -> Any:
    """Return settings by which everybody is asked at once, again and again."""
    from journeykit.config.settings import FeedbackSettings

    return FeedbackSettings(caps=(), per_session=0, min_answers=5)


def say(shop: Any, name: str, said: dict[str, Any], path: str = "/") -> str:
    """Let somebody answer; returns their impression."""
    shop.clock.advance(60)
    who = Customer(name, f"{name}-device", f"{name}-session")
    offer = shop.show(who, path)
    assert shop.feedback.report(offer.impression, "answer", customer=who, seq=1, answers=said)
    return str(offer.impression)


def who(page: Any) -> list[str]:
    """Return whose answers a page has."""
    return [each.customer.user_id for each in page.answers]


def test_answers_are_told_the_newest_first(shop: Any) -> None:
    """Answers of all kinds come with what was said, by whom and when; who said nothing is left out."""
    say(shop, "ada", {"score": 2})
    say(shop, "bob", {"answer": "dear"}, "/why")
    shop.clock.advance(60)
    shop.show(Customer("eve", "eve-device", "s"))
    page = shop.feedback.answers()
    assert who(page) == ["bob", "ada"]
    assert page.before is None
    bob, ada = page.answers
    assert (bob.prompt, bob.kind, bob.score, bob.answers) == (
        "choice",
        "choice",
        None,
        {"answer": "dear"},
    )
    assert (ada.prompt, ada.score, ada.scale, ada.complete) == ("score", 2, (1, 5), False)
    assert bob.at > ada.at


def test_answers_are_narrowed_down(shop: Any) -> None:
    """Only those to a prompt, with a score within limits, or of a time."""
    for number, name in enumerate(("ada", "bob", "eve")):
        say(shop, name, {"score": number + 1})
    say(shop, "ivy", {"answer": "slow"}, "/why")
    answers = shop.feedback.answers
    assert who(answers(Wanted(prompt="choice"))) == ["ivy"]
    assert who(answers(Wanted(at_least=2))) == ["eve", "bob"]
    assert who(answers(Wanted(at_most=1))) == ["ada"]
    assert who(answers(Wanted(prompt="none"))) == []
    now = datetime.fromtimestamp(shop.clock() / 1e6, UTC)
    soon = now - timedelta(seconds=90)
    assert who(answers(Wanted(since=soon))) == ["ivy", "eve"]
    assert who(answers(Wanted(until=soon))) == ["bob", "ada"]


def test_answers_come_a_page_at_a_time(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page says where the next begins, also where most of what was looked at is left out."""
    names = [f"c{number}" for number in range(7)]
    for number, name in enumerate(names):
        say(shop, name, {"score": 1 + number % 2})
    monkeypatch.setattr(given, "_SLICE", 2)
    for most in (10_000, 3):
        monkeypatch.setattr(given, "_MOST_LOOKED_AT", most)
        for wanted, expected in ((None, names[::-1]), (Wanted(at_most=1), names[::-1][::2])):
            seen, before, pages = [], None, 0
            while pages == 0 or before is not None:
                page = shop.feedback.answers(wanted, before=before, limit=2)
                assert len(page.answers) <= 2
                seen += who(page)
                before, pages = page.before, pages + 1
            assert seen == expected


def test_a_visitor_who_signs_in_before_the_answer(shop: Any) -> None:
    """What a visitor was shown and a person has answered is one answer, of that person."""
    visitor, person = Customer(None, "d", "s"), Customer("ada", "d", "s")
    shop.clock.advance(60)
    offer = shop.show(visitor)
    assert shop.feedback.report(
        offer.impression, "answer", customer=person, seq=1, answers={"score": 4}
    )
    (answer,) = shop.feedback.answers().answers
    assert (answer.customer.user_id, answer.score) == ("ada", 4)
    for whom in (visitor, person, "ada"):
        assert shop.feedback.answers_of(whom) == (answer,)


def test_answers_of_one_customer(shop: Any) -> None:
    """They are those of the person, the newest first, as many as are asked for."""
    for score in (1, 2, 3):
        say(shop, "ada", {"score": score})
        say(shop, "bob", {"score": 5})
    assert [each.score for each in shop.feedback.answers_of("ada")] == [3, 2, 1]
    assert [each.score for each in shop.feedback.answers_of("ada", 2)] == [3, 2]
    assert shop.feedback.answers_of("nobody") == ()


def test_other_kinds_have_no_score(shop: Any) -> None:
    """A prompt that asks for no score is in no figure."""
    say(shop, "ada", {"answer": "slow"}, "/why")
    assert shop.feedback.scores() == ()


def test_what_was_erased_is_not_told(shop: Any) -> None:
    """An answer whose fact is gone is told without what was said."""
    say(shop, "ada", {"score": 2})
    shop.store.named = lambda _: []
    (answer,) = shop.feedback.answers().answers
    assert (answer.score, answer.answers) == (2, {})


def test_ids_are_behind_what_their_time_begins_with() -> None:
    """Ids of an instant and later are behind its beginning; earlier ones are before it."""
    import random

    ids, now = RandomIds(random.Random(1)), 1_772_452_800_123_456
    for micros in (now, now + 1_000, now + 10**12):
        assert ids.new(micros) > earliest(now)
    for micros in (now - 1_000, now - 10**12):
        assert ids.new(micros) < earliest(now)
