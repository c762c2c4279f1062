"""The committer: takes what the tail holds, asks the plugins, and writes it to the Log."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import attrs

from journeykit import native
from journeykit.capture.encode import Unencodable, encode
from journeykit.capture.redaction import Redactor
from journeykit.capture.tail import Taken
from journeykit.capture.tracker import EVENT_BYTES
from journeykit.exceptions import Outdated, StoreReplaced
from journeykit.model import jsonbytes
from journeykit.model.event import Entry
from journeykit.plugins import PluginFailure
from journeykit.store.protocol import Commit, Parking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager

    from journeykit.capture.tail import Tail
    from journeykit.plugins import Plugins
    from journeykit.store.protocol import Store

#: The most events of one commit, and how long the first of them waits for others, in seconds.
GROUP_EVENTS: Final = 500
GROUP_SECONDS: Final = 0.02

#: For so long after the last event the committer looks by itself, in seconds: waking it costs the
#: caller a system call, which one who tracks again and again need not pay.
LINGER_SECONDS: Final = 0.5

#: How often to look for what dead processes have left behind, in seconds.
LOOK_SECONDS: Final = 1.0

#: How often to forget how far files were read that are gone, in seconds: a process that ends leaves
#: the last of its own.
PRUNE_SECONDS: Final = 3600.0

PLUGIN_OWNER: Final = "plugin:"

_WITHHELD: Final = "withheld:"


class Committer:
    """
    Empties *tail* into *store*.

    Args:
        plugins: Asked about each event, if one of them wants to be.

        redactor: Takes out what has a secret form, whatever is to be kept.

        now: The clock that stamps `recorded_at`, in microseconds.

        committed: Called after each commit.

        right: Held while committing; raises in a thread that was abandoned.
    """

    def __init__(  # noqa: PLR0913 - each is given by the pipeline, and replaced in some test
        self,
        store: Store,
        tail: Tail,
        plugins: Plugins,
        *,
        now: Callable[[], int],
        redactor: Redactor | None = None,
        committed: Callable[[], None] = lambda: None,
        right: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._store = store
        self._tail = tail
        self._plugins = plugins
        self._now = now
        self._redactor = redactor or Redactor()
        self._committed = committed
        self.right = right
        self._asks = plugins.implements("enrich_event") or plugins.implements("accept_event")
        self._gathering: float | None = None
        self._linger_until = 0.0
        self._next_look = self._next_prune = 0.0
        self._shut_out = False
        #: Entries that this process added to the Log, and those that were there already.
        self.added = 0
        self.repeated = 0
        #: Entries that this process set aside, and those that a plugin withheld.
        self.parked = 0
        self.withheld = 0
        #: Entries that came too late, for somebody was erased since.
        self.erased = 0
        #: Set by `flush()`: commit what there is, without waiting for more.
        self.hurry = False
        #: Set when somebody was erased: leave no bytes of what was committed behind.
        self.turn = False

    def step(self) -> float | None:
        """Commit one group; returns the seconds until there may be another, None for unknown."""
        with self.right():
            mended = self._store.mend(self._now())
        if mended:
            self._committed()
        try:
            return self._step()
        except StoreReplaced:
            # What the other database had may be lost, and the tail may still have it.
            self._tail.rewind()
            raise

    def _step(self) -> float | None:
        with native.unforked():
            if self.turn:
                self.turn = False
                self._tail.turn()
            self._tail.tend()
        if self.hurry or time.monotonic() >= self._next_look:
            # An orphan that fails must not keep this process's own events waiting.
            self._next_look = time.monotonic() + LOOK_SECONDS
            if self._adopt():
                self._next_look = 0.0
            else:
                self._prune()
        waiting, now = len(self._tail), time.monotonic()
        if not waiting and now < self._linger_until and self._next_look and not self.hurry:
            # Who comes meanwhile will have waited long enough by the next look.
            self._gathering = now
            return GROUP_SECONDS
        if not waiting:
            self._gathering = None
            return self._replay() if self._next_look else 0.0
        if waiting < GROUP_EVENTS and not self.hurry:
            started = self._gathering = self._gathering or now
            left = started + GROUP_SECONDS - now
            if left > 0:
                return left
        self._gathering = None
        self._commit(self._tail.take(GROUP_EVENTS))
        self._linger_until = time.monotonic() + LINGER_SECONDS
        return 0.0

    def _commit(self, taken: Taken) -> None:
        admitted = self._admit(taken.entries)
        owed = self._plugins.costs.owed(projecting=False)
        commit = attrs.evolve(
            admitted,
            watermarks=taken.watermarks,
            again=taken.again,
            counts={**admitted.counts, **owed.counts},
        )
        with self.right():
            committed = self._store.commit(commit, self._now())
            self._tail.release(taken.mark)
        self._plugins.costs.settle(owed)
        self.added += committed.added
        self.repeated += committed.repeated
        self.erased += committed.erased
        self.parked += len(commit.parked)
        self.withheld += sum(
            count for name, count in commit.counts.items() if name.startswith(_WITHHELD)
        )
        self._announce(commit.parked)

    def _adopt(self) -> bool:
        """Commit one group that a dead process has left behind; returns if there may be more."""
        if self._shut_out:
            self._check_writer()
        with native.unforked():
            orphan = next(iter(self._tail.orphans()), None)
        if orphan is None:
            return False
        self._check_writer()
        # Asked again for each group: an abandoned thread may have committed some of it.
        place = self._store.watermark(orphan.name)
        entries, behind = orphan.take(place, GROUP_EVENTS)
        if entries:
            again = orphan.again(place)
            self._commit(Taken(entries, None, ((orphan.name, behind),), again))
            return True
        with self.right(), native.unforked():
            if self._tail.settle(orphan) and place is not None:
                self._store.commit(Commit(watermarks=((orphan.name, None),)), self._now())
        return True

    def _prune(self) -> None:
        if time.monotonic() < self._next_prune:
            return
        self._next_prune = time.monotonic() + PRUNE_SECONDS
        gone = self._tail.gone(self._store.watermarks())
        if gone:
            with self.right():
                self._store.commit(Commit(watermarks=[(name, None) for name in gone]), self._now())

    def _check_writer(self) -> None:
        """Leave orphans to a newer version that shuts this one out: held here, they would wait."""
        try:
            self._store.check_writer()
            self._shut_out = False
        except Outdated:
            self._shut_out = True
            raise
        finally:
            self._tail.adopt(allowed=not self._shut_out)

    def _replay(self) -> float | None:
        parked = [
            parked
            for parked in self._store.parked(replay=True, limit=GROUP_EVENTS)
            if parked.owner.startswith(PLUGIN_OWNER)
        ]
        if not parked:
            return None
        commit = self._admit([item.entry for item in parked])
        again = {parking.entry.id: parking.reason for parking in commit.parked}
        owed = self._plugins.costs.owed(projecting=False)
        settled = [item.number for item in parked if item.entry.id not in again]
        failed = {item.number: again[item.entry.id] for item in parked if item.entry.id in again}
        with self.right():
            counts = {**commit.counts, **owed.counts}
            self._store.commit(Commit(commit.entries, (), counts, settled), self._now())
            self._plugins.costs.settle(owed)
            self._store.settle((), failed)
        self._committed()
        return 0.0

    def _admit(self, entries: Iterable[Entry]) -> Commit:
        """Enrich, accept, redact: plugins of the shop see what the shop has said."""
        if not self._asks:
            redacted, counts = self._redactor.entries(entries)
            return Commit(redacted, counts=counts)
        accepted: list[Entry] = []
        failed: list[tuple[str, Entry, str]] = []
        withheld = Counter[str]()
        for entry in entries:
            enriched = self._enrich(entry)
            try:
                withheld_by = self._plugins.accept_event(enriched.event())
            except PluginFailure as failure:
                reason = self._redactor.text(str(failure))
                failed.append((PLUGIN_OWNER + failure.plugin, enriched, reason))
                continue
            if withheld_by is None:
                accepted.append(enriched)
            else:
                withheld[_WITHHELD + withheld_by] += 1
        kept, counts = self._redactor.entries(accepted)
        aside, more = self._redactor.entries(entry for _, entry, _ in failed)
        parked = [
            Parking(owner, entry, reason)
            for (owner, _, reason), entry in zip(failed, aside, strict=True)
        ]
        return Commit(kept, parked, withheld + counts + more)

    def _enrich(self, entry: Entry) -> Entry:
        added = self._plugins.enrich_event(entry.event())
        if not added:
            return entry
        wire = jsonbytes.loads(entry.body)
        plain = jsonbytes.loads(encode(_encodable(added)))
        self._redactor.clear(plain)
        wire["properties"] = {**plain, **wire["properties"]}
        body = encode(wire)
        return entry._replace(body=body) if len(body) <= EVENT_BYTES else entry

    def _announce(self, parked: Iterable[Parking]) -> None:
        self._committed()
        for owner, entry, reason in parked:
            self._plugins.event_parked(entry.event(), owner, reason)


def _encodable(added: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of *added* has a JSON form: one plugin's mistake costs no other's properties."""
    kept = {}
    for key, value in added.items():
        with contextlib.suppress(Unencodable):
            encode({key: value})
            kept[key] = value
    return kept
