"""What people read of a prompt's rule: how often it is asked, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from journeykit.model.prompt import Prompt


def policy_of(prompt: Prompt) -> str:
    """Return how often one customer is asked."""
    ask = prompt.ask
    if ask.always:
        policy = "always"
    elif ask.every is not None:
        policy = f"every {ask.every}".removesuffix(", 0:00:00")
    else:
        policy = f"until answered, {ask.max_shows}×" if ask.until_answered else "once"
    return policy if ask.sample == 1 else f"{policy}, of {ask.sample:.0%}"


def trigger_of(prompt: Prompt) -> str:
    """Return what arms it."""
    when = prompt.when
    named = ("event", when.event), ("stage", when.stage), ("page", when.page)
    found = next((f"{name} {value}" for name, value in named if value), None)
    return found or f"pain point {when.pain_point}"
