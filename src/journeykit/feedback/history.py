"""
What State keeps of one customer for prompts.

Each part is the same in whatever order the events arrive that it is made of: the latest of some
kind by when it occurred, a count of facts that the Log has once, or the newest impressions by their
id.
It is bounded: for each prompt three places in time and `KEPT` impressions of about 90 bytes, so 50
prompts that were shown ten times each make 55 KB, and the customer of a usual day less than 1 KB.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from journeykit.model import jsonbytes
from journeykit.model.prompt import MOST_COUNTED

#: Customer → what is kept.
PROMPTS: Final = "prompts"

#: Prompt → how many customers' answers it has had.
ANSWERS: Final = "prompt_answers"

#: The most impressions of one prompt that are kept for one customer, the newest.
KEPT: Final = MOST_COUNTED

#: When something occurred, and the id of the event: the latest of several is the largest.
Place = tuple[int, str]

#: What the page has reported last, in the order in which one takes the place of another.
SHOWN, STARTED, ANSWERED, ABANDONED, EXPIRED, DISMISSED, COMPLETED = range(1, 8)

#: Nothing comes behind these.
ENDS: Final = frozenset((EXPIRED, DISMISSED, COMPLETED))


class Impression(NamedTuple):
    """
    One showing of a prompt, as far as facts tell.

    `shown_at` is None where the fact of it has not arrived; `rank` is what was reported last, `seq`
    the number of the last answer, `answered` whether the first question was.
    """

    id: str
    prompt: str
    shown_at: int | None = None
    session: str | None = None
    rank: int = 0
    seq: int = 0
    answered: bool = False

    def with_(self, other: Impression) -> Impression:
        """Return what this and *other* tell together."""
        times = [at for at in (self.shown_at, other.shown_at) if at is not None]
        return Impression(
            self.id,
            self.prompt,
            min(times) if times else None,
            self.session or other.session,
            max(self.rank, other.rank),
            max(self.seq, other.seq),
            self.answered or other.answered,
        )


class Tally(NamedTuple):
    """How often a prompt was shown and answered, and when last."""

    shows: int = 0
    last_shown: int | None = None
    answers: int = 0
    last_answered: int | None = None

    def with_(self, other: Tally) -> Tally:
        """Return what both make together."""
        return Tally(
            self.shows + other.shows,
            _later(self.last_shown, other.last_shown),
            self.answers + other.answers,
            _later(self.last_answered, other.last_answered),
        )


class History:
    """
    What is kept of one customer.

    Args:
        triggers, cancels, befores: Prompt → when something last armed it, took that back, or
            happened that must come before.

        tallies: Prompt → its counts.

        impressions: Id → impression.

        pained: When a severe pain point was last found.

        refused: When the customer last said whether they want to be asked, and whether they do not.

        instances: Journey and version → the instance that a stage was last entered in.
    """

    __slots__ = (
        "befores",
        "cancels",
        "impressions",
        "instances",
        "pained",
        "refused",
        "tallies",
        "triggers",
    )

    def __init__(self) -> None:
        self.triggers: dict[str, Place] = {}
        self.cancels: dict[str, Place] = {}
        self.befores: dict[str, Place] = {}
        self.tallies: dict[str, Tally] = {}
        self.impressions: dict[str, Impression] = {}
        self.pained: int | None = None
        self.refused: tuple[int, str, bool] | None = None
        self.instances: dict[str, tuple[int, str, str]] = {}

    # How it grows

    def note(self, places: dict[str, Place], key: str, place: Place) -> None:
        """Keep the latest place of *key*."""
        known = places.get(key)
        if known is None or place > known:
            places[key] = place

    def note_instance(self, label: str, at: int, event: str, value: str) -> None:
        """Keep in which instance of a journey a stage was entered last."""
        known = self.instances.get(label)
        if known is None or (at, event) > known[:2]:
            self.instances[label] = at, event, value

    def note_pain(self, at: int) -> None:
        """Keep when the last severe pain point was found."""
        self.pained = _later(self.pained, at)

    def note_refusal(self, at: int, event: str, *, refuses: bool) -> None:
        """Keep what the customer has said last about being asked."""
        if self.refused is None or (at, event) > self.refused[:2]:
            self.refused = at, event, refuses

    def note_impression(self, impression: Impression) -> bool:
        """Add what a fact tells of an impression; returns whether that was its first answer."""
        known = self.impressions.get(impression.id)
        whole = impression if known is None else known.with_(impression)
        self.impressions[impression.id] = whole
        self._trim(impression.prompt)
        return whole.answered and not (known is not None and known.answered)

    def count(self, prompt: str, tally: Tally) -> None:
        """Add to the counts of a prompt."""
        known = self.tallies.get(prompt)
        self.tallies[prompt] = tally if known is None else known.with_(tally)

    def merge(self, other: History) -> None:
        """Take over what is kept of somebody who turned out to be the same person."""
        for mine, theirs in (
            (self.triggers, other.triggers),
            (self.cancels, other.cancels),
            (self.befores, other.befores),
        ):
            for key, place in theirs.items():
                self.note(mine, key, place)
        for prompt, tally in other.tallies.items():
            self.count(prompt, tally)
        for impression in other.impressions.values():
            self.note_impression(impression)
        for label, instance in other.instances.items():
            self.note_instance(label, *instance)
        self.pained = _later(self.pained, other.pained)
        self.refused = _stricter(self.refused, other.refused)

    def _trim(self, prompt: str) -> None:
        # By the id, which is older than any fact about it: the same ones whoever arrives first.
        mine = [key for key, each in self.impressions.items() if each.prompt == prompt]
        if len(mine) > KEPT:
            for key in sorted(mine)[:-KEPT]:
                del self.impressions[key]

    # What it tells

    @property
    def refuses(self) -> bool:
        """Whether the customer has said that they do not want to be asked."""
        return self.refused is not None and self.refused[2]

    def encode(self) -> bytes:
        """Return it as State keeps it."""
        impressions = [tuple(self.impressions[key]) for key in sorted(self.impressions)]
        tallies = {key: tuple(tally) for key, tally in self.tallies.items()}
        kept = (self.triggers, self.cancels, self.befores, tallies, self.instances)
        # In one order, whichever came first.
        tables = [dict(sorted(table.items())) for table in kept]
        return jsonbytes.dumps([*tables, impressions, self.pained, self.refused])

    @classmethod
    def decode(cls, data: bytes) -> History:
        """Return what `encode` has written."""
        history = cls()
        triggers, cancels, befores, tallies, instances, impressions, pained, refused = (
            jsonbytes.loads(data)
        )
        history.triggers = _places(triggers)
        history.cancels = _places(cancels)
        history.befores = _places(befores)
        history.tallies = {prompt: Tally(*tally) for prompt, tally in tallies.items()}
        history.impressions = {each[0]: Impression(*each) for each in impressions}
        history.pained = pained
        history.refused = None if refused is None else (refused[0], refused[1], refused[2])
        history.instances = {
            label: (each[0], each[1], each[2]) for label, each in instances.items()
        }
        return history


def _places(found: dict[str, Any]) -> dict[str, Place]:
    return {key: (at, event) for key, (at, event) in found.items()}


def _later(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def _stricter(
    one: tuple[int, str, bool] | None, other: tuple[int, str, bool] | None
) -> tuple[int, str, bool] | None:
    """Return the later refusal of two people who are one; the later word, where nobody refuses."""
    said = [each for each in (one, other) if each is not None]
    refusals = [each for each in said if each[2]]
    return max(refusals or said, default=None)
