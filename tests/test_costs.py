"""What hooks cost is told to the store once, by whoever asked them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit import (
    Consent,
    Core,
    Event,
    Journey,
    JourneyKit,
    Settings,
    StoreError,
    hookimpl,
)
from journeykit.costs import Cost, Costs, costs_of
from journeykit.store.sqlite import SQLiteStore

HOOKS = ("enrich_event", "accept_event", "detect_stage", "rule cart.left", "event_parked")


class Asked:
    """Has something to say to the committer and to the projector."""

    name = "asked"

    @hookimpl
    def accept_event(self, event: Event) -> None:
        """Have no opinion, or fail."""
        if event.name == "Unclear":
            raise RuntimeError("nobody knows")

    @hookimpl
    def detect_stage(self) -> None:
        """Have no opinion."""


def settings(store: str) -> Settings:
    """Return a shop with a journey."""
    journey = Journey(key="shop", version=1, extends="ecommerce")
    return Settings(consent=Consent("opt_out"), core=Core(store=store), journeys=[journey])


@pytest.fixture
def shop(tmp_path: Path) -> Callable[[], JourneyKit]:
    """Return a function that starts the shop once more, on the same store."""
    return lambda: JourneyKit(settings(f"sqlite:///{tmp_path / 'shop.db'}"), plugins=[Asked()])


def told(kit: JourneyKit) -> dict[str, tuple[int, int]]:
    """Return hook → how often it was asked and failed, as the store knows."""
    costs = costs_of("asked", kit.store.counters())
    return {hook: (cost.asked, cost.failed) for hook, cost in costs.items()}


def test_a_kit_tells_what_its_hooks_have_cost(shop: Callable[[], JourneyKit]) -> None:
    """Calls, failures and time stand in the store when the events do, and add up over processes."""
    for rounds in (1, 2):
        with shop() as kit:
            for name in ("Product Viewed", "Unclear"):
                kit.track(name, customer="ada")
                assert kit.flush()
            assert told(kit) == {
                "accept_event": (2 * rounds, rounds),
                "detect_stage": (rounds, 0),
            }
            costs = costs_of("asked", kit.store.counters())
            assert 0 < costs["accept_event"].seconds < 60


def test_what_a_failed_commit_was_to_tell_is_told_by_the_next(
    shop: Callable[[], JourneyKit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the transaction fails, no call is forgotten, and none is told twice."""
    commit, failures = SQLiteStore.commit, iter([True])

    def failing(self: SQLiteStore, *given: Any) -> Any:
        if next(failures, False):
            raise StoreError("another process writes")
        return commit(self, *given)

    monkeypatch.setattr(SQLiteStore, "commit", failing)
    with shop() as kit:
        kit.track("Product Viewed", customer="ada")
        assert kit.flush()
        # Asked for each try; both are calls, and cost what they cost.
        assert told(kit)["accept_event"] == (2, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_leaves_its_parents_costs_alone(shop: Callable[[], JourneyKit]) -> None:
    """What a parent has not told yet is told by the parent only."""
    with shop() as kit:
        kit.plugins.costs.note("asked", "accept_event", 1.0, failed=False)
        if (child := os.fork()) == 0:
            code = 1
            try:
                kit.track("Product Viewed", customer="ada")
                code = int(not kit.flush())
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert told(kit)["accept_event"] == (1, 0)
        kit.track("Product Viewed", customer="bob")
        assert kit.flush()
        assert told(kit)["accept_event"] == (3, 0)


@given(
    st.lists(
        st.tuples(st.sampled_from(HOOKS), st.floats(0, 10), st.booleans())
        | st.tuples(st.booleans(), st.booleans())
    )
)
def test_every_call_is_told_once(steps: list[Any]) -> None:
    """However calls and transactions take turns, and some of them fail, the sums are right."""
    costs, store, noted = Costs(), Counter[str](), Counter[str]()
    spent = Counter[str]()
    for step in [*steps, (True, True), (False, True)]:
        if len(step) == 3:
            hook, seconds, failed = step
            costs.note("shop:a", hook, seconds, failed=failed)
            noted[hook] += 1
            spent[hook] += seconds
        else:
            projecting, succeeds = step
            owed = costs.owed(projecting=projecting)
            if succeeds:
                store.update(owed.counts)
                costs.settle(owed)
    found = costs_of("shop:a", store)
    assert {hook: cost.asked for hook, cost in found.items()} == noted
    for hook, cost in found.items():
        assert cost.seconds == pytest.approx(spent[hook], abs=1e-5)
    assert not costs.owed(projecting=True).counts
    assert not costs.owed(projecting=False).counts


def test_committer_and_projector_tell_their_own() -> None:
    """Two stages that write at the same time never tell the same call."""
    costs = Costs()
    for hook in HOOKS:
        costs.note("a", hook, 0.5, failed=hook == "detect_stage")
    committer, projector = (costs.owed(projecting=each) for each in (False, True))
    assert {name for name in committer.counts if name.startswith("asked")} == {
        "asked:a:enrich_event",
        "asked:a:accept_event",
        "asked:a:event_parked",
    }
    assert projector.counts == {
        "asked:a:detect_stage": 1,
        "failed:a:detect_stage": 1,
        "micros:a:detect_stage": 500_000,
        "asked:a:rule cart.left": 1,
        "micros:a:rule cart.left": 500_000,
    }


def test_other_counters_are_no_costs() -> None:
    """Only what was counted for a plugin's hook is read as that."""
    counters = {"events": 5, "withheld:a": 2, "tripped:a:x": 1, "asked:b:x": 3, "asked:a:x": 1}
    assert costs_of("a", counters) == {"x": Cost(1, 0, 0.0)}
