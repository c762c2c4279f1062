"""What is known of one customer when a page asks: State and claims, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from journeykit.feedback.history import DISMISSED, History, Impression, Tally

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from journeykit.config.settings import FeedbackSettings
    from journeykit.feedback.overrides import Overlaid
    from journeykit.model.customer import Customer
    from journeykit.model.impression import Page
    from journeykit.store.claims import Claim


@attrs.frozen(kw_only=True)
class Known:
    """
    What State and the request tell of a customer.

    Args:
        overlaid: Prompts and `[feedback]` as they are now.

        history: What the folds have kept.

        consents: Whether the customer agrees to being recorded and asked, as the request has it;
            None where there is none.

        bucket: The key that the customer is sampled by; that of before the first sign-in.

        stages: The stages that the customer is in, as `payment` and as `checkout.payment`.

        answers: Prompt → how many answers it has had from all customers.

        has_open_case, case_closed_at: Whether somebody works on a complaint of theirs, and when the
            last one was closed.

        recovery: Keys of prompts that belong to that case, and are asked though it is open.
    """

    overlaid: Overlaid
    history: History = attrs.field(factory=History)
    consents: bool | None = True
    bucket: str = ""
    stages: frozenset[str] = frozenset()
    answers: Mapping[str, int] = attrs.field(factory=dict)
    has_open_case: bool = False
    case_closed_at: int | None = None
    recovery: frozenset[str] = frozenset()


class Standing:
    """What the gates look at: what is *known*, with what was claimed and is not folded yet."""

    def __init__(
        self, known: Known, claims: Sequence[Claim], customer: Customer, page: Page | None
    ) -> None:
        self.known = known
        self.feedback: FeedbackSettings = known.overlaid.feedback
        self.history = known.history
        self.consents = known.consents
        self.stages = known.stages
        self.answers = known.answers
        self.bucket = known.bucket or customer.key
        self.is_known = bool(customer.user_id)
        self.session = (page.session_id if page is not None else None) or customer.session_id
        self.has_open_case = known.has_open_case
        self.case_closed_at = known.case_closed_at
        self.recovery = known.recovery
        self.shown = self._shown(claims)
        self._unfolded = self._tallies(claims)
        self._groups = {prompt.key: prompt.group for prompt in known.overlaid.prompts}
        self._counts: dict[tuple[str | None, int | None], int] = {}

    def _shown(self, claims: Sequence[Claim]) -> list[Impression]:
        """Return all impressions that were shown, the oldest first."""
        found = {each.id: each for each in self.history.impressions.values()}
        for claim in claims:
            if claim.shown_at is None:
                continue
            told = Impression(
                claim.impression,
                claim.prompt,
                claim.shown_at,
                claim.session,
                claim.rank,
                claim.seq,
                claim.seq > 0,
            )
            known = found.get(told.id)
            found[told.id] = told if known is None else known.with_(told)
        shown = [each for each in found.values() if each.shown_at is not None]
        # Of two at the same instant the one that was closed counts as the later.
        return sorted(shown, key=lambda each: (each.shown_at, each.rank == DISMISSED, each.id))

    def _tallies(self, claims: Sequence[Claim]) -> dict[str, Tally]:
        """Return what is not in the history's counts yet."""
        found: dict[str, Tally] = {}
        for claim in claims:
            if claim.shown_at is None:
                continue
            folded = self.history.impressions.get(claim.impression)
            new = folded is None or folded.shown_at is None
            answered = claim.seq > 0 and not (folded is not None and folded.answered)
            # The time of the answer is not in the claim; it is not before the show.
            tally = Tally(
                int(new),
                claim.shown_at,
                int(answered),
                claim.shown_at if answered else None,
            )
            found[claim.prompt] = found.get(claim.prompt, Tally()).with_(tally)
        return found

    def tally(self, prompt: str) -> Tally:
        """Return how often a prompt was shown and answered."""
        folded = self.history.tallies.get(prompt, Tally())
        unfolded = self._unfolded.get(prompt)
        return folded if unfolded is None else folded.with_(unfolded)

    def count(self, group: str | None, since: int | None) -> int:
        """Return how many prompts of a group, or of all, were shown since then, or ever."""
        known = self._counts.get((group, since))
        if known is None:
            known = self._counts[group, since] = self._count(group, since)
        return known

    def _count(self, group: str | None, since: int | None) -> int:
        if since is None:
            keys = {*self.history.tallies, *self._unfolded}
            return sum(self.tally(key).shows for key in keys if self._is_of(key, group))
        return sum(
            self._is_of(each.prompt, group)
            for each in self.shown
            if each.shown_at is not None and each.shown_at > since
        )

    def _is_of(self, prompt: str, group: str | None) -> bool:
        return group is None or self._groups.get(prompt) == group
