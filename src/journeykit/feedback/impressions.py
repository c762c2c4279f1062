"""
What a page reports of an impression becomes facts, each of them once.

A fact's id follows from the impression, what is reported, and its number: a report that comes
twice, in two processes or after a crash, is one event in the Log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from journeykit.capture.ids import id_behind
from journeykit.exceptions import StoreError
from journeykit.feedback import facts, history
from journeykit.feedback.answers import Answers, read_answers
from journeykit.feedback.decide import may_show
from journeykit.feedback.reading import keys_of
from journeykit.feedback.standing import Known
from journeykit.model.event import Kind
from journeykit.model.impression import ImpressionStep, Outcome, OutcomeStatus
from journeykit.model.times import to_datetime
from journeykit.store.claims import Claim

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from journeykit.feedback.reading import Reader
    from journeykit.model.customer import Customer
    from journeykit.model.prompt import Prompt
    from journeykit.model.receipt import Receipt
    from journeykit.store.protocol import Store

#: How long an impression that was shown takes answers, in microseconds.
OPEN: Final = 24 * 3600 * 1_000_000

#: The highest number of an answer: a page counts its reports.
_MOST_REPORTS: Final = 10_000

#: How often a change is tried that another process is quicker with.
_TRIES: Final = 3

_OK: Final = Outcome(OutcomeStatus.OK)
_CLOSED: Final = Outcome(OutcomeStatus.CLOSED)
_EXPIRED: Final = Outcome(OutcomeStatus.EXPIRED)


class Record(Protocol):
    """Records a fact; see `JourneyKit.track`."""

    def __call__(
        self,
        name: str,
        properties: Mapping[str, Any] | None,
        customer: Customer | str | None = None,
        **more: Any,
    ) -> Receipt:
        """Record one."""


class Report(NamedTuple):
    """What a page reports: which step, the number of its answers, the answers."""

    step: ImpressionStep
    seq: int
    answers: Mapping[str, Any] | None
    elapsed: float | None


class _Showing(NamedTuple):
    """An impression, and all that is known about it."""

    claim: Claim
    prompt: Prompt
    known: Known
    keys: list[str]
    customer: Customer
    #: Whether State knows that it was shown; None where it cannot be read.
    is_folded: bool | None


class Impressions:
    """
    Records what becomes of impressions.

    Args:
        record: Records a fact.

        now: The clock, in microseconds.
    """

    def __init__(
        self, store: Store, reader: Reader, record: Record, now: Callable[[], int]
    ) -> None:
        self._claims = store.claims
        self._reader = reader
        self._record = record
        self._now = now

    def report(
        self, impression: str, report: Report, customer: Customer, *, consents: bool
    ) -> Outcome:
        """Record what a page reports."""
        if not 0 <= report.seq <= _MOST_REPORTS:
            return Outcome(OutcomeStatus.INVALID, {"": "bad_seq"})
        showing = self._find(impression, customer, consents=consents)
        if isinstance(showing, Outcome):
            return showing
        if showing.claim.rank in history.ENDS:
            return _at_end(showing.claim, report)
        if showing.claim.shown_at is None:
            outcome = self._show(showing)
            showing = showing._replace(claim=self._again(showing.claim))
        elif self._now() - showing.claim.shown_at > OPEN:
            outcome = _EXPIRED
        else:
            outcome = _OK
            if showing.is_folded is False:
                # Whoever has shown it may have died before it was recorded.
                self._record_shown(showing)
        if not outcome or report.step is ImpressionStep.SHOWN:
            return outcome
        return self._go_on(showing, report)

    def _find(self, impression: str, customer: Customer, *, consents: bool) -> _Showing | Outcome:
        """Return what is known of an impression, or why nothing can be reported of it."""
        claim = self._find_claim(impression)
        try:
            known, keys = self._reader.read(customer, consents=consents)
        except StoreError:
            # An answer is kept also where the store is away: the spool takes it.
            if claim is None or claim.customer not in keys_of(customer):
                return Outcome(OutcomeStatus.UNKNOWN)
            declared = self._reader.declared
            prompt = declared.prompt(claim.prompt)
            known = Known(overlaid=declared)
            return _Showing(claim, prompt, known, [], customer, None) if prompt else _CLOSED
        told = known.history.impressions.get(impression)
        if claim is not None and claim.customer not in keys:
            return Outcome(OutcomeStatus.NOT_YOURS)
        if claim is None and told is None:
            return Outcome(OutcomeStatus.UNKNOWN)
        if claim is None and told is not None:
            # The claims were lost, or it was long ago.
            at = told.shown_at if told.shown_at is not None else self._now()
            claim = Claim(impression, keys[0], told.prompt, told.session, "", at, at, at, at)
        assert claim is not None  # noqa: S101 - for the reader of types
        if told is not None:
            claim = claim._replace(rank=max(claim.rank, told.rank), seq=max(claim.seq, told.seq))
        prompt = known.overlaid.prompt(claim.prompt)
        if prompt is None:
            return _CLOSED
        folded = told is not None and told.shown_at is not None
        return _Showing(claim, prompt, known, keys, customer, folded)

    # What can be reported

    def _show(self, showing: _Showing) -> Outcome:
        claim, now = showing.claim, self._now()
        if claim.withdrawn or showing.is_folded is None:
            return _CLOSED
        if now >= claim.expires_at:
            self._tell(showing, facts.EXPIRED, {})
            self._move(claim, rank=history.EXPIRED)
            return _EXPIRED
        others = self._claims.of(showing.keys)
        if may_show(showing.known, others, showing.customer, claim, now) is not None:
            self._claims.change(claim, claim._replace(withdrawn=True))
            return _CLOSED
        # Noted first: what was withdrawn meanwhile is not shown, and so is no fact.
        # To whoever has signed in since, so that it counts on their other devices too.
        person = showing.keys[0]
        shown = claim._replace(customer=person, shown_at=now, rank=history.SHOWN)
        if not self._claims.change(claim, shown):
            again = self._again(claim)
            if again.shown_at is None or again.withdrawn:
                return _CLOSED
            shown = again
        return self._record_shown(showing._replace(claim=shown))

    def _go_on(self, showing: _Showing, report: Report) -> Outcome:
        claim, step = showing.claim, report.step
        if step is ImpressionStep.STARTED:
            return self._tell_and_move(showing, facts.STARTED, history.STARTED, report)
        if step in (ImpressionStep.ANSWER, ImpressionStep.COMPLETED):
            return self._answer(showing, report)
        if step is ImpressionStep.DISMISSED and not claim.seq:
            return self._tell_and_move(showing, facts.DISMISSED, history.DISMISSED, report)
        if report.answers:
            partial = report._replace(step=ImpressionStep.ANSWER)
            outcome = self._answer(showing, partial)
            if not outcome:
                return outcome
        return self._tell_and_move(showing, facts.ABANDONED, history.ABANDONED, report)

    def _answer(self, showing: _Showing, report: Report) -> Outcome:
        complete = report.step is ImpressionStep.COMPLETED
        answers = read_answers(showing.prompt, report.answers, complete=complete)
        if answers.errors:
            return Outcome(OutcomeStatus.INVALID, answers.errors)
        number = report.seq + 1
        if number < showing.claim.seq or (number == showing.claim.seq and not complete):
            return _OK
        outcome = self._tell_answers(showing, answers, report, complete=complete)
        if outcome:
            rank = history.COMPLETED if complete else history.ANSWERED
            self._move(showing.claim, rank=rank, seq=number)
        return outcome

    def _tell_answers(
        self, showing: _Showing, answers: Answers, report: Report, *, complete: bool
    ) -> Outcome:
        prompt = showing.prompt
        properties: dict[str, Any] = {
            "seq": report.seq,
            "answers": answers.given,
            "complete": complete,
        }
        score = answers.score(prompt)
        if score is not None:
            scale = list(prompt.steps[0].scale or ())
            properties |= {"score": score, "scale": scale, "better": "high"}
        if report.elapsed is not None:
            properties["elapsed"] = report.elapsed
        subject = f"{report.seq}:{complete}"
        return self._tell(showing, facts.ANSWERED, properties, subject, actor="customer")

    def _record_shown(self, showing: _Showing) -> Outcome:
        # With the time of then, also where it is recorded once more: the facts are the same.
        around = self._reader.around.tell(
            showing.prompt, showing.claim.language, showing.keys, showing.known.history
        )
        return self._tell(showing, facts.SHOWN, around)

    def _tell_and_move(self, showing: _Showing, name: str, rank: int, report: Report) -> Outcome:
        elapsed = {} if report.elapsed is None else {"elapsed": report.elapsed}
        outcome = self._tell(showing, name, elapsed, actor="customer")
        if outcome:
            self._move(showing.claim, rank=rank)
        return outcome

    # How it is kept

    def _tell(
        self,
        showing: _Showing,
        name: str,
        properties: dict[str, Any],
        subject: str = "",
        *,
        actor: str = "journeykit",
    ) -> Outcome:
        claim, prompt = showing.claim, showing.prompt
        about: dict[str, Any] = {
            "impression": claim.impression,
            "prompt": prompt.key,
            "kind": prompt.kind.value,
            "surface": "page",
            "variant": None,
            "language": claim.language or None,
            "prompt_version": prompt.version,
        }
        what = f"{name}\x1f{subject}\x1f{claim.impression}".encode()
        receipt = self._record(
            name,
            {**about, **properties},
            _with_session(showing.customer, claim.session),
            at=to_datetime(claim.shown_at or 0) if name == facts.SHOWN else None,
            id=id_behind(claim.impression, claim.claimed_at, what),
            kind=Kind.FACT,
            actor=actor,
            reason="reported by the page",
        )
        if receipt or receipt.reason == "pending":
            return _OK
        return Outcome(OutcomeStatus.CLOSED, {"": str(receipt.reason)})

    def _move(self, claim: Claim, *, rank: int, seq: int = 0) -> None:
        """Note how far an impression has come; a claim that is lost is lost."""
        for _ in range(_TRIES):
            try:
                known = self._claims.find(claim.impression)
                if known is None:
                    return
                moved = known._replace(rank=max(known.rank, rank), seq=max(known.seq, seq))
                if moved == known or self._claims.change(known, moved):
                    return
            except StoreError:
                return

    def _find_claim(self, impression: str) -> Claim | None:
        try:
            return self._claims.find(impression)
        except StoreError:
            return None

    def _again(self, claim: Claim) -> Claim:
        return self._find_claim(claim.impression) or claim


def _at_end(claim: Claim, report: Report) -> Outcome:
    """Return what a report means behind the end: what is said again is as well as said."""
    answering = report.step in (ImpressionStep.ANSWER, ImpressionStep.COMPLETED)
    if claim.rank == history.EXPIRED:
        return _EXPIRED
    if claim.rank == history.COMPLETED and answering and report.seq + 1 <= claim.seq:
        return _OK
    if claim.rank == history.DISMISSED and report.step is ImpressionStep.DISMISSED:
        return _OK
    return _CLOSED


def _with_session(customer: Customer, session: str | None) -> Customer:
    """Return *customer* in the visit of the claim, so that each fact counts where it was shown."""
    if session is None or customer.session_id == session:
        return customer
    return type(customer)(customer.user_id, customer.anonymous_id, session)
