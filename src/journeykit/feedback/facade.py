"""`kit.feedback`: asks which prompt to show, hears what became of it, and says why not."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from journeykit.capture.context import current
from journeykit.capture.ids import RandomIds
from journeykit.config.settings import ConsentMode
from journeykit.exceptions import StoreError
from journeykit.feedback import facts
from journeykit.feedback.casework import Casework
from journeykit.feedback.changing import ChangesRefused, find_problems, settings_of
from journeykit.feedback.checks import prompt_problems
from journeykit.feedback.decide import decide, wait
from journeykit.feedback.decide import explain as explain_all
from journeykit.feedback.given import Wanted, answers_of, read_answers
from journeykit.feedback.impressions import Impressions, Report
from journeykit.feedback.overrides import change_at, read_changes, value_of
from journeykit.feedback.scoring import scores
from journeykit.feedback.selecting import Selector
from journeykit.model.consent import ANALYTICS, UNASKED, names
from journeykit.model.customer import NOBODY, Customer
from journeykit.model.event import Kind
from journeykit.model.impression import ImpressionStep, Offer, Outcome, OutcomeStatus
from journeykit.model.receipt import Receipt
from journeykit.model.times import to_datetime
from journeykit.store.claims import Claim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from journeykit.feedback.changing import Setting
    from journeykit.feedback.decide import Decision
    from journeykit.feedback.gates import Gate
    from journeykit.feedback.given import AnswerPage
    from journeykit.feedback.impressions import Record
    from journeykit.feedback.overrides import Change, Overlaid
    from journeykit.feedback.reading import Reader
    from journeykit.model.casework import Answer
    from journeykit.model.impression import Page
    from journeykit.model.prompt import Prompt
    from journeykit.model.score import Score
    from journeykit.plugins import Plugins
    from journeykit.store.protocol import Store

#: How long a prompt may be shown after its time, in microseconds.
EXPIRY: Final = 300_000_000

#: How often a claim is tried that another page was quicker with.
_TRIES: Final = 3


class Feedback:
    """
    Prompts, as a page and the product team use them: `kit.feedback`.

    Nothing here raises for what a visitor sends, and nothing waits for another process for longer
    than a quarter of a second.

    Args:
        reader: Reads what State knows.

        record: Records a fact.

        refuse: Records that a customer denies purposes.

        now: The clock, in microseconds.

        randomness: Where the ids of impressions come from.

        redacts: Whether e-mail addresses are taken out of facts.
    """

    def __init__(  # noqa: PLR0913 - each is given by the kit
        self,
        store: Store,
        reader: Reader,
        plugins: Plugins,
        *,
        mode: ConsentMode,
        record: Record,
        refuse: Callable[..., Receipt],
        now: Callable[[], int],
        randomness: random.Random | None = None,
        redacts: bool = True,
    ) -> None:
        self._store = store
        self._reader = reader
        self._selector = Selector(plugins, store)
        self._unasked = mode is ConsentMode.OPT_OUT
        self._record = record
        self._refuse = refuse
        self._now = now
        self._ids = RandomIds(randomness or random.Random())
        self._impressions = Impressions(store, reader, record, now)
        #: The complaints that somebody follows up.
        self.cases = Casework(store, lambda: reader.overlaid().cases, record, now, redacts=redacts)
        #: How often this process was asked: `offered`, and the reasons of refusals.
        self.counts: Counter[str] = Counter()

    def reset_after_fork(self) -> None:
        """Draw other ids than the parent process."""
        self._ids.reset_after_fork()
        self.counts = Counter()

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """
        The prompts as they are now: as declared, with what was changed since laid over.

        Raises:
            StoreError: The changes cannot be read.
        """
        return self._reader.overlaid().prompts

    # What a page asks and tells

    def ask(self, customer: Customer | str, page: Page) -> Offer | None:
        """
        Return the prompt to show to *customer* on *page*, claimed for them; None for none.

        Consent is that of the bound request, as for `track()`.
        """
        who = Customer.of(customer)
        if not who or not self._reader.declared.prompts:
            return None
        try:
            for _ in range(_TRIES):
                known, keys = self._reader.read(who, consents=self._consents())
                claims = self._store.claims.of(keys)
                now = self._now()
                decision = decide(known, claims, who, page, now)
                if not decision.candidates:
                    self._count(decision)
                    return None
                chosen = self._selector.choose(decision.candidates, who, page)
                delay = wait(chosen.prompt, known, now)
                claim = self._claim(chosen.prompt, known.overlaid, keys[0], page, (now, delay))
                if self._store.claims.take(claim, keys, claims):
                    self.counts["offered"] += 1
                    return _offer(claim, chosen.prompt, delay)
        except StoreError:
            self.counts["store"] += 1
        return None

    def report(
        self,
        impression: str,
        step: str,
        *,
        customer: Customer | str,
        seq: int = 0,
        answers: Mapping[str, Any] | None = None,
        elapsed: float | None = None,
    ) -> Outcome:
        """
        Record what became of an impression, once.

        Args:
            impression: The id in the offer.

            step: `"shown"`, `"started"`, `"answer"`, `"dismissed"`, `"abandoned"` or `"completed"`.

            customer: Who reports it.

            seq: Counts up with each answer of this impression; the highest stands.

            answers: All answers so far, by the key of their step.

            elapsed: How long after it was shown, in seconds.
        """
        who = Customer.of(customer)
        try:
            told = Report(ImpressionStep(step), seq, answers, elapsed)
        except ValueError:
            return Outcome(OutcomeStatus.INVALID, {"": "unknown_step"})
        if not who or type(seq) is not int or not isinstance(impression, str):
            return Outcome(OutcomeStatus.UNKNOWN)
        try:
            outcome = self._impressions.report(
                impression, told, who, consents=bool(self._consents())
            )
        except StoreError:
            outcome = Outcome(OutcomeStatus.CLOSED, {"": "store"})
        self.counts[f"{told.step}:{outcome.status}"] += 1
        return outcome

    def scores(self) -> tuple[Score, ...]:
        """
        Return what customers have answered to each prompt that asks for a score.

        As far as events have been folded; it reads as many pieces of State as there were
        impressions.

        Raises:
            StoreError: State cannot be read.
        """
        if not self._reader.declared.prompts:
            return ()
        overlaid = self._reader.overlaid()
        return scores(
            self._store,
            overlaid.prompts,
            needed=overlaid.feedback.min_answers,
            language=overlaid.feedback.language,
            now=self._now(),
        )

    def answers(
        self, wanted: Wanted | None = None, *, before: str | None = None, limit: int = 50
    ) -> AnswerPage:
        """
        Return up to *limit* answers one by one, the newest first.

        There are fewer, and yet more behind them, where too many had to be looked at.

        Args:
            wanted: Which ones; all if not given.

            before: Where to go on, as an earlier page has it.

        Raises:
            StoreError: State cannot be read.
        """
        return read_answers(self._store, wanted or Wanted(), before, limit)

    def answers_of(self, customer: Customer | str, limit: int = 20) -> tuple[Answer, ...]:
        """
        Return the last answers of one customer, the newest first.

        Raises:
            StoreError: State cannot be read.
        """
        return answers_of(self._store, Customer.of(customer), limit)

    def opt_out(self, customer: Customer | str) -> Receipt:
        """
        Record that a customer does not want to be asked anything any more.

        It is a denial of the purpose `feedback`, which `kit.consent` takes back.
        """
        return self._refuse(
            denied=[facts.FEEDBACK], customer=customer, reason="does not want to be asked"
        )

    # What the product team asks and changes

    def explain(
        self, customer: Customer | str, prompt_key: str | None = None, page: Page | None = None
    ) -> list[Gate]:
        """
        Return what each gate says about a customer, in the order in which they are asked.

        Args:
            prompt_key: Only of this prompt; None for all.

            page: The page that would ask; without one, what depends on it is open.

        Raises:
            LookupError: There is no such prompt.

            StoreError: State cannot be read.
        """
        who = Customer.of(customer)
        if prompt_key is not None:
            self.prompt(prompt_key)
        consents = None if current() is None else self._consents()
        known, keys = self._reader.read(who, consents=consents)
        gates = explain_all(known, self._store.claims.of(keys), who, page, self._now())
        return [gate for gate in gates if prompt_key in (None, gate.prompt)]

    def prompt(self, key: str) -> Prompt:
        """
        Return one prompt as it is now.

        Raises:
            LookupError: There is no such prompt.
        """
        found = self._reader.overlaid().prompt(key)
        if found is None:
            known = ", ".join(prompt.key for prompt in self._reader.declared.prompts) or "none"
            msg = f"there is no prompt {key!r}; there are: {known}"
            raise LookupError(msg)
        return found

    def set(self, path: str, value: Any, *, actor: str, reason: str) -> Receipt:
        """
        Change one key of the declaration without a deployment, in all processes.

        Args:
            path: As in the declaration: `"prompts.after-checkout.ask.sample"`.

            value: A JSON value; None for what is declared.

            actor, reason: Who changes it, and why.

        Raises:
            LookupError: There is no such key, or it cannot be changed so.

            ValueError, TypeError: The value is none for it, or nobody is named, or no reason.

            StoreError: What holds now cannot be read.
        """
        _check_named(actor, reason)
        overlaid = self._reader.overlaid()
        changed = change_at(overlaid, path)
        if value is not None:
            self._check(changed(value), path)
        return self._change(overlaid, path, value, actor, reason)

    def set_all(
        self,
        changes: Mapping[str, Any],
        *,
        actor: str,
        reason: str,
        seen: Mapping[str, Any] | None = None,
    ) -> list[Receipt]:
        """
        Change several keys of prompts or of `[feedback]`, or none if something is wrong with one.

        Args:
            changes: Path → value, as for `set()`.
                They are checked together: a text may need another one beside it.

            seen: What whoever changes them took the keys to hold: where one holds something else,
                somebody was quicker.

        Raises:
            ChangesRefused: Something is wrong; it says what, by path.

            ValueError: Nobody is named, or no reason.

            StoreError: What holds now cannot be read.
        """
        _check_named(actor, reason)
        overlaid = self._reader.overlaid()
        base = self._reader.overlaid_without(changes)
        problems = find_problems(overlaid, base, changes, seen or {})
        if problems:
            raise ChangesRefused(problems)
        return [
            self._change(overlaid, path, value, actor, reason) for path, value in changes.items()
        ]

    def settings(self, prompt_key: str | None) -> tuple[Setting, ...]:
        """
        Return all that can be changed of a prompt without a deployment, as it is now.

        Args:
            prompt_key: Which prompt; None for what holds for all of them.

        Raises:
            LookupError: There is no such prompt.

            StoreError: What holds now cannot be read.
        """
        if prompt_key is not None:
            self.prompt(prompt_key)
        overlaid, declared = self._reader.overlaid(), self._reader.declared
        return settings_of(prompt_key, overlaid, declared, self.changes())

    def _change(
        self, overlaid: Overlaid, path: str, value: Any, actor: str, reason: str
    ) -> Receipt:
        return self._record(
            facts.CHANGED,
            {"path": path, "old": value_of(overlaid, path), "new": value},
            customer=NOBODY,
            kind=Kind.FACT,
            actor=actor,
            reason=reason,
            anyway=True,
        )

    def _check(self, overlaid: Overlaid, path: str) -> None:
        key = path.split(".")[1]
        prompt = overlaid.prompt(key) if path.startswith("prompts.") else None
        problems = list(prompt_problems(prompt, overlaid.feedback)) if prompt is not None else []
        if path.startswith("cases."):
            self.cases.check_owner(value_of(overlaid, path))
        if problems:
            raise ValueError("; ".join(problems))

    def changes(self, prompt_key: str | None = None) -> list[Change]:
        """
        Return what was changed without a deployment, the latest first; 20 changes of each key.

        Args:
            prompt_key: Only of this prompt; None for everything.
        """
        return read_changes(self._store, "" if prompt_key is None else f"prompts.{prompt_key}.")

    @property
    def ignored(self) -> Mapping[str, str]:
        """Changes that do not count, as the declaration has moved on: key → why."""
        return self._reader.overlaid().ignored

    # How

    def _consents(self) -> bool:
        bound = current()
        stamp = UNASKED if bound is None else bound.stamp
        if names(stamp.denied, facts.FEEDBACK):
            return False
        return stamp.allows(ANALYTICS, unasked=self._unasked)

    def _claim(
        self, prompt: Prompt, overlaid: Overlaid, person: str, page: Page, when: tuple[int, int]
    ) -> Claim:
        now, delay = when
        return Claim(
            impression=self._ids.new(now),
            customer=person,
            prompt=prompt.key,
            session=page.session_id,
            language=_language(prompt, overlaid.feedback.language, page.languages),
            claimed_at=now,
            due_at=now + delay,
            expires_at=now + delay + EXPIRY,
        )

    def _count(self, decision: Decision) -> None:
        for gate in decision.gates:
            self.counts[gate.reason] += 1


def _check_named(actor: str, reason: str) -> None:
    if not actor or not reason:
        msg = "a change stays in the Log: say who makes it (actor), and why (reason)"
        raise ValueError(msg)


def _language(prompt: Prompt, default: str, wanted: Iterable[str]) -> str:
    found = prompt.text.find([*wanted, default])
    return next(iter(prompt.text.by_language)) if found is None else found


def _offer(claim: Claim, prompt: Prompt, delay: int) -> Offer:
    return Offer(
        impression=claim.impression,
        prompt=prompt,
        language=claim.language,
        delay=delay / 1e6,
        expires_at=to_datetime(claim.expires_at),
    )
