"""The gates between a prompt and a customer, in the order in which they are asked."""

from __future__ import annotations

import functools
import hashlib
import re
from datetime import timedelta
from fnmatch import translate
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

from journeykit.config.settings import MissingLanguage
from journeykit.feedback.history import DISMISSED, Impression, Place, Tally
from journeykit.model.prompt import Clock, Prompt
from journeykit.model.times import to_micros

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from journeykit.feedback.standing import Standing
    from journeykit.model.impression import Page

#: A page waits for so long at most until the delay is over; a longer one is for another page.
LONGEST_WAIT: Final = 300_000_000


@attrs.frozen
class Gate:
    """
    What one gate says about one prompt and one customer.

    Args:
        prompt: The prompt's key.

        name: The gate.

        passes: Whether it lets the prompt through; None where it cannot tell without a page.

        reason: Why not, as a code: `"not_armed"`, `"capped"`, …; empty where it passes.

        detail: The same as a sentence for people.
    """

    prompt: str
    name: str
    passes: bool | None
    reason: str = ""
    detail: str = ""


class Refusal(NamedTuple):
    """Why a gate does not let a prompt through; `open_` where only a page can tell."""

    reason: str
    detail: str
    open_: bool = False


class Situation(NamedTuple):
    """What the gates look at: a prompt, what is known of a customer, the page, the time."""

    prompt: Prompt
    standing: Standing
    page: Page | None
    now: int

    @property
    def tally(self) -> Tally:
        """How often this customer was shown the prompt."""
        return self.standing.tally(self.prompt.key)


def consent(situation: Situation) -> Refusal | None:
    """Ask whether the customer may be asked at all."""
    if situation.standing.history.refuses:
        return Refusal("opted_out", "the customer does not want to be asked")
    if situation.standing.consents is None:
        return Refusal("no_consent", "it depends on what the customer agrees to", open_=True)
    if not situation.standing.consents:
        return Refusal("no_consent", "the customer has not agreed to being recorded or asked")
    return None


def visitor(situation: Situation) -> Refusal | None:
    """Ask whether a person is looking."""
    if situation.page is not None and situation.page.bot:
        return Refusal("bot", "a program asks, not a person")
    if situation.page is not None and situation.page.prefetch:
        return Refusal("prefetch", "the browser asks in advance; nobody looks at the page yet")
    return None


def schedule(situation: Situation) -> Refusal | None:
    """Ask whether the prompt is asked of anybody now."""
    prompt, now = situation.prompt, situation.now
    if not prompt.on:
        return Refusal("off", "the prompt is switched off")
    start, end = prompt.schedule.start, prompt.schedule.end
    if start is not None and now < to_micros(start):
        return Refusal("not_yet", f"it begins at {start:%Y-%m-%d %H:%M %Z}")
    if end is not None and now >= to_micros(end):
        return Refusal("over", f"it ended at {end:%Y-%m-%d %H:%M %Z}")
    limit, answers = prompt.ask.limit, situation.standing.answers.get(prompt.key, 0)
    if limit is not None and answers >= limit:
        return Refusal("limit", f"it has had {answers:,} answers, and {limit:,} are enough")
    return None


def language(situation: Situation) -> Refusal | None:
    """Ask whether there is a text that the customer reads."""
    feedback, page = situation.standing.feedback, situation.page
    if page is None or feedback.missing_language is MissingLanguage.DEFAULT:
        return None
    if not page.languages or situation.prompt.text.find(page.languages) is not None:
        return None
    return Refusal("no_language", f"there is no text in {', '.join(page.languages)}")


def armed(situation: Situation) -> Refusal | None:
    """Ask whether the trigger has come, and nothing has taken it back since."""
    when = situation.prompt.when
    if when.page is None:
        trigger = situation.standing.history.triggers.get(situation.prompt.key)
        return _since(situation, trigger)
    if situation.page is None:
        return Refusal("not_armed", f"it waits for a page like {when.page}", open_=True)
    if is_like(situation.page.path, (when.page,)):
        return None
    return Refusal("not_armed", f"the page is not like {when.page}")


def _since(situation: Situation, trigger: Place | None) -> Refusal | None:
    """Return what keeps a prompt from being armed by its trigger."""
    key = situation.prompt.key
    if trigger is None:
        return Refusal("not_armed", f"{_trigger(situation.prompt)} has not happened")
    cancel = situation.standing.history.cancels.get(key)
    if cancel is not None and cancel >= trigger:
        return Refusal("cancelled", "an event that cancels it has come since")
    shown = situation.tally.last_shown
    if shown is not None and shown >= trigger[0]:
        return Refusal("not_armed", "it was shown since the trigger")
    return _before(situation, trigger) or _in_time(situation, trigger[0])


def _before(situation: Situation, trigger: Place) -> Refusal | None:
    """Return that what must come before the trigger has not, or too long before."""
    when = situation.prompt.when
    if when.after is None:
        return None
    before = situation.standing.history.befores.get(situation.prompt.key)
    if before is None or not before <= trigger:
        return Refusal("not_armed", f"{when.after!r} did not come before the trigger")
    if trigger[0] - before[0] > micros(when.after_within):
        return Refusal("not_armed", f"{when.after!r} came too long before the trigger")
    return None


def _in_time(situation: Situation, trigger: int) -> Refusal | None:
    when = situation.prompt.when
    ready = trigger + micros(when.delay)
    if situation.now > ready + micros(when.within):
        return Refusal("too_late", f"the trigger came more than {when.delay + when.within} ago")
    if ready - situation.now > LONGEST_WAIT:
        return Refusal("waiting", f"its delay of {when.delay} is not over")
    return None


def conditions(situation: Situation) -> Refusal | None:
    """Ask whether all that the prompt asks of page and customer holds."""
    where, standing = situation.prompt.where, situation.standing
    if where.known is not None and where.known != standing.is_known:
        return Refusal("not_known" if where.known else "known", "whether they are signed in")
    stages = standing.stages
    if where.stage and stages.isdisjoint(where.stage):
        return Refusal("stage", f"the customer is not in {', '.join(where.stage)}")
    if not stages.isdisjoint(where.not_stage):
        return Refusal("stage", f"the customer is in {', '.join(stages & set(where.not_stage))}")
    own = {*where.stage, *(stage.rpartition(".")[2] for stage in where.stage)}
    never = stages.intersection(standing.feedback.never_stages) - own
    if never:
        return Refusal("never_stage", f"nobody is asked in the stage {min(never)}")
    return _page(situation)


def _page(situation: Situation) -> Refusal | None:
    where, page = situation.prompt.where, situation.page
    never = situation.standing.feedback.never_pages
    if page is None:
        asks = where.page or where.not_page or where.device or where.referrer or never
        return Refusal("page", "it depends on the page", open_=True) if asks else None
    if where.device and page.device not in where.device:
        return Refusal("device", f"the device is not {' or '.join(where.device)}")
    if where.referrer and page.referrer not in where.referrer:
        return Refusal("referrer", f"the visitor did not come by {' or '.join(where.referrer)}")
    return _path(situation.prompt, page.path, never)


def _path(prompt: Prompt, path: str, never: Sequence[str]) -> Refusal | None:
    where = prompt.where
    if where.page and not is_like(path, where.page):
        return Refusal("page", f"the page is not like {' or '.join(where.page)}")
    if is_like(path, where.not_page):
        return Refusal("page", f"the page is like {' or '.join(where.not_page)}")
    named = (*where.page, *((prompt.when.page,) if prompt.when.page else ()))
    # To name them all is not to name this one.
    own = [pattern for pattern in named if is_like(pattern, never)]
    if is_like(path, never) and not is_like(path, own):
        return Refusal("never_page", f"nobody is asked on pages like {' or '.join(never)}")
    return None


def sampling(situation: Situation) -> Refusal | None:
    """Ask whether the customer is among those who are asked: always the same ones."""
    ask = situation.prompt.ask
    if ask.sample < 1 and bucket(situation.prompt, situation.standing.bucket) >= ask.sample:
        return Refusal("not_sampled", f"the customer is not in the sample of {ask.sample:g}")
    return None


def repeat(situation: Situation) -> Refusal | None:
    """Ask whether the customer may be asked this once more."""
    ask, tally = situation.prompt.ask, situation.tally
    if ask.always:
        return None
    if ask.every is not None:
        answered = ask.clock is Clock.LAST_ANSWERED
        last = tally.last_answered if answered else tally.last_shown
        soon = last is not None and situation.now - last < micros(ask.every)
        return Refusal("too_soon", f"it was asked less than {ask.every} ago") if soon else None
    if ask.until_answered and tally.answers:
        return Refusal("answered", "it was answered")
    if tally.shows < (ask.max_shows if ask.until_answered else 1):
        return None
    if ask.until_answered:
        return Refusal("max_shows", f"it was shown {tally.shows} times")
    return Refusal("shown", "it was shown, and is asked once")


def caps(situation: Situation) -> Refusal | None:
    """Ask whether the customer was shown too much of late."""
    standing, now = situation.standing, situation.now
    most, session = standing.feedback.per_session, standing.session
    if most and session is not None:
        count = sum(each.session == session for each in standing.shown)
        if count >= most:
            return Refusal("session_capped", f"{count} were shown in this visit")
    for cap in standing.feedback.caps:
        if cap.group is not None and cap.group != situation.prompt.group:
            continue
        count = standing.count(cap.group, None if cap.per is None else now - micros(cap.per))
        if count >= cap.most:
            what = f"of group {cap.group} " if cap.group else ""
            when = f"in {cap.per}" if cap.per is not None else "ever"
            return Refusal("capped", f"{count} {what}were shown {when}")
    return None


def back_off(situation: Situation) -> Refusal | None:
    """Ask whether the customer has closed a prompt of late."""
    shown, length = situation.standing.shown, micros(situation.standing.feedback.back_off)
    closed = _closed(shown)
    if not closed:
        return None
    length *= min(len(closed), 2)
    if situation.now - (closed[0].shown_at or 0) < length:
        return Refusal("backed_off", f"the customer has closed {len(closed)} in a row")
    return None


def _closed(shown: Sequence[Impression]) -> list[Impression]:
    """Return the last prompts that were closed without an answer, in a row."""
    closed = []
    for each in reversed(shown):
        if each.rank != DISMISSED or each.answered:
            break
        closed.append(each)
    return closed


def quiet(situation: Situation) -> Refusal | None:
    """Ask whether the customer has a reason to be left in peace."""
    prompt, standing = situation.prompt, situation.standing
    if prompt.in_quiet or not prompt.asks_score or prompt.key in standing.recovery:
        return None
    length = micros(standing.feedback.quiet)
    if standing.has_open_case:
        return Refusal("open_case", "the customer has an open case")
    if standing.case_closed_at is not None and situation.now - standing.case_closed_at < length:
        return Refusal("quiet", "a case of the customer was closed of late")
    # Who is asked about what hurt is asked because of it.
    pained = standing.history.pained
    asks_about_it = prompt.when.pain_point is not None or prompt.when.after is not None
    if pained is not None and not asks_about_it and situation.now - pained < length:
        return Refusal("quiet", "something has hurt the customer of late")
    return None


#: The gates in their order, by the name that people read.
GATES: Final[tuple[tuple[str, Callable[[Situation], Refusal | None]], ...]] = (
    ("consent", consent),
    ("visitor", visitor),
    ("schedule", schedule),
    ("language", language),
    ("armed", armed),
    ("conditions", conditions),
    ("sampling", sampling),
    ("repeat", repeat),
    ("caps", caps),
    ("back-off", back_off),
    ("quiet time", quiet),
)


def bucket(prompt: Prompt, subject: str) -> float:
    """Return where *subject* is among all customers, 0 to 1: the same each time."""
    text = f"{prompt.key}\x1f{prompt.ask.salt}\x1f{subject}".encode("utf-8", "surrogatepass")
    number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
    return number / 2**64


def is_like(path: str, patterns: Iterable[str]) -> bool:
    """Return whether *path* is like one of *patterns*, in which `*` is any text."""
    return any(_compiled(pattern).match(path) is not None for pattern in patterns)


@functools.lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    # Only the asterisk means something: addresses have brackets and question marks.
    escaped = pattern.replace("[", "[[]").replace("?", "[?]")
    return re.compile(translate(escaped))


def micros(length: timedelta) -> int:
    """Return *length* in microseconds."""
    return length // _MICROSECOND


_MICROSECOND: Final = timedelta(microseconds=1)


def _trigger(prompt: Prompt) -> str:
    when = prompt.when
    if when.event is not None:
        return repr(when.event)
    return f"the stage {when.stage!r}" if when.stage else f"the pain point {when.pain_point!r}"


__all__ = ["GATES", "Gate", "Refusal", "Situation", "bucket"]
