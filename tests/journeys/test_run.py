"""Runs as State keeps them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from journeykit.journeys.run import Run

times = st.integers(-(2**53), 2**53)
ids = st.text(min_size=1, max_size=8)


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Return a run, whether folding can lead to it or not."""
    stages = draw(st.integers(1, 4))
    known: Any = {
        "newest": draw(st.none() | st.tuples(times, st.integers(-2, 3), ids)),
        "highest": draw(times),
        "started_at": draw(st.none() | times),
        "started_by": draw(ids),
        "current": draw(st.integers(-1, stages - 1)),
        "furthest": draw(st.integers(-1, stages - 1)),
        "visits": draw(st.lists(st.integers(0, 9), min_size=stages, max_size=stages)),
        "entered_at": draw(st.lists(st.none() | times, min_size=stages, max_size=stages)),
        "marks": draw(st.lists(ids, max_size=2)),
        "completed_at": draw(st.none() | times),
        "value": draw(st.floats(-1e6, 1e6)),
        "since": draw(times),
        "since_by": draw(st.just("") | ids),
        "stalled": draw(st.booleans()),
        "ended_at": draw(st.none() | times),
        "outcome": draw(st.none() | ids),
        "number": draw(st.integers(1, 3)),
        "closed": draw(st.none() | st.lists(st.integers(0, 9), min_size=1, max_size=3)),
        "count": draw(st.integers(0, 99)),
        "look": draw(st.integers(0, 99)),
        "begun": draw(st.none() | st.tuples(st.integers(0, 99), times)),
    }
    if known["newest"] is not None and draw(st.booleans()):
        # As it is right behind an event: what follows from the newest one is left out.
        at, _, by = known["newest"]
        known |= {"highest": at, "since": at, "since_by": by}
    if draw(st.booleans()):
        for name in ("marks", "completed_at", "value", "stalled", "ended_at", "outcome", "number"):
            del known[name]
        del known["closed"], known["look"]
    return Run(**known)


@given(runs())
def test_encoding_keeps_a_run_whole(run: Run) -> None:
    """A run that was encoded and decoded is the same, in what is left out as well."""
    again = Run.decode(run.encode())
    assert again == run
    assert again.begun == run.begun
