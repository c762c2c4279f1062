from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from journeykit import hookimpl
from journeykit.exceptions import StoreBusy, Superseded
from journeykit.journeys import declare, folds, plans
from journeykit.journeys.run import Run
from journeykit.model import Entry, Event, Journey, Kind, Rule, Stage
from journeykit.plugins import Plugins
from journeykit.store import projector as module
from journeykit.store import view
from journeykit.store.memory import MemoryStore
from journeykit.store.projector import Projector
from journeykit.store.protocol import PROJECTOR, Commit, Projection, Store
from journeykit.store.sqlite import SQLiteStore

#: Later than all that is made here.
NOW = 4_000_000_000_000_000

MakeEntry = Callable[..., Entry]

SHOP = Journey(key="shop", version=1, extends="ecommerce")


def project(
    store: Store, *journeys: Journey, plugins: tuple[object, ...] = (), **more: Any
) -> Projector:
    """Return a projector of these journeys that has nothing left to fold."""
    asked = Plugins(plugins, installed=False)
    folding = folds(plans(declare(journeys or (SHOP,), [], {})[0]), asked)
    declaration = more.pop("declaration", repr(journeys))
    projector = Projector(store, folding, declaration=declaration, now=lambda: NOW, **more)
    finish(projector)
    return projector


def finish(projector: Projector) -> None:
    """Fold until nothing is left, and try again where the store was busy."""
    while True:
        try:
            if projector.step() is None:
                return
        except StoreBusy:
            continue


def derived(store: Store) -> list[Entry]:
    """Return the derived events of the Log."""
    log = store.read(None, 10_000)
    return [item.entry for item in log if item.entry.kind is Kind.DERIVED]


def whole_state(store: Store) -> dict[str, list[tuple[str, Any]]]:
    """Return all State that folds have made; runs without their positions, which stores choose."""
    spaces = ("figures", "link", "members", "customer", "total")
    runs = [(key, Run.decode(data)) for key, data in store.scan("instance")]
    return {"instance": runs, **{space: list(store.scan(space)) for space in spaces}}


def history(make_entry: MakeEntry) -> list[Entry]:
    """Return events of which some are late and some join two customers."""
    return [
        make_entry("Page Viewed", user_id=None, anonymous_id="c", at=5),
        make_entry("Order Completed", {"revenue": 4}, user_id="ada", at=6),
        make_entry("Product Viewed", user_id="ada", anonymous_id="c", at=7),
        make_entry("Checkout Started", user_id="ada", at=1),
        make_entry("Product Reviewed", user_id="bob", at=8),
    ]


def test_derived_events_are_skipped(store: Store, make_entry: MakeEntry) -> None:
    """Derived events in the Log change nothing, and are nothing to wait for."""
    store.commit(Commit([make_entry("Order Completed")]), NOW)
    projector = project(store)
    before = whole_state(store)
    assert len(derived(store)) == 2

    store.commit(Commit([make_entry("Order Completed", kind=Kind.DERIVED)]), NOW)
    finish(projector)

    assert whole_state(store) == before
    assert store.read(store.cursor(PROJECTOR), 1, derived=False) == []
    assert len(derived(store)) == 3
    assert len(store.trail("u:u1")) == 1


def test_hooks_run_before_the_transaction(tmp_path: Path, make_entry: MakeEntry) -> None:
    """A hook finds the store unlocked: another connection can commit while it runs."""
    path = tmp_path / "store.db"
    first, other = SQLiteStore(path), SQLiteStore(path)
    committed = []

    class Plugin:
        @hookimpl
        def detect_pain_points(self, event: Event) -> None:
            if event.name == "Product Viewed":
                thread = threading.Thread(
                    target=lambda: committed.append(
                        other.commit(Commit([make_entry("Email Opened")]), NOW)
                    )
                )
                thread.start()
                thread.join(10)
                assert not thread.is_alive()

    first.commit(Commit([make_entry("Product Viewed")]), NOW)
    project(first, plugins=(Plugin(),))

    assert len(committed) == 1
    assert first.read(first.cursor(PROJECTOR), 1, derived=False) == []
    first.close()
    other.close()


def test_rebuild_gives_the_same_state_and_no_news(store: Store, make_entry: MakeEntry) -> None:
    """A rebuild folds the Log to the same State and writes no derived event again."""
    for entry in history(make_entry):
        store.commit(Commit([entry]), NOW)
        project(store)
    state, log = whole_state(store), store.read(None, 1000)
    assert len(derived(store)) >= 5

    projector = project(store)
    projector.rebuild()
    assert store.cursor(PROJECTOR) is None
    assert whole_state(store)["instance"] == []
    finish(projector)

    assert whole_state(store) == state
    assert store.read(None, 1000) == log


def test_same_declarations_rebuild_nothing(store: Store, make_entry: MakeEntry) -> None:
    """A projector with the declarations that State was made by goes on where the last one was."""
    store.commit(Commit(history(make_entry)), NOW)
    project(store)
    events: list[str] = []

    class Listener:
        @hookimpl
        def detect_pain_points(self, event: Event) -> None:
            events.append(event.name)

    store.commit(Commit([make_entry("Email Opened")]), NOW)
    projector = project(store, plugins=(Listener(),))

    assert events == ["Email Opened"]
    assert projector.made_by() == repr(())


def test_new_declarations_fold_everything_again(store: Store, make_entry: MakeEntry) -> None:
    """What new declarations derive about events that were folded before is no news."""
    store.commit(Commit(history(make_entry)), NOW)
    project(store)
    before = derived(store)
    changed = Journey(key="other", version=1, stages=[Stage("any", enter=["Product Reviewed"])])
    store.commit(Commit([make_entry("Product Reviewed", user_id="new")]), NOW)

    projector = project(store, changed)

    assert projector.made_by() == repr((changed,))
    news = derived(store)[len(before) :]
    assert [(entry.name, entry.user_id) for entry in news] == [("stage.entered", "new")]
    assert {key.split("\x1f")[1] for key, _ in store.scan("instance")} == {"other@1"}
    assert [key for key, _ in store.scan("figures")] == ["other@1"]


class Fails:
    """A store that is busy for the first *times* projections."""

    def __init__(self, store: Store, times: int) -> None:
        self.times = times
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def project(self, *arguments: Any) -> None:
        """Project, or be busy."""
        if self.times:
            self.times -= 1
            raise StoreBusy("busy")
        self._store.project(*arguments)


@pytest.mark.parametrize("batch", [1, 2, 500])
def test_rebuild_over_a_busy_store_is_silent_and_ends(
    monkeypatch: pytest.MonkeyPatch, store: Store, make_entry: MakeEntry, batch: int
) -> None:
    """A rebuild whose projections fail derives no news, and what comes behind it is news."""
    monkeypatch.setattr(module, "BATCH_EVENTS", batch)
    store.commit(Commit(history(make_entry)), NOW)
    project(store)
    before = derived(store)
    changed = Journey(
        key="other", version=1, stages=[Stage("any", enter=["Product Viewed", "Page Viewed"])]
    )

    busy: Any = Fails(store, times=3)
    project(busy, changed)
    assert derived(store) == before

    store.commit(Commit([make_entry("Page Viewed", user_id="one")]), NOW)
    project(store, changed)
    store.commit(Commit([make_entry("Page Viewed", user_id="two")]), NOW)
    project(store, changed)

    news = derived(store)[len(before) :]
    assert [entry.user_id for entry in news] == ["one", "two"]


def test_rebuild_goes_on_where_it_was_interrupted(
    monkeypatch: pytest.MonkeyPatch, store: Store, make_entry: MakeEntry
) -> None:
    """A rebuild that another process finishes, or begins anew, still makes no old news."""
    monkeypatch.setattr(module, "BATCH_EVENTS", 2)
    store.commit(Commit(history(make_entry)), NOW)
    first = project(store)
    state, before = whole_state(store), derived(store)

    first.rebuild()
    first.step()
    finish(first_again := project(store))
    assert whole_state(store) == state

    first_again.rebuild()
    first_again.step()
    first_again.rebuild()
    finish(first_again)
    assert whole_state(store) == state
    assert derived(store) == before


def test_rebuild_passes_over_a_derived_event_at_its_end(
    store: Store, make_entry: MakeEntry
) -> None:
    """Where the cursor stood at a derived event, the next event is news."""
    store.commit(Commit([make_entry("Product Viewed")]), NOW)
    project(store)
    *_, last = store.read(None, 10)
    assert last.entry.kind is Kind.DERIVED
    store.project(Projection(PROJECTOR, store.cursor(PROJECTOR), last.position), NOW)
    before = derived(store)
    store.commit(Commit([make_entry("Product Viewed", user_id="new")]), NOW)

    changed = Journey(key="other", version=1, stages=[Stage("any", enter=["Product Viewed"])])
    project(store, changed)

    assert [entry.user_id for entry in derived(store)[len(before) :]] == ["new"]


def test_superseded_projector_reads_anew(store: Store, make_entry: MakeEntry) -> None:
    """A projector that was overtaken writes nothing, forgets what it knew, and goes on."""
    store.commit(Commit([make_entry("Page Viewed")]), NOW)
    mine, theirs = project(store), project(store)
    store.commit(Commit([make_entry("Product Viewed", at=1)]), NOW)
    finish(theirs)
    store.commit(Commit([make_entry("Page Viewed", at=2)]), NOW)
    expected = whole_state(store)

    with pytest.raises(Superseded):
        mine.step()
    assert whole_state(store) == expected

    finish(mine)
    ((_, data),) = store.scan("instance")
    assert b"[2,1,0,0,0]" in data


def test_state_cache_is_bounded(
    monkeypatch: pytest.MonkeyPatch, store: Store, make_entry: MakeEntry
) -> None:
    """With room for what one batch changes, the figures are the same."""
    monkeypatch.setattr(view, "CACHED_PIECES", 4)
    monkeypatch.setattr(view, "DECODED_PIECES", 0)
    monkeypatch.setattr(module, "BATCH_EVENTS", 2)
    entries = history(make_entry)
    store.commit(Commit(entries), NOW)
    projector = project(store)
    assert 0 < len(projector._cache) <= 4

    monkeypatch.undo()
    other = MemoryStore()
    other.commit(Commit(entries), NOW)
    project(other)
    assert whole_state(store) == whole_state(other)


def test_projector_tells_that_it_projected(store: Store, make_entry: MakeEntry) -> None:
    """Each batch is announced, and only after it was written."""
    seen: list[object] = []
    store.commit(Commit([make_entry("Page Viewed")]), NOW)
    project(store, projected=lambda: seen.append(store.cursor(PROJECTOR)))

    assert seen == [item.position for item in store.read(None, 10, derived=False)]


def test_step_says_whether_there_is_more(store: Store, make_entry: MakeEntry) -> None:
    """A step that folded something asks to be called again; one that found nothing waits."""
    projector = project(store)
    store.commit(Commit([make_entry("Email Opened")]), NOW)

    assert projector.step() == 0.0
    assert projector.step() is None


def test_rules_with_conditions_survive_a_rebuild(store: Store, make_entry: MakeEntry) -> None:
    """State of rules with `after` and `where` is the same after a rebuild."""
    journey = Journey(
        key="j",
        version=1,
        stages=[
            Stage("a", enter=[Rule("X", where={"k": ["v"]})]),
            Stage("b", enter=[Rule("X", after="Y")]),
        ],
    )
    for number, name in enumerate(["X", "Y", "X", "X"]):
        store.commit(Commit([make_entry(name, {"k": "v"}, at=number)]), NOW)
        project(store, journey)
    state = whole_state(store)
    assert len(derived(store)) == 2

    projector = project(store, journey)
    projector.rebuild()
    finish(projector)

    assert whole_state(store) == state
