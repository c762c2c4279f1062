"""
The fold that keeps what was shown and what was answered, an impression a piece.

A piece depends on the facts of its impression alone, whoever comes first: there is one fact that it
was shown, and of the answers the one with the highest number stands.
It is kept under the id that the facts themselves name, so that it does not matter who is who, and
an erasure removes it with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from journeykit.feedback import facts
from journeykit.model import jsonbytes
from journeykit.model.event import Kind
from journeykit.model.prompt import PromptKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from journeykit.model.event import Entry, Stored
    from journeykit.store.projector import Step
    from journeykit.store.protocol import Store
    from journeykit.store.view import View

#: Impression and customer → what was shown and answered, ordered by the time of the impression.
SCORES: Final = "score"
#: Customer and impression → 1, to find the pieces of somebody who is erased.
SCORED: Final = "scored"

#: Counts up when this version makes another State of the same Log.
VERSION: Final = 2

_SEPARATOR: Final = "\x1f"
_LENGTH: Final = 200

#: The most of what surrounds an impression that is kept: more is nothing that a shop wrote.
_MOST: Final = 64

_NAMES: Final = frozenset((facts.SHOWN, facts.ANSWERED))

#: NPS is NPS, whatever is asked behind it.
_KINDS: Final = {
    **{kind.value: kind for kind in PromptKind},
    PromptKind.NPS_PLUS.value: PromptKind.NPS,
}


class Surroundings(NamedTuple):
    """
    Where and how a prompt was shown.

    Args:
        language: The language of the text.

        wording: What changes when that text does.

        touchpoint: The declared touchpoint that its trigger is.

        stages: Journey → the stage of the customer in it.

        segments: Property → the value that the customer had shown last.
    """

    language: str | None = None
    wording: str | None = None
    touchpoint: str | None = None
    stages: Mapping[str, str] = {}
    segments: Mapping[str, str] = {}


class Answer(NamedTuple):
    """An answer: its number, whether it is the last, its fact, when, the score and its scale."""

    seq: int
    complete: bool
    fact: str
    at: int
    score: int | None
    scale: tuple[int, int] | None


class Showing(NamedTuple):
    """What is known of one impression: whose prompt, when it was shown and where, the answer."""

    prompt: str
    kind: PromptKind
    shown_at: int | None = None
    surroundings: Surroundings = Surroundings()
    answer: Answer | None = None

    @property
    def at(self) -> int:
        """When it was shown, as far as is known."""
        if self.shown_at is not None:
            return self.shown_at
        return self.answer.at if self.answer is not None else 0

    def with_(self, other: Showing) -> Showing:
        """Return what this and *other* tell together; the earlier show, the later answer."""
        shows = [each for each in (self, other) if each.shown_at is not None]
        first = min(shows or (self, other), key=_place)
        answers = [each.answer for each in (self, other) if each.answer is not None]
        return first._replace(answer=max(answers, default=None))

    def encode(self) -> bytes:
        """Return it as State keeps it."""
        language, wording, touchpoint, stages, segments = self.surroundings
        around = [language, wording, touchpoint, _sorted(stages), _sorted(segments)]
        answer = None if self.answer is None else tuple(self.answer)
        return jsonbytes.dumps([self.prompt, self.kind.value, self.shown_at, around, answer])

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return what `encode` has written."""
        prompt, kind, shown_at, around, answered = jsonbytes.loads(data)
        answer = None
        if answered is not None:
            seq, complete, fact, at, score, scale = answered
            ends = None if scale is None else (scale[0], scale[1])
            answer = Answer(seq, complete, fact, at, score, ends)
        return cls(prompt, PromptKind(kind), shown_at, Surroundings(*around), answer)


def showings(store: Store) -> Iterator[Showing]:
    """Yield every impression, the oldest first."""
    known, last = None, ""
    for key, data in store.scan(SCORES):
        impression, found = key.partition(_SEPARATOR)[0], Showing.decode(data)
        if known is not None and impression == last:
            # Shown to a visitor, who signed in before the answer.
            known = known.with_(found)
            continue
        if known is not None:
            yield known
        known, last = found, impression
    if known is not None:
        yield known


class ScoreFold:
    """Keeps the impressions and the answers of all prompts."""

    def __call__(self, view: View, step: Step) -> Iterable[Entry]:
        """Fold one event; derives nothing."""
        entry = step.stored.entry
        if entry.kind is Kind.FACT and entry.name in _NAMES:
            self._fold(view, step.stored)
        return ()

    def _fold(self, view: View, stored: Stored) -> None:
        properties = view.properties(stored)
        impression, told = properties.get("impression"), _read(stored, properties)
        if told is None or not _is_name(impression):
            return
        customer = stored.entry.customer_key
        key = f"{impression}{_SEPARATOR}{customer}"
        known = view.get(SCORES, key, Showing.decode)
        view.put(SCORES, key, told if known is None else known.with_(told), Showing.encode)
        if known is None:
            view.put(SCORED, f"{customer}{_SEPARATOR}{impression}", 1, jsonbytes.dumps)

    def forget(self, view: View, customers: Iterable[str]) -> int:
        """Remove what is kept of *customers*; returns how many pieces that were."""
        pieces = 0
        for customer in customers:
            for key in view.keys(SCORED, f"{customer}{_SEPARATOR}"):
                impression = key.rpartition(_SEPARATOR)[2]
                view.put(SCORED, key, None, jsonbytes.dumps)
                view.put(SCORES, f"{impression}{_SEPARATOR}{customer}", None, Showing.encode)
                pieces += 1
        return pieces


def _read(stored: Stored, properties: Mapping[str, Any]) -> Showing | None:
    """Return what a fact tells; None where it is about no prompt."""
    prompt, kind = properties.get("prompt"), _KINDS.get(str(properties.get("kind")))
    if kind is None or not isinstance(prompt, str) or not _is_name(prompt):
        return None
    entry = stored.entry
    at = min(entry.occurred_at, stored.recorded_at)
    if entry.name == facts.SHOWN:
        return Showing(prompt, kind, at, _surroundings(properties))
    seq, scale = properties.get("seq"), _scale(properties.get("scale"))
    score = properties.get("score")
    if scale is None or type(score) is not int or not scale[0] <= score <= scale[1]:
        score = scale = None
    number = seq if type(seq) is int else 0
    complete = properties.get("complete") is True
    answer = Answer(number, complete, entry.id, at, score, scale)
    return Showing(prompt, kind, answer=answer)


def _surroundings(properties: Mapping[str, Any]) -> Surroundings:
    texts = [properties.get(name) for name in ("language", "wording", "touchpoint")]
    language, wording, touchpoint = (text if isinstance(text, str) else None for text in texts)
    stages, segments = (_texts(properties.get(name)) for name in ("stages", "segments"))
    return Surroundings(language, wording, touchpoint, stages, segments)


def _texts(found: Any) -> dict[str, str]:
    if not isinstance(found, dict):
        return {}
    pairs = [(key, value) for key, value in found.items() if isinstance(value, str)]
    return dict(sorted(pairs)[:_MOST])


def _scale(found: Any) -> tuple[int, int] | None:
    if not isinstance(found, list) or len(found) != 2:
        return None
    low, high = found
    return (low, high) if type(low) is int and type(high) is int and low < high else None


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LENGTH and value.isprintable()


def _sorted(found: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted(found.items()))


def _place(showing: Showing) -> tuple[Any, ...]:
    # Of two facts at one instant the smaller, so that it does not matter which came first.
    around = repr(showing.surroundings)
    return showing.shown_at or 0, showing.prompt, showing.kind.value, around
