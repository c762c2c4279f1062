from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from journeykit.delivery import Backoff

backoffs = st.builds(
    Backoff,
    first=st.floats(0.01, 10),
    factor=st.floats(1, 10),
    most=st.floats(10, 1000),
)
failures = st.integers(1, 10_000)
randomness = st.randoms(use_true_random=False)


@given(backoffs, failures, randomness)
def test_delay_grows_up_to_the_most(
    backoff: Backoff, failures: int, randomness: random.Random
) -> None:
    """A wait lies between half of what the failures allow and all of it, never beyond the most."""
    allowed = min(backoff.most, backoff.first * backoff.factor ** min(failures - 1, 64))

    assert allowed / 2 <= backoff.delay(failures, randomness) <= allowed <= backoff.most


@given(backoffs, failures, randomness, st.floats(0, 3600))
def test_retry_after_is_respected(
    backoff: Backoff, failures: int, randomness: random.Random, asked: float
) -> None:
    """Nobody comes back before the time that the other side asked for, up to an hour."""
    assert backoff.delay(failures, randomness, asked) >= asked


@given(failures, randomness, st.floats(3600, allow_infinity=True, allow_nan=False))
def test_retry_after_has_an_end(failures: int, randomness: random.Random, asked: float) -> None:
    """However long the other side asks us to wait, an hour is the most."""
    assert Backoff().delay(failures, randomness, asked) == 3600.0


@given(failures, st.integers(), st.floats(-1e9, 0))
def test_senseless_retry_after_shortens_nothing(failures: int, seed: int, asked: float) -> None:
    """A wait that is zero or negative leaves our own."""
    ours = Backoff().delay(failures, random.Random(seed))

    assert Backoff().delay(failures, random.Random(seed), asked) == ours


def test_waits_double_and_differ() -> None:
    """The usual waits go from about a second to five minutes, and two clients do not keep step."""
    one, other = random.Random(1), random.Random(2)
    waits = [Backoff().delay(number, one) for number in range(1, 15)]

    assert 0.5 <= waits[0] <= 1
    assert 2 <= waits[2] <= 4
    assert 150 <= waits[-1] <= 300
    assert waits != [Backoff().delay(number, other) for number in range(1, 15)]
