"""
The reader that watches steps by the day, in a thread of its own.

When a day is over it reads what the Log has got since, keeps what customers did by the day, seals
the days that are over, and has the anomaly rule look at them.
No fold waits for it, and nobody who asks for a report.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import attrs

from journeykit.insight.evaluation import Evaluation
from journeykit.insight.gathering import Meta, Reader
from journeykit.insight.judging import MEASURES, Judge, kept, without
from journeykit.insight.sealing import SUMS, TRIALS, day_key, pieces, places, sealed, stale
from journeykit.insight.trials import DAY
from journeykit.insight.visits import Day, by_customer, encoded, merged
from journeykit.journeys.identity import LINKS
from journeykit.journeys.segments import GONE, SALT, hashed
from journeykit.model import jsonbytes
from journeykit.store.protocol import PROJECTOR, WATCHER, Projection

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from journeykit.insight.watch import Watch
    from journeykit.model.event import Entry, Stored
    from journeykit.store.protocol import Store

#: What it knows of itself; parts of days; customer and what an `after` waits for → since when.
META: Final = ("watch", "meta")
PARTS: Final = "watch_parts"
DONE: Final = "watch_done"

#: Events read at once, and the most rows that are kept in memory before they are written.
_PAGE: Final = 2000
_MOST_ROWS: Final = 50_000

#: A day in more parts than this is written anew as one.
_MOST_PARTS: Final = 8

#: How long days are kept, and how many.
KEPT_DAYS: Final = 401

#: How many keys are removed at once.
_SLICE: Final = 1000

#: How long a slice of work takes at least, and how long it rests at most, in seconds.
_SLICE_SECONDS: Final = 0.01
_LONGEST_REST: Final = 0.1


class Watcher:
    """
    Watches the steps of customers.

    Args:
        watch: Returns what to watch.

        now: The clock, in microseconds.

        told: Called when something was derived.

        right: Held while writing; raises in a thread that was abandoned.
    """

    #: It has its own pace.
    filled = True

    def __init__(
        self,
        store: Store,
        watch: Callable[[], Watch],
        *,
        now: Callable[[], int],
        told: Callable[[], None] = lambda: None,
        right: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._store = store
        self._declared = watch
        self._now = now
        self._told = told
        self.right = right
        #: Set by whoever waits: read now, whatever the time, and do not rest.
        self.asked = self._answers = False
        self._work: Iterator[None] | None = None
        self._meta: Meta | None = None
        self._place: Any = None
        #: Who is somebody else, and the days that were sealed, in the work at hand.
        self._people: dict[str, str | None] = {}
        self._resealed: list[int] = []

    def forget(self) -> None:
        """Read everything anew: somebody else may have led meanwhile."""
        self._work = self._meta = None

    def step(self) -> float | None:
        """Do a slice of work; returns the seconds until there is more to do."""
        if self._work is None:
            if not (self.asked or self._is_due()):
                return self._until_tomorrow()
            # Who asks meanwhile is not answered by what was read before.
            self._work, self._answers = self._run(), self.asked
        began = time.monotonic()
        try:
            while time.monotonic() - began < _SLICE_SECONDS:
                if next(self._work, self) is self:
                    self._work, self.asked = None, self.asked and not self._answers
                    return 0.0
        except BaseException:
            self.forget()
            raise
        # As long as it has worked, so that it takes half of a processor at most.
        return 0.0 if self.asked else min(time.monotonic() - began, _LONGEST_REST)

    def _today(self) -> int:
        return self._now() // DAY

    def _is_due(self) -> bool:
        if self._meta is None:
            data = self._store.state(META)
            if data is None:
                return True
            self._meta = Meta(**jsonbytes.loads(data))
            self._place = self._store.cursor(WATCHER)
        if self._store.cursor(WATCHER) != self._place:
            # State was forgotten meanwhile, or another database was put there.
            return True
        return self._meta.boundary < self._today()

    def _until_tomorrow(self) -> float:
        return max(0.1, ((self._today() + 1) * DAY - self._now()) / 1e6)

    def _ready(self) -> list[int]:
        """Return the days that are over and wait to be sealed."""
        meta, horizon = self._known, self._horizon()
        return [day for day in meta.dirty if day <= horizon]

    def _horizon(self) -> int:
        """Return the last day that is over: by the clock, or as far as imported events go."""
        meta = self._known
        newest = meta.newest // DAY
        return min(newest, self._today() - 2) if meta.live else newest - 2

    @property
    def _known(self) -> Meta:
        assert self._meta is not None, "nothing is done before it is read"  # noqa: S101
        return self._meta

    # The work

    def _run(self) -> Iterator[None]:
        watch = self._declared()
        self._place = self._store.cursor(WATCHER)
        self._resealed.clear()
        data = self._store.state(META)
        self._meta = Meta(**jsonbytes.loads(data)) if data else None
        if self._meta is None or self._meta.declared != watch.digest:
            yield from self._begin(watch)
        yield from self._read(watch)
        yield from self._seal(watch)
        yield from self._evaluate(watch)

    def _begin(self, watch: Watch) -> Iterator[None]:
        """Forget what was made by other declarations, and begin at the beginning."""
        for space in SPACES:
            while keys := self._store.page(space, "", _SLICE):
                self._meta = None
                self._write({(space, key): None for key, _ in keys}, self._place)
                yield
        known = self._store.told_status(WATCHER)
        looked = jsonbytes.loads(known)["looked"] if known else None
        values: dict[str, list[str]] = {name: [] for name in watch.segments}
        self._meta = Meta(declared=watch.digest, silent=looked, values=values)
        self._write({SALT: jsonbytes.dumps(secrets.token_hex(16))}, None)

    @property
    def _salt(self) -> str:
        data = self._store.state(SALT)
        return jsonbytes.loads(data) if data else ""

    def _write(
        self,
        state: Mapping[tuple[str, str], bytes | None],
        position: Any,
        derived: Sequence[Entry] = (),
    ) -> None:
        meta = {META: jsonbytes.dumps(attrs.asdict(self._known))} if self._meta else {}
        projection = Projection(WATCHER, self._place, position, {**state, **meta}, derived=derived)
        with self.right():
            self._store.project(projection, self._now())
        self._place = position

    # Reading

    def _read(self, watch: Watch) -> Iterator[None]:
        meta, today = self._known, self._today()
        reader = Reader(watch, meta, self._salt)
        position = self._place
        # No further than it is known who is whom.
        until = self._store.cursor(PROJECTOR)
        while page := self._folded(position, until):
            for stored in page:
                reader.take(stored)
            position = page[-1].position
            if reader.rows >= _MOST_ROWS:
                self._write(self._parts(reader), position)
            yield
        meta.boundary = today
        self._write(self._parts(reader), position)

    def _folded(self, position: Any, until: Any) -> list[Stored]:
        if until is None:
            return []
        return [one for one in self._store.read(position, _PAGE) if one.position <= until]

    def _parts(self, reader: Reader) -> dict[tuple[str, str], bytes | None]:
        meta = self._known
        state = kept(self._store, reader.measured)
        days, done = reader.taken()
        for day, rows in sorted(days.items()):
            meta.serial += 1
            state[PARTS, f"{day_key(day)}/{meta.serial:08d}"] = encoded(rows)
        meta.dirty = sorted({*meta.dirty, *days, *(day - 1 for day in days)})
        known = self._store.states({DONE: done})[DONE]
        for who, marks in done.items():
            before = jsonbytes.loads(known[who]) if who in known else {}
            both = {mark: min(marks.get(mark, at), at) for mark, at in before.items()}
            state[DONE, who] = jsonbytes.dumps({**marks, **both})
        return state

    # Sealing

    def _seal(self, watch: Watch) -> Iterator[None]:
        salt = self._salt
        people = self._people = {
            hashed(salt, key): hashed(salt, jsonbytes.loads(data))
            for key, data in self._store.scan(LINKS)
        }
        yield
        gone = [key for key, _ in self._store.scan(GONE)]
        if gone:
            yield from self._remove(gone)
        oldest = self._horizon() - KEPT_DAYS
        for day in self._ready():
            state = self._sealed(watch, day, people) if day > oldest else self._forgotten(day)
            self._known.dirty.remove(day)
            self._resealed.append(day)
            self._write(state, self._place)
            yield
        yield from self._prune(oldest)

    def _prune(self, oldest: int) -> Iterator[None]:
        """Forget days that nobody looks at any more."""
        for space in (SUMS, PARTS):
            while page := self._store.page(space, "", 1):
                day = int(page[0][0].partition("/")[0])
                if day > oldest:
                    break
                self._write(self._forgotten(day), self._place)
                yield

    def _forgotten(self, day: int) -> dict[tuple[str, str], bytes | None]:
        state: dict[tuple[str, str], bytes | None] = dict.fromkeys(stale(self._store, day))
        return {**state, **{(PARTS, key): None for key in self._days_parts(day)}}

    def _sealed(
        self, watch: Watch, day: int, people: Mapping[str, str | None]
    ) -> dict[tuple[str, str], bytes | None]:
        state: dict[tuple[str, str], bytes | None] = dict.fromkeys(stale(self._store, day))
        parts = self._days_parts(day)
        rows = merged(parts.values(), people)
        if len(parts) > _MOST_PARTS:
            # As it was recorded: who is who may change.
            state |= {(PARTS, key): None for key in parts}
            state[PARTS, next(iter(parts))] = encoded(merged(parts.values()))
        if not rows:
            return state
        tomorrow = merged(self._days_parts(day + 1).values(), people)
        visits = by_customer({day: rows, day + 1: tomorrow}, watch.steps, places)
        before = self._done_by(visits, people) if watch.steps.marks else {}
        return {**state, **pieces(day, *sealed(watch.steps, day, visits, before))}

    def _done_by(
        self, who: Collection[str], people: Mapping[str, str | None]
    ) -> dict[str, dict[str, int]]:
        aliases = defaultdict(list)
        for alias, person in people.items():
            if person is not None and person in who:
                aliases[person].append(alias)
        wanted = [each for person in who for each in (person, *aliases[person])]
        known = self._store.states({DONE: wanted})[DONE]
        found: dict[str, dict[str, int]] = {}
        for alias, data in known.items():
            person = people.get(alias, alias)
            mine = found.setdefault(person or alias, {})
            for mark, at in jsonbytes.loads(data).items():
                mine[mark] = min(mine.get(mark, at), at)
        return found

    def _days_parts(self, day: int) -> dict[str, bytes]:
        return dict(self._store.scan(PARTS, f"{day_key(day)}/"))

    def _remove(self, gone: Sequence[str]) -> Iterator[None]:
        """Write every part anew that has anything of customers who were erased."""
        erased: dict[str, str | None] = dict.fromkeys(gone)
        after = ""
        while page := self._store.page(PARTS, after, 1):
            ((after, data),) = page
            left = merged([data], erased)
            if len(left) < len(merged([data])):
                day, new = int(after.partition("/")[0]), encoded(left)
                self._known.dirty = sorted({*self._known.dirty, day - 1, day})
                self._write({(PARTS, after): new}, self._place)
            yield
        state = without(self._store, gone)
        state |= {(space, key): None for key in gone for space in (GONE, DONE)}
        self._write(state, self._place)

    # Looking

    def _evaluate(self, watch: Watch) -> Iterator[None]:
        meta, newest = self._known, self._horizon()
        if not self._resealed and meta.looked is not None and meta.looked >= newest:
            return
        first = meta.looked is None
        if first and meta.silent is not None and meta.silent < newest:
            # As far as was looked before: what is found there is no news.
            yield from self._look(watch, meta.silent, silent=True)
        yield from self._look(watch, newest, silent=first and meta.silent is not None)

    def _look(self, watch: Watch, newest: int, *, silent: bool) -> Iterator[None]:
        meta = self._known
        days = newest - KEPT_DAYS, newest
        evaluation = Evaluation(
            self._store,
            watch,
            meta.values,
            days,
            since=meta.looked,
            rows=self._rows,
            told=meta.told,
        )
        yield
        state, derived = evaluation.look(set(self._resealed), silent=silent)
        judge = Judge(self._store, watch.book, KEPT_DAYS)
        since = newest - KEPT_DAYS if meta.looked is None else meta.looked
        for day in range(since + 1, newest + 1):
            more, tells = judge.judge(day)
            state |= more
            derived += [] if silent else tells
        meta.looked, meta.told = newest, []
        self._write(state, self._place, derived)
        # Behind what was told, so that nothing is taken for told that was not.
        self._store.tell_status(WATCHER, jsonbytes.dumps({"looked": newest}))
        if derived:
            self._told()
        yield

    def _rows(self, day: int) -> Day:
        return merged(self._days_parts(day).values(), self._people)


#: What is kept under these is made anew where it was made by other declarations.
SPACES: Final = (PARTS, DONE, SUMS, TRIALS, MEASURES)
