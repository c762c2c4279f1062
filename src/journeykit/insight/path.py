"""What `journeykit explain` and the admin tell of one customer: their path, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from datetime import datetime


@attrs.frozen(kw_only=True)
class PathStep:
    """
    What one event, or a deadline, has done to a run.

    Args:
        at: When it occurred.

        event, id: The event's name and id; None for a deadline.

        led_to: What became of the run; empty if nothing did.

        because: The rule behind it, or why it led to nothing.
    """

    at: datetime
    event: str | None
    id: str | None
    led_to: str
    because: str


@attrs.frozen(kw_only=True)
class Path:
    """
    One run of a customer through a version of a journey.

    Args:
        stage, furthest: Keys of the present stage and of the highest one reached.

        skipped: Stages that were passed and never entered: they are inferred.

        outcome: How it ended; None while it goes on.

        earlier: How many steps came before those in *steps*.
    """

    journey: str
    version: int
    instance: str
    stage: str | None
    furthest: str | None
    skipped: tuple[str, ...]
    completed: bool
    outcome: str | None
    run: int
    earlier: int
    steps: tuple[PathStep, ...]


@attrs.frozen(kw_only=True)
class Explanation:
    """
    A customer's path through every journey.

    Args:
        customer: The key of the person whom the ids belong to: `u:` and a user id, or `a:` and an
            anonymous one.

        known_as: Every key under which their events were recorded.

        events: How many events there are.

        earlier: How many instances were left out, whose last events are older.
    """

    customer: str
    known_as: tuple[str, ...]
    events: int
    earlier: int = 0
    paths: tuple[Path, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON values."""
        return attrs.asdict(self)
