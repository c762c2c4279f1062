"""Who came to a stage, and who of them reached the goal: what findings are compared with."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from journeykit.insight.ranking import Loss
from journeykit.journeys.run import NOWHERE, Run
from journeykit.journeys.stages import INSTANCES, Place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from journeykit.journeys.plan import Plan
    from journeykit.store.protocol import Store


#: How long before the first finding a customer may have been heard of last, in microseconds.
_BEFORE: Final = 86_400_000_000


class _Stay(NamedTuple):
    """One instance in one stage: since when, until when it was heard of, when it met the goal."""

    customer: str
    entered_at: int
    last_at: int
    completed_at: int | None


class Reached:
    """Reads every instance once, when first asked."""

    def __init__(self, store: Store, plans: Sequence[Plan]) -> None:
        self._store = store
        self._plans = plans
        self._stays: dict[tuple[str, str], list[_Stay]] | None = None
        self._goals = {plan.journey.key for plan in plans if plan.journey.goal is not None}
        #: When the newest event of any instance occurred.
        self.newest = 0

    def compare(
        self,
        journey: str | None,
        stage: str | None,
        affected: Mapping[str, int],
        span: tuple[int, int],
    ) -> tuple[int, Loss | None]:
        """
        Return how many customers were in a stage during *span*, and what became of them.

        Those of the day before count too: what time alone shows is found when others have left.
        Instances that had met the goal before have nothing to lose, and are not compared.

        Args:
            affected: Customer → since when.
        """
        if journey is None or stage is None:
            return 0, None
        first, last = span
        stays = [
            stay
            for stay in self._read().get((journey, stage), ())
            if stay.entered_at <= last and stay.last_at >= first - _BEFORE
        ]
        active = len({stay.customer for stay in stays} | set(affected))
        if journey not in self._goals:
            return active, None
        counts = {True: [0, 0], False: [0, 0]}
        for stay in stays:
            is_affected = stay.customer in affected
            since = affected.get(stay.customer, stay.entered_at)
            if stay.completed_at is None or stay.completed_at >= since:
                counts[is_affected][0] += 1
                counts[is_affected][1] += stay.completed_at is not None
        return active, Loss(
            affected=counts[True][0],
            affected_converted=counts[True][1],
            others=counts[False][0],
            others_converted=counts[False][1],
        )

    def _read(self) -> dict[tuple[str, str], list[_Stay]]:
        if self._stays is None:
            self._stays = defaultdict(list)
            for plan in self._plans:
                self._add(plan)
        return self._stays

    def _add(self, plan: Plan) -> None:
        stays = self._stays if self._stays is not None else {}
        prefix = Place(plan.label, "", "").key.rstrip("\x1f") + "\x1f"
        for key, data in self._store.scan(INSTANCES, prefix):
            run = Run.decode(data)
            if run.furthest == NOWHERE or len(run.visits) != len(plan.keys):
                continue
            customer = Place.of(key).customer
            self.newest = max(self.newest, run.highest)
            for name, entered_at in zip(plan.keys, run.entered_at, strict=True):
                if entered_at is not None:
                    stay = _Stay(customer, entered_at, run.highest, run.completed_at)
                    stays[plan.journey.key, name].append(stay)
