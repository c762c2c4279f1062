"""Answers one by one, the newest first, for those who read what customers have said."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from journeykit.capture.ids import earliest
from journeykit.feedback.scores import SCORED, SCORES, Showing
from journeykit.journeys.identity import LINKS, MEMBERS
from journeykit.model import jsonbytes
from journeykit.model.casework import Answer
from journeykit.model.customer import Customer, from_key
from journeykit.model.times import to_datetime, to_micros

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from journeykit.model.event import Stored
    from journeykit.store.protocol import Store

_SEPARATOR: Final = "\x1f"

#: Behind every key.
_END: Final = "\U0010ffff"

#: How many impressions are read at once, and how many are looked at for one page: of those that
#: were shown one in ten is answered, or fewer.
_SLICE: Final = 500
_MOST_LOOKED_AT: Final = 10_000


@attrs.frozen(kw_only=True)
class Wanted:
    """
    Which answers to return.

    Args:
        prompt: Only those to the prompt of this key.

        at_least, at_most: Only scores within these.

        since, until: Only to what was shown from then on, and before then.
    """

    prompt: str | None = None
    at_least: int | None = None
    at_most: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    def has(self, showing: Showing) -> bool:
        """Return whether *showing* was answered, and so."""
        answer = showing.answer
        if answer is None or self.prompt not in (None, showing.prompt):
            return False
        if self.at_least is None and self.at_most is None:
            return True
        if answer.score is None:
            return False
        return (self.at_least is None or answer.score >= self.at_least) and (
            self.at_most is None or answer.score <= self.at_most
        )


@attrs.frozen(kw_only=True)
class AnswerPage:
    """
    Some answers.

    Args:
        answers: The newest first, by when their prompt was shown.

        before: Where to go on; None where there are no more.
    """

    answers: tuple[Answer, ...]
    before: str | None


class _Found(NamedTuple):
    """One impression: its id, the key of the customer who has answered, what is known of it."""

    impression: str
    customer: str
    showing: Showing


def read_answers(store: Store, wanted: Wanted, before: str | None, limit: int) -> AnswerPage:
    """Return up to *limit* answers; fewer where too many have to be looked at."""
    place = before or (_END if wanted.until is None else earliest(to_micros(wanted.until)))
    least = "" if wanted.since is None else earliest(to_micros(wanted.since))
    found: list[_Found] = []
    for looked_at, each in enumerate(_joined(_pieces(store, place))):
        if each.impression < least:
            return AnswerPage(answers=_told(store, found), before=None)
        if len(found) == limit or looked_at == _MOST_LOOKED_AT:
            return AnswerPage(answers=_told(store, found), before=place)
        place = each.impression
        if wanted.has(each.showing):
            found.append(each)
    return AnswerPage(answers=_told(store, found), before=None)


def answers_of(store: Store, customer: Customer, limit: int) -> tuple[Answer, ...]:
    """Return the last answers of one customer, the newest first."""
    link = store.state((LINKS, customer.key))
    person = customer.key if link is None else jsonbytes.loads(link)
    members = store.state((MEMBERS, person))
    keys = [person, *(jsonbytes.loads(members) if members else ())]
    pairs = [
        (key.rpartition(_SEPARATOR)[2], each)
        for each in keys
        for key, _ in store.scan(SCORED, f"{each}{_SEPARATOR}")
    ]
    newest = sorted(pairs, reverse=True)[:_SLICE]
    names = [f"{impression}{_SEPARATOR}{each}" for impression, each in newest]
    pieces = store.states({SCORES: names})[SCORES] if names else {}
    found = _joined((name, pieces[name]) for name in names if name in pieces)
    return _told(store, [each for each in found if each.showing.answer is not None][:limit])


def _pieces(store: Store, place: str) -> Iterator[tuple[str, bytes]]:
    while page := store.page(SCORES, place, _SLICE, backwards=True):
        yield from page
        place = page[-1][0]


def _joined(pieces: Iterable[tuple[str, bytes]]) -> Iterator[_Found]:
    """Yield impressions; one that was shown to a visitor who signed in has two pieces."""
    for impression, both in groupby(pieces, lambda piece: piece[0].partition(_SEPARATOR)[0]):
        known: _Found | None = None
        for key, data in both:
            showing, customer = Showing.decode(data), key.partition(_SEPARATOR)[2]
            if known is not None:
                customer = customer if showing.answer is not None else known.customer
                showing = known.showing.with_(showing)
            known = _Found(impression, customer, showing)
        if known is not None:
            yield known


def _told(store: Store, found: Sequence[_Found]) -> tuple[Answer, ...]:
    """Return what was said, which is in the Log alone."""
    facts = [each.showing.answer.fact for each in found if each.showing.answer is not None]
    stored = {each.entry.id: each for each in store.named(facts)} if facts else {}
    return tuple(_answer(each, stored) for each in found)


def _answer(found: _Found, stored: Mapping[str, Stored]) -> Answer:
    showing, answer = found.showing, found.showing.answer
    fact = None if answer is None else stored.get(answer.fact)
    properties: dict[str, Any] = {}
    if fact is not None:
        properties = jsonbytes.loads(fact.entry.body)["properties"]
    return Answer(
        prompt=showing.prompt,
        kind=showing.kind,
        customer=from_key(found.customer),
        at=to_datetime(showing.at if answer is None else answer.at),
        score=None if answer is None else answer.score,
        scale=() if answer is None or answer.scale is None else answer.scale,
        answers=properties.get("answers") or {},
        language=showing.surroundings.language,
        complete=answer is not None and answer.complete,
    )
