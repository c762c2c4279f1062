"""The gates between a prompt and a customer, each with its reason code."""

from __future__ import annotations

import attrs


@attrs.frozen
class Gate:
    """
    What one gate says about one prompt and one customer.

    Args:
        prompt: The prompt's key.

        name: The gate, in the order in which they are asked.

        passes: Whether it lets the prompt through; None where it cannot tell without a page.

        reason: Why not, as a code: `"not_armed"`, `"capped"`, …; empty where it passes.

        detail: The same as a sentence for people.
    """

    prompt: str
    name: str
    passes: bool | None
    reason: str = ""
    detail: str = ""
