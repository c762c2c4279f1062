"""Runs that are stalled, in the form of the findings of rules; `journey.stalled` has told it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from journeykit.journeys.findings import FINDINGS, Finding, FindingKey, day_of

if TYPE_CHECKING:
    from journeykit.journeys.plan import Plan
    from journeykit.journeys.run import Run
    from journeykit.store.view import View

CODE: Final = "journey.stalled"


def note_stall(view: View, plan: Plan, customer: str, value: str, run: Run | None) -> None:
    """Keep that *run* is stalled, for as long as it is; the record follows from the run alone."""
    key = FindingKey(CODE, customer, f"{plan.label} {value}".strip())
    known = view.get(FINDINGS, key.text, Finding.decode)
    stall = plan.stalls[run.current] if run is not None and run.stalled else None
    if run is None or stall is None or run.ended_at is not None:
        if known is not None:
            view.put(FINDINGS, key.text, None, Finding.encode)
        return
    at = run.since + stall
    found = Finding(
        code=CODE,
        target=key.target,
        first_at=at,
        last_at=at,
        days=(day_of(at),),
        evidence=(run.since_by,),
        journey=plan.journey.key,
        stage=plan.keys[run.current],
        instance=value,
    )
    if found != known:
        view.put(FINDINGS, key.text, found, Finding.encode)
