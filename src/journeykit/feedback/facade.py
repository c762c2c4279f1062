"""`kit.feedback`: asks which prompt to show, hears what became of it, and says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from journeykit.feedback.gates import Gate
    from journeykit.model.customer import Customer
    from journeykit.model.impression import Offer, Outcome, Page
    from journeykit.model.prompt import Prompt
    from journeykit.model.receipt import Receipt


class Feedback:
    """
    Prompts, as a page and the product team use them.

    Nothing here raises for what a visitor sends, and nothing waits for another process for longer
    than a quarter of a second.
    """

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """The prompts as they are now: as declared, with what was changed since laid over."""
        raise NotImplementedError

    def ask(self, customer: Customer | str, page: Page) -> Offer | None:
        """
        Return the prompt to show to *customer* on *page*, claimed for them; None for none.

        Consent is that of the bound request, as for `track()`.
        """
        raise NotImplementedError

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
        raise NotImplementedError

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
        """
        raise NotImplementedError

    def opt_out(self, customer: Customer | str) -> Receipt:
        """Record that a customer does not want to be asked anything any more."""
        raise NotImplementedError
