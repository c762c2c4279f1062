from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit import hookimpl
from journeykit.capture import MemoryTail
from journeykit.capture.records import pack
from journeykit.capture.redaction import Redactor
from journeykit.capture.spool import Spool
from journeykit.config import Redaction
from journeykit.costs import costs_of
from journeykit.exceptions import StoreBusy, Superseded
from journeykit.journeys import declare, folds, plans
from journeykit.journeys.run import Run
from journeykit.model import Entry, Event, Journey
from journeykit.plugins import Plugins
from journeykit.store import committer as module
from journeykit.store.committer import Committer
from journeykit.store.memory import MemoryStore
from journeykit.store.projector import Projector
from journeykit.store.protocol import Store
from journeykit.store.sqlite import SQLiteStore

MakeEntry = Callable[..., Entry]


class Bench:
    """A tail and the committer that empties it."""

    def __init__(self, store: Any, *plugins: object, limit: int = 2**26, **more: Any) -> None:
        self.store = store
        self.tail = MemoryTail(limit)
        self.plugins = Plugins(plugins, installed=False)
        more = {"now": lambda: 1, **more}
        self.committer = Committer(store, self.tail, self.plugins, **more)
        self.committer.hurry = True

    def add(self, *entries: Entry) -> Bench:
        """Put *entries* into the tail."""
        for entry in entries:
            assert self.tail.append(pack(entry)) is None
        return self

    def run(self) -> Bench:
        """Commit until nothing is left, however busy the store is."""
        while True:
            try:
                if self.committer.step() is None:
                    return self
            except StoreBusy:
                continue

    def properties(self) -> list[dict[str, Any]]:
        """Return the properties of the events in the Log."""
        return [dict(item.event().properties) for item in self.store.read(None, 10_000)]

    def ids(self) -> list[str]:
        """Return the ids in the Log."""
        return [item.entry.id for item in self.store.read(None, 10_000)]


class Enricher:
    """Adds the properties that it was built with."""

    def __init__(self, name: str, added: Any) -> None:
        self.name = name
        self.added = added

    @hookimpl
    def enrich_event(self) -> Any:
        """Add them, or raise them."""
        if isinstance(self.added, Exception):
            raise self.added
        return self.added


class Guard:
    """Withholds tests, and cannot tell about what is odd until it was mended."""

    name = "guard"
    mended = False

    @hookimpl
    def accept_event(self, event: Event) -> bool | None:
        """Tell, or fail."""
        if event.properties.get("odd") and not self.mended:
            raise RuntimeError("cannot tell")
        return False if event.properties.get("test") else None


# Enrichment


def test_without_plugins_bodies_stay_as_they_are(store: Store, make_entry: MakeEntry) -> None:
    """An event that no plugin wants to see reaches the Log byte by byte."""
    entry = make_entry("X", {"a": 1}, flags=3)
    Bench(store).add(entry).run()

    assert [item.entry for item in store.read(None, 5)] == [entry]


def test_enrichment_is_merged_and_the_app_wins(store: Store, make_entry: MakeEntry) -> None:
    """Plugins add properties; the app's own keep their value, and the first plugin goes first."""
    one, two = Enricher("one", {"x": 1, "country": "NL"}), Enricher("two", {"x": 2, "y": 3, "a": 9})
    bench = Bench(store, one, two).add(make_entry("X", {"a": "app"})).run()

    assert bench.properties() == [{"a": "app", "x": 1, "country": "NL", "y": 3}]
    (item,) = store.read(None, 1)
    assert item.entry.name == "X"
    assert item.event().source == {"app": "tests", "host": "localhost"}


@pytest.mark.parametrize(
    "rubbish",
    [RuntimeError("no"), 7, ["x"], {1: "x"}, {"x": object()}, {"x": [[object()]]}, None, {}],
    ids=repr,
)
def test_rubbish_from_one_plugin_costs_no_other(
    store: Store, make_entry: MakeEntry, rubbish: object
) -> None:
    """A plugin that fails or adds what cannot be written is skipped; the others' additions stay."""
    bench = Bench(store, Enricher("bad", rubbish), Enricher("good", {"y": 1}))
    bench.add(make_entry("X", {"a": 1})).run()

    assert bench.properties() == [{"a": 1, "y": 1}]
    assert store.parked() == []


def test_enrichment_that_makes_an_event_too_large_is_left_out(
    store: Store, make_entry: MakeEntry
) -> None:
    """An event stays as it came if what is added would make it larger than an event may be."""
    bench = Bench(store, Enricher("fat", {"x": "y" * 40_000})).add(make_entry("X", {"a": 1})).run()

    assert bench.properties() == [{"a": 1}]


# Acceptance


def without_costs(store: Store) -> dict[str, int]:
    """Return the counters, but for what the hooks have cost."""
    costs = ("asked:", "failed:", "micros:")
    return {name: n for name, n in store.counters().items() if not name.startswith(costs)}


def test_withheld_events_are_counted(store: Store, make_entry: MakeEntry) -> None:
    """What a plugin withholds is counted under its name and is nowhere else."""
    bench = Bench(store, Guard())
    bench.add(make_entry(id="a"), make_entry("X", {"test": True}), make_entry(id="b")).run()

    assert bench.ids() == ["a", "b"]
    assert store.parked() == []
    assert without_costs(store) == {"events": 2, "withheld:guard": 1}


def test_plugin_sees_what_was_added(store: Store, make_entry: MakeEntry) -> None:
    """A plugin decides about an event with the properties that others have added."""
    bench = Bench(store, Guard(), Enricher("tester", {"test": True})).add(make_entry("X")).run()

    assert bench.ids() == []


@pytest.mark.parametrize("answer", ["yes", 0, 1, object()], ids=repr)
def test_unclear_answer_parks(store: Store, make_entry: MakeEntry, answer: object) -> None:
    """An answer that is neither true, false nor none is no answer: the event is parked."""

    class Unclear:
        name = "unclear"

        @hookimpl
        def accept_event(self) -> object:
            return answer

    Bench(store, Unclear()).add(make_entry(id="a")).run()

    assert [(item.owner, item.entry.id) for item in store.parked()] == [("plugin:unclear", "a")]


def test_failing_plugin_parks_and_others_hear_of_it(store: Store, make_entry: MakeEntry) -> None:
    """An event on which a plugin fails is set aside under its name, as it was then."""
    heard = []

    class Listener:
        @hookimpl
        def event_parked(self, event: Event, sink: str, reason: str) -> None:
            heard.append((event.id, sink, reason))

    bench = Bench(store, Guard(), Listener(), Enricher("more", {"y": 1}))
    bench.add(make_entry("X", {"odd": True}, id="odd"), make_entry(id="fine")).run()

    (parked,) = store.parked()
    assert (parked.owner, parked.reason) == ("plugin:guard", "RuntimeError: cannot tell")
    assert parked.entry.event().properties == {"odd": True, "y": 1}
    assert heard == [("odd", "plugin:guard", "RuntimeError: cannot tell")]
    assert bench.ids() == ["fine"]


def test_tripped_plugin_parks(store: Store, make_entry: MakeEntry) -> None:
    """A plugin that is not asked any more cannot accept: its events are parked."""
    bench = Bench(store, Guard())
    loaded = bench.plugins.named("guard")
    assert loaded is not None
    loaded.tripped = "accept_event"
    bench.add(make_entry(id="a")).run()

    assert [item.reason for item in store.parked("plugin:guard")] == ["tripped in accept_event"]


def test_replay_gives_the_same_figures_as_without(store: Store, make_entry: MakeEntry) -> None:
    """Events that were parked and replayed add up to what they would have added up to at once."""
    journey = Journey(key="shop", version=1, extends="ecommerce")
    compiled = plans(declare([journey], [], {})[0])
    names = ["Page Viewed", "Product Viewed", "Order Completed", "Product Shared", "Signed In"]
    entries = [
        make_entry(name, {"odd": number % 2 == 0, "test": name == "Product Shared"}, at=number)
        for number, name in enumerate(names)
    ]

    def figures(kept: Store) -> list[tuple[str, Any]]:
        folding = folds(compiled, Plugins(installed=False))
        projector = Projector(kept, folding, declaration="d", now=lambda: 1)
        while projector.step() is not None:
            pass
        # Runs know a position, which each store chooses by itself.
        runs = [(key, Run.decode(data)) for key, data in kept.scan("instance")]
        return [*runs, *kept.scan("figures"), *kept.scan("total")]

    guard = Guard()
    bench = Bench(store, guard).add(*entries).run()
    assert len(store.parked()) == 3
    guard.mended = True
    assert store.replay("plugin:guard") == 3
    bench.run()

    fine = Bench(MemoryStore(), mended := Guard())
    mended.mended = True
    fine.add(*entries).run()
    assert sorted(bench.ids()) == sorted(fine.ids())
    assert figures(store) == figures(fine.store)
    assert store.parked() == []
    assert without_costs(store) == {"events": 4, "replayed": 3, "withheld:guard": 1}
    # Five at once, and three of them again.
    assert costs_of("guard", store.counters())["accept_event"][:2] == (8, 3)


def test_replay_that_fails_again_stays_parked(store: Store, make_entry: MakeEntry) -> None:
    """What fails again is not tried for ever, and other owners' events are left alone."""
    bench = Bench(store, Guard()).add(make_entry("X", {"odd": True}, id="odd")).run()
    number = store.parked()[0].number
    store.replay()
    bench.run()

    (parked,) = store.parked()
    assert (parked.number, parked.replay) == (number, False)
    assert bench.ids() == []


# Groups, and stores that fail


def test_events_wait_for_company(
    monkeypatch: pytest.MonkeyPatch, store: Store, make_entry: MakeEntry
) -> None:
    """A few events wait for others, for a moment; a full group does not, nor does a flush."""
    monkeypatch.setattr(module, "GROUP_EVENTS", 3)
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    bench = Bench(store)
    bench.committer.hurry = False
    assert bench.committer.step() is None

    bench.add(make_entry(id="a"))
    assert bench.committer.step() == pytest.approx(module.GROUP_SECONDS)
    now += module.GROUP_SECONDS / 2
    bench.add(make_entry(id="b"))
    assert bench.committer.step() == pytest.approx(module.GROUP_SECONDS / 2)
    assert bench.ids() == []
    now += module.GROUP_SECONDS
    assert bench.committer.step() == 0.0
    assert bench.ids() == ["a", "b"]

    bench.add(*(make_entry(id=event) for event in "cdef"))
    assert bench.committer.step() == 0.0
    assert bench.ids() == list("abcde")
    bench.committer.hurry = True
    assert bench.committer.step() == 0.0
    assert bench.ids() == list("abcdef")
    assert len(bench.tail) == 0


def test_after_an_event_it_looks_by_itself(
    monkeypatch: pytest.MonkeyPatch, store: Store, make_entry: MakeEntry
) -> None:
    """For a while after an event nobody need wake the committer; then it sleeps."""
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    bench = Bench(store)
    bench.add(make_entry(id="a"))
    assert bench.committer.step() == 0.0
    bench.committer.hurry = False
    assert bench.committer.step() == pytest.approx(module.GROUP_SECONDS)
    bench.add(make_entry(id="b"))
    now += module.GROUP_SECONDS
    assert bench.committer.step() == 0.0
    assert bench.ids() == ["a", "b"]
    assert bench.committer.step() == pytest.approx(module.GROUP_SECONDS)
    now += module.LINGER_SECONDS
    assert bench.committer.step() is None


def test_commit_is_announced_and_counted(store: Store, make_entry: MakeEntry) -> None:
    """After each commit the readers are told, and repeated events are counted as such."""
    told: list[int] = []
    bench = Bench(store, committed=lambda: told.append(len(store.read(None, 10))))
    bench.add(make_entry(id="a"), make_entry(id="a"), make_entry(id="b")).run()

    assert told == [2]
    assert (bench.committer.added, bench.committer.repeated) == (2, 1)


class Flaky:
    """A store that fails now and then, before a commit or behind it."""

    def __init__(self, store: Store, failures: list[str]) -> None:
        self._store = store
        self._failures = failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, *arguments: Any) -> Any:
        """Commit, unless it is time to fail."""
        failure = self._failures.pop() if self._failures else "none"
        if failure == "before":
            raise StoreBusy("busy")
        answer = self._store.commit(*arguments)
        if failure == "behind":
            raise StoreBusy("busy")
        return answer


@given(
    groups=st.lists(st.integers(1, 6), max_size=6),
    failures=st.lists(st.sampled_from(["before", "behind", "none"]), max_size=12),
)
def test_failing_store_loses_nothing(
    make_entry: MakeEntry, groups: list[int], failures: list[str]
) -> None:
    """While the store fails events wait; then each is in the Log once, in the order accepted."""
    bench = Bench(Flaky(MemoryStore(), failures))
    expected = []
    for size in groups:
        entries = [make_entry() for _ in range(size)]
        expected += [entry.id for entry in entries]
        bench.add(*entries)
        try:
            bench.committer.step()
        except StoreBusy:
            assert len(bench.tail) >= size
    bench.run()

    assert bench.ids() == expected
    assert bench.store.counters()["events"] == len(expected)


def test_full_tail_refuses_until_the_store_is_back(make_entry: MakeEntry) -> None:
    """While the store fails the tail fills up and refuses; what it holds is not lost."""
    failures = ["before"] * 5
    bench = Bench(Flaky(MemoryStore(), failures), limit=5_000)
    accepted = []
    while bench.tail.append(pack(entry := make_entry())) is None:
        accepted.append(entry.id)
    with pytest.raises(StoreBusy):
        bench.committer.step()
    assert bench.tail.append(pack(make_entry())) == "full"

    bench.run()
    assert bench.ids() == accepted
    assert bench.tail.append(pack(make_entry())) is None


def test_abandoned_thread_commits_nothing(store: Store, make_entry: MakeEntry) -> None:
    """Without the right to commit, nothing is written and the events stay in the tail."""

    def no_right() -> Any:
        raise Superseded("abandoned")

    bench = Bench(store, right=no_right).add(make_entry(id="a"))
    with pytest.raises(Superseded):
        bench.committer.step()
    assert bench.ids() == []
    assert len(bench.tail) == 1


def test_files_that_are_gone_are_forgotten(tmp_path: Path, make_entry: MakeEntry) -> None:
    """How far a file was read is forgotten once the file is gone, with the process it belonged to."""
    store = SQLiteStore(tmp_path / "store.db")
    for name in ("one", "two"):
        tail = Spool(tmp_path / "spool", 10**6)
        assert tail.append(pack(make_entry(id=name))) is None
        committer = Committer(store, tail, Plugins(installed=False), now=lambda: 1)
        committer.hurry = True
        while committer.step() is not None:
            pass
        (left,) = store.watermarks()
        assert (tmp_path / "spool" / left).exists()
        tail.close()
        assert not (tmp_path / "spool" / left).exists()
    store.close()


# Redaction


CARD, MAIL = "4111 1111 1111 1111", "ada@example.com"


def _rows(store: Store) -> str:
    """Return everything that the Log and the parked events hold."""
    parked = store.parked()
    bodies = [item.entry.body for item in (*store.read(None, 100), *parked)]
    return repr((bodies, [item.reason for item in parked]))


def test_nothing_secret_reaches_the_log(store: Store, make_entry: MakeEntry) -> None:
    """What has a secret form is taken out of each event, and counted with the events."""
    bench = Bench(store)
    bench.add(make_entry("X", {"a": f"{CARD}, {MAIL}"}), make_entry("X", {"b": [MAIL]})).run()

    assert bench.properties() == [{"a": "[redacted], [redacted]"}, {"b": ["[redacted]"]}]
    assert store.counters() == {"events": 2, "redacted:card": 1, "redacted:email": 2}
    assert bench.committer.withheld == 0


def test_plugins_see_what_the_shop_said(store: Store, make_entry: MakeEntry) -> None:
    """The shop's plugins are asked before redaction; what they add is redacted like the rest."""
    seen = []

    class Looker:
        name = "looker"

        @hookimpl
        def enrich_event(self, event: Event) -> dict[str, Any]:
            seen.append(event.properties["a"])
            return {"more": f"of {MAIL}", "api_key": "k", "deep": [{"Password": "p"}]}

    bench = Bench(store, Looker()).add(make_entry("X", {"a": MAIL})).run()

    assert seen == [MAIL]
    assert bench.properties() == [
        {
            "a": "[redacted]",
            "more": "of [redacted]",
            "api_key": "[redacted]",
            "deep": [{"Password": "[redacted]"}],
        }
    ]


def test_a_parked_event_and_its_reason_are_redacted(store: Store, make_entry: MakeEntry) -> None:
    """What a plugin fails on is parked without secrets, and so is what the plugin said of it."""
    heard = []

    class Fails:
        name = "fails"
        mended = False

        @hookimpl
        def accept_event(self, event: Event) -> bool | None:
            if not self.mended:
                raise ValueError(f"cannot look up {event.properties['a']}")
            return None

        @hookimpl
        def event_parked(self, event: Event, sink: str, reason: str) -> None:
            heard.append((event.properties["a"], reason))

    plugin = Fails()
    bench = Bench(store, plugin).add(make_entry("X", {"a": MAIL}, id="a")).run()

    assert MAIL not in _rows(store)
    assert heard == [("[redacted]", "ValueError: cannot look up [redacted]")]
    plugin.mended = True
    store.replay()
    bench.run()
    assert bench.properties() == [{"a": "[redacted]"}]
    assert store.counters()["redacted:email"] == 1


def test_what_a_dead_process_left_is_redacted(tmp_path: Path, make_entry: MakeEntry) -> None:
    """Events are redacted by whoever commits them."""
    store = SQLiteStore(tmp_path / "store.db")
    store.open()
    left = Spool(store.spool, 2**20)
    assert left.append(pack(make_entry("X", {"a": MAIL}))) is None
    left.close()
    tail = Spool(store.spool, 2**20)
    committer = Committer(store, tail, Plugins((), installed=False), now=lambda: 1)
    committer.hurry = True
    while committer.step() is not None:
        pass
    tail.close()

    assert [item.event().properties for item in store.read(None, 5)] == [{"a": "[redacted]"}]
    store.close()


def test_redaction_can_be_left_out(store: Store, make_entry: MakeEntry) -> None:
    """Where the shop asks for no patterns, values stay as they are."""
    bench = Bench(store, redactor=Redactor(Redaction(patterns=())))
    bench.add(make_entry("X", {"a": MAIL})).run()

    assert bench.properties() == [{"a": MAIL}]
