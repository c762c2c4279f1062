"""Scores as a report tells them: read from State in one pass, whatever they are grouped by."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from journeykit.feedback.intervals import changes, measures
from journeykit.feedback.scores import showings
from journeykit.model.prompt import SCALES, PromptKind
from journeykit.model.score import Score, ScoreFigures, ScoreGroup, ScorePeriod
from journeykit.model.times import to_datetime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from journeykit.feedback.scores import Answer, Showing
    from journeykit.model.prompt import Prompt
    from journeykit.model.score import Change
    from journeykit.store.protocol import Store

#: The last weeks and months that are told: a quarter, and a year.
WEEKS: Final = 13
MONTHS: Final = 12

#: The most values of one segment that are told, those with the most answers: more is nobody's
#: segment, such as an order's number.
MOST_VALUES: Final = 50

#: What is told apart within a prompt: the kind of group, the segment's property, the value.
_Group = tuple[str, str | None, str]

_WEEK, _MONTH = "week", "month"


class _Question(NamedTuple):
    """What must not be mixed in one figure."""

    prompt: str
    kind: PromptKind
    scale: tuple[int, int]


class _Tally:
    """Counts what was shown and answered."""

    __slots__ = ("answers", "counts", "first", "last", "shown", "wordings")

    def __init__(self) -> None:
        self.shown = 0
        self.answers = 0
        self.counts: Counter[int] = Counter()
        #: Language → how its text was worded, of what was answered.
        self.wordings: defaultdict[str | None, set[str | None]] = defaultdict(set)
        self.first: int | None = None
        self.last: int = 0

    def add(self, showing: Showing, answer: Answer | None) -> None:
        """Count one impression; *answer* is one that has a score."""
        self.shown += 1
        self.first = showing.at if self.first is None else min(self.first, showing.at)
        self.last = max(self.last, showing.at)
        if answer is not None and answer.score is not None:
            self.answers += 1
            self.counts[answer.score] += 1
            around = showing.surroundings
            self.wordings[around.language].add(around.wording)

    def is_reworded_from(self, other: _Tally | None = None) -> bool:
        """Return whether some language has two wordings here, or here and there."""
        for language, wordings in self.wordings.items():
            theirs = other.wordings.get(language, set()) if other is not None else set()
            if len(wordings | theirs) > 1:
                return True
        return other is not None and other.is_reworded_from()


def scores(
    store: Store,
    prompts: Sequence[Prompt],
    *,
    needed: int,
    language: str,
    now: int,
) -> tuple[Score, ...]:
    """
    Return what customers have answered to each prompt, those that are declared first.

    Args:
        prompts: The prompts as they are now.

        needed: How many answers it takes before a figure is told.

        language: In which language to tell the questions.

        now: The present time, in microseconds: the day of the last period.
    """
    tallies = _read(store)
    declared = {prompt.key: prompt for prompt in prompts}
    order = {key: index for index, key in enumerate(declared)}
    teller = _Teller(needed, to_datetime(now).date())
    found = []
    for question in sorted(tallies, key=lambda each: (order.get(each.prompt, len(order)), each)):
        prompt = declared.get(question.prompt)
        text = prompt.text(language) if prompt is not None else None
        found.append(teller.score(question, text, tallies[question]))
    return tuple(found)


def _read(store: Store) -> dict[_Question, dict[_Group, _Tally]]:
    found: dict[_Question, dict[_Group, _Tally]] = {}
    for showing in showings(store):
        if showing.kind not in SCALES:
            continue
        answer = showing.answer if showing.answer and showing.answer.scale else None
        scale = (answer.scale if answer is not None else None) or SCALES[showing.kind]
        tallies = found.setdefault(_Question(showing.prompt, showing.kind, scale), {})
        for group in _groups(showing):
            tally = tallies.get(group)
            if tally is None:
                tally = tallies[group] = _Tally()
            tally.add(showing, answer)
    return found


_ALL: Final[_Group] = ("all", None, "")


def _groups(showing: Showing) -> Iterator[_Group]:
    """Yield all that an impression counts among."""
    around, day = showing.surroundings, to_datetime(showing.at).date()
    yield _ALL
    yield _WEEK, None, _week(day).isoformat()
    yield _MONTH, None, _month(day).isoformat()
    for journey, stage in around.stages.items():
        yield "journey", None, journey
        yield "stage", None, f"{journey}.{stage}"
    if around.touchpoint is not None:
        yield "touchpoint", None, around.touchpoint
    for name, value in around.segments.items():
        yield "segment", name, value


class _Teller:
    """Makes figures of tallies."""

    def __init__(self, needed: int, today: date) -> None:
        self._needed = needed
        self._today = today

    def score(
        self, question: _Question, text: str | None, tallies: Mapping[_Group, _Tally]
    ) -> Score:
        """Return all figures of one question."""
        whole = tallies[_ALL]
        return Score(
            prompt=question.prompt,
            kind=question.kind.value,
            scale=question.scale,
            text=text,
            first=to_datetime(whole.first or 0),
            last=to_datetime(whole.last),
            figures=self._figures(question, whole),
            groups=tuple(self._grouped(question, tallies)),
            weeks=self._periods(question, _by_period(_WEEK, tallies), _week, _next_week, WEEKS),
            months=self._periods(
                question, _by_period(_MONTH, tallies), _month, _next_month, MONTHS
            ),
        )

    def _figures(self, question: _Question, tally: _Tally) -> ScoreFigures:
        is_told = tally.answers >= self._needed
        _, kind, scale = question
        return ScoreFigures(
            shown=tally.shown,
            answers=tally.answers,
            needed=self._needed,
            measures=measures(kind, scale, tally.counts) if is_told else (),
            counts=dict(sorted(tally.counts.items())) if is_told else {},
            reworded=tally.is_reworded_from(),
        )

    def _grouped(
        self, question: _Question, tallies: Mapping[_Group, _Tally]
    ) -> Iterator[ScoreGroup]:
        for by in ("journey", "stage", "touchpoint", "segment"):
            names = sorted({name or "" for kind, name, _ in tallies if kind == by})
            for name in names:
                found = {
                    value: tally
                    for (kind, own, value), tally in tallies.items()
                    if kind == by and (own or "") == name
                }
                for value in sorted(found, key=lambda each: (-found[each].answers, each))[
                    :MOST_VALUES
                ]:
                    figures = self._figures(question, found[value])
                    yield ScoreGroup(by=by, name=name or None, value=value, figures=figures)

    def _periods(
        self,
        question: _Question,
        tallies: Mapping[date, _Tally],
        begin: Callable[[date], date],
        following: Callable[[date], date],
        most: int,
    ) -> tuple[ScorePeriod, ...]:
        """Return the last periods up to today, also those in which nothing was shown."""
        found: list[ScorePeriod] = []
        before: _Tally | None = None
        for start in _span(min(tallies), begin(max(self._today, *tallies)), following):
            tally, end = tallies.get(start, _Tally()), following(start)
            found.append(
                ScorePeriod(
                    start=start,
                    end=end,
                    is_over=end <= self._today,
                    figures=self._figures(question, tally),
                    changes=() if before is None else self._changes(question, before, tally),
                )
            )
            before = tally
        return tuple(found[-most:])

    def _changes(self, question: _Question, before: _Tally, after: _Tally) -> tuple[Change, ...]:
        if min(before.answers, after.answers) < self._needed or after.is_reworded_from(before):
            return ()
        _, kind, scale = question
        return changes(kind, scale, before.counts, after.counts)


def _by_period(by: str, tallies: Mapping[_Group, _Tally]) -> dict[date, _Tally]:
    return {
        date.fromisoformat(value): tally
        for (kind, _, value), tally in tallies.items()
        if kind == by
    }


def _span(first: date, last: date, following: Callable[[date], date]) -> Iterable[date]:
    while first <= last:
        yield first
        first = following(first)


def _week(day: date) -> date:
    """Return the Monday of the week of *day*."""
    return day - timedelta(days=day.weekday())


def _next_week(start: date) -> date:
    return start + timedelta(days=7)


def _month(day: date) -> date:
    return day.replace(day=1)


def _next_month(start: date) -> date:
    return _month(start + timedelta(days=31))
