from __future__ import annotations

import pytest

from journeykit.delivery.answers import ALL_ALIKE, told


@pytest.mark.parametrize("status", sorted(ALL_ALIKE - {410}))
def test_what_refuses_everything_says_what_to_check(status: int) -> None:
    """A status that waits for a person tells that person what to look at."""
    assert told(status).startswith(f"HTTP {status}; check ")


def test_redirects_say_why_they_fail() -> None:
    """A redirect is told as what it is: an address that has moved."""
    assert "redirects are not followed" in told(307)


def test_other_statuses_stand_for_themselves() -> None:
    """A status about which nothing can be said is a number."""
    assert told(500) == "HTTP 500"
