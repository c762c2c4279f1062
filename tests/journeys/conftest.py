from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from journeykit.insight import JourneyFigures, Report, report
from journeykit.journeys import Rulebook, declare, folds, plans
from journeykit.journeys.figures import FIGURES, Figures
from journeykit.journeys.findings import Finding, findings
from journeykit.journeys.plan import Plan
from journeykit.journeys.rulebook import GuardedRule
from journeykit.journeys.run import Run
from journeykit.journeys.stages import INSTANCES, Place
from journeykit.model import Entry, Journey, Kind, Stored, Touchpoint
from journeykit.model.rule import PainPointRule
from journeykit.plugins import Plugins
from journeykit.store.memory import MemoryStore
from journeykit.store.projector import Projector
from journeykit.store.protocol import Commit, Store
from journeykit.store.sqlite import SQLiteStore


@attrs.define
class World:
    """A store, the plans of some journeys, and the projector that folds them."""

    store: Store
    plans: Sequence[Plan]
    projector: Projector
    plugins: Plugins
    now: Callable[[], int]
    book: Rulebook
    segments: Sequence[str] = ()

    def add(self, *entries: Entry) -> World:
        """Commit *entries* together and fold everything."""
        self.store.commit(Commit(entries), self.now())
        return self.fold()

    def fold(self) -> World:
        """Fold until nothing is left."""
        while self.projector.step() == 0:
            pass
        return self

    def again(self, declaration: str = "again") -> World:
        """Return this world with a projector that begins anew, declared otherwise."""
        folding = folds(tuple(self.plans), self.plugins, self.book, segments=self.segments)
        projector = Projector(self.store, folding, declaration=declaration, now=self.now)
        return attrs.evolve(self, projector=projector)

    @property
    def log(self) -> list[Stored]:
        """The Log."""
        return self.store.read(None, 100_000)

    @property
    def derived(self) -> list[Entry]:
        """The derived events of the Log."""
        return [item.entry for item in self.log if item.entry.kind is Kind.DERIVED]

    @property
    def findings(self) -> dict[tuple[str, str, str], Finding]:
        """The findings, by code, customer and target."""
        return {tuple(key): finding for key, finding in findings(self.store)}

    def told(self) -> list[tuple[str, str, str, int]]:
        """Return name, code, target and instant of what was told and not taken back."""
        told: dict[tuple[str, str, str, int], int] = {}
        for entry in self.derived:
            if entry.name.startswith("pain_point."):
                found = entry.event().properties
                name = entry.name.removeprefix("pain_point.")
                taken_back = name == "withdrawn"
                if taken_back:
                    name = "recovered" if found.get("recovery") else "detected"
                place = name, found["code"], found["target"], entry.occurred_at
                told[place] = told.get(place, 0) + (-1 if taken_back else 1)
        assert min(told.values(), default=0) >= 0
        return sorted(place for place, count in told.items() for _ in range(count))

    @property
    def report(self) -> Report:
        """The figures."""
        return report(self.store, self.plans)

    @property
    def figures(self) -> JourneyFigures:
        """The figures of the first journey."""
        return self.report.journeys[0]

    def runs(self, plan: Plan | None = None) -> dict[tuple[str, str], Run]:
        """Return the runs of a journey that have come anywhere, by customer and instance value."""
        label = (plan or self.plans[0]).label
        found = {Place.of(key): Run.decode(data) for key, data in self.store.scan(INSTANCES)}
        return {
            (place.customer, place.value): run
            for place, run in found.items()
            if place.label == label and run.newest is not None
        }

    def run(self, customer: str = "u:u1", value: str = "") -> Run:
        """Return one run of the first journey."""
        return self.runs()[customer, value]

    def stage(self, customer: str = "u:u1", value: str = "") -> str | None:
        """Return the key of the stage that a run of the first journey is in."""
        run = self.runs().get((customer, value))
        return None if run is None or run.current < 0 else self.plans[0].keys[run.current]

    def recount(self, plan: Plan | None = None) -> Figures:
        """Return the figures of a journey, counted over its runs."""
        plan = plan or self.plans[0]
        stages = len(plan.keys)
        found = [0.0] * (3 + 3 * stages)
        for run in self.runs(plan).values():
            found = [count + more for count, more in zip(found, _counts(run), strict=True)]
        return Figures(
            int(found[0]),
            int(found[1]),
            round(found[2], 6),
            tuple(map(int, found[3 : 3 + stages])),
            tuple(map(int, found[3 + stages : 3 + 2 * stages])),
            tuple(map(int, found[3 + 2 * stages :])),
        )

    def kept(self, plan: Plan | None = None) -> Figures:
        """Return the figures of a journey as the fold has kept them."""
        plan = plan or self.plans[0]
        data = self.store.state((FIGURES, plan.label))
        figures = Figures.decode(data) if data else Figures.empty(len(plan.keys))
        return figures._replace(value=round(figures.value, 6))


def _counts(run: Run) -> list[float]:
    """Return what a run and those before it add to the figures, counted plainly."""
    stages = range(len(run.visits))
    if max(run.visits) == 0:
        return run.closed or [0] * (3 + 3 * len(run.visits))
    own = [
        1,
        run.completed_at is not None,
        run.value,
        *(run.visits[stage] > 0 for stage in stages),
        *(run.current == stage and run.ended_at is None for stage in stages),
        *(run.furthest == stage for stage in stages),
    ]
    return [count + more for count, more in zip(own, run.closed or [0] * len(own), strict=True)]


@pytest.fixture(scope="session")
def new_world() -> Callable[..., contextlib.AbstractContextManager[World]]:
    """Return a context manager that makes worlds; `kind` is `"memory"` or `"sqlite"`."""

    @contextlib.contextmanager
    def new_world(
        *journeys: Journey,
        kind: str = "memory",
        plugins: Iterable[object] = (),
        touchpoints: Sequence[Touchpoint] = (),
        names: Mapping[str, str] | None = None,
        rules: Sequence[PainPointRule] = (),
        now: Callable[[], int] = lambda: 4_000_000_000_000_000,
        segments: Sequence[str] = (),
    ) -> Iterator[World]:
        declared, problems = declare(journeys, touchpoints, names or {})
        assert problems == []
        with tempfile.TemporaryDirectory(prefix="journeykit-test-") as directory:
            store: Any = MemoryStore()
            if kind == "sqlite":
                store = SQLiteStore(Path(directory) / "store.db")
            compiled = plans(declared)
            asked = Plugins(plugins, installed=False)
            given = [GuardedRule(rule, plugin, asked) for plugin, rule in asked.register_rules()]
            book = Rulebook.of([*rules, *given], declared.vocabulary)
            folding = folds(compiled, asked, book, segments=segments)
            projector = Projector(store, folding, declaration="first", now=now)
            # Also where an example is given up.
            with contextlib.closing(store):
                yield World(store, compiled, projector, asked, now, book, segments)

    return new_world


@pytest.fixture
def make_world(
    new_world: Callable[..., contextlib.AbstractContextManager[World]],
) -> Iterator[Callable[..., World]]:
    """Return a function that makes worlds; they are closed at the end of the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **more: stack.enter_context(new_world(*args, **more))
