"""The sink: upserts records by external id, 200 a request."""

from __future__ import annotations

import functools
import logging
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from journeykit import Batch, DeliveryError, ErasureResult, Rejection
from journeykit.delivery.http import HttpSink, HttpTimeouts
from journeykit.model import jsonbytes
from journeykit_salesforce.errors import Fault, answer_fault, row_fault
from journeykit_salesforce.login import Login
from journeykit_salesforce.records import Recorder, Row
from journeykit_salesforce.usage import Usage

if TYPE_CHECKING:
    import httpx

    from journeykit import Customer
    from journeykit_salesforce.settings import SalesforceSettings

#: The most records of one request.
MOST_ROWS: Final = 200

#: How long to wait when the org has no requests left, in seconds.
_NO_REQUESTS_LEFT: Final = 3600.0

#: What a proxy may say of one request and not of another.
_TOO_LARGE: Final = frozenset({413, 414, 431})

#: Of how many events that are held back it is remembered which of their records were written.
_MOST_REMEMBERED: Final = 5_000

_TYPE_AND_FIELD: Final = re.compile(
    r"No such column '([A-Za-z][\w.]{0,80})' on (?:sobject of type|entity) '?(\w{1,80})"
)

_log = logging.getLogger("journeykit")


class SalesforceSink(HttpSink):
    """
    Writes the records that a mapping makes of events.

    Events that make the same record are written as one, in their order.
    A row that is refused sets back its events alone; one that is locked comes again.
    What the org says of everything alike is an outage: nothing is parked for it.
    """

    def __init__(
        self,
        name: str,
        settings: SalesforceSettings,
        *,
        timeouts: HttpTimeouts | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(name, timeouts=timeouts, now=now)
        self.rest = settings.every.total_seconds()
        self._settings = settings
        self._recorders = [Recorder(mapping) for mapping in settings.mappings]
        self._login = Login(settings, now)
        self._usage = Usage(settings.api_share, now)
        self._base = f"/services/data/v{settings.api_version}"
        #: Event → the places of the mappings whose record of it was written while another was not.
        self._written: OrderedDict[str, set[int]] = OrderedDict()

    def requests(self, batch: Batch, client: httpx.Client) -> Iterator[httpx.Request]:
        """Return nothing: requests depend on the answers to those before."""
        yield from ()

    def deliver(self, batch: Batch) -> list[Rejection]:
        """
        Write the records that *batch* makes; returns the events whose records were refused.

        Raises:
            DeliveryError: The org takes nothing at present.
        """
        work = _Work(batch, self._recorders, self._written)
        if self._settings.dry_run:
            _log.info("journeykit.salesforce_dry_run", extra={"records": work.counts()})
            return work.rejections()
        try:
            for place, recorder in enumerate(self._recorders):
                self._write(recorder, work.rows[place], work, place)
        except DeliveryError as error:
            error.taken = frozenset(work.taken())
            raise
        finally:
            self._remember(work)
        return work.rejections()

    def erase(self, customer: Customer) -> ErasureResult:
        """Delete the records of *customer* of the mappings that say so."""
        from journeykit_salesforce.erasing import erase

        if self._settings.dry_run:
            return ErasureResult("erased", "nothing was sent: dry_run is on")
        return erase(self._settings.mappings, self.call, customer)

    # Writing

    def _write(self, recorder: Recorder, rows: Sequence[Row], work: _Work, place: int) -> None:
        for start in range(0, len(rows), MOST_ROWS):
            self._write_chunk(recorder, rows[start : start + MOST_ROWS], work, place)

    def _write_chunk(
        self, recorder: Recorder, rows: Sequence[Row], work: _Work, place: int
    ) -> None:
        """Write up to 200 rows, and once more those that fail for what can be left out."""
        orphans: list[Row] = []
        apart: list[Row] = []
        for row, fault in zip(rows, self._upsert(recorder, rows), strict=True):
            if fault is None:
                work.done(row, place)
            elif fault.is_orphan and recorder.links and recorder.mapping.orphans:
                orphans.append(row)
            elif not self._settle(recorder, row, fault, work, place):
                apart.append(row)
        if orphans:
            answers = self._upsert(recorder, orphans, linked=False)
            for row, fault in zip(orphans, answers, strict=True):
                if fault is None:
                    work.done(row, place)
                elif not self._settle(recorder, row, fault, work, place):
                    apart.append(row)
        if apart:
            # One of the events that a record is made of is at fault: the others go on.
            halves = [row.halves() for row in apart]
            self._write(recorder, [first for first, _ in halves], work, place)
            self._write(recorder, [second for _, second in halves], work, place)

    def _settle(self, recorder: Recorder, row: Row, fault: Fault, work: _Work, place: int) -> bool:
        """Note what *fault* means for the events of *row*; False if that is to be found out."""
        if fault.is_of_the_org:
            raise DeliveryError(f"{recorder.object}: {fault.told()}", retry_after=_pause(fault))
        if fault.code == "REQUIRED_FIELD_MISSING" and not recorder.mapping.create:
            work.done(row, place)
        elif fault.is_lock or fault.is_race(recorder.key_field):
            work.refuse(row, f"{recorder.object}: {fault.told()}", retryable=True)
        elif len(row.parts) > 1:
            return False
        else:
            work.refuse(row, f"{recorder.object}: {fault.told()}", retryable=False)
        return True

    def _upsert(
        self, recorder: Recorder, rows: Sequence[Row], *, linked: bool = True
    ) -> list[Fault | None]:
        """Send *rows*; returns for each what is wrong with it, or None."""
        records = [recorder.body(row, linked=linked) for row in rows]
        path = f"/composite/sobjects/{recorder.object}/{recorder.key_field}"
        answers = self.call("PATCH", path, {"allOrNone": False, "records": records})
        if not isinstance(answers, list) or len(answers) != len(rows):
            raise DeliveryError(f"{self._settings.url}: its answer has not a row for each record")
        return [_fault(answer) for answer in answers]

    # Requests

    def call(self, method: str, path: str, body: object = None) -> Any:
        """
        Send a request to the org, signing in if need be; returns what it says.

        Raises:
            DeliveryError: No answer, or one that is no success.
        """
        self._usage.check()
        response = self._send(method, path, body)
        if response.status_code == 401:
            response = self._send(method, path, body)
        if not response.is_success:
            raise self._failure(response)
        if not response.content:
            return None
        try:
            return jsonbytes.loads(response.content)
        except ValueError:
            raise DeliveryError(f"{self._settings.url}: its answer is no JSON; check url") from None

    def _send(self, method: str, path: str, body: object) -> httpx.Response:
        session = self._login.session(self.client, self.exchange)
        request = self.client.build_request(
            method,
            f"{session.url}{self._base}{path}",
            content=None if body is None else jsonbytes.dumps(body),
            headers={
                "Authorization": f"Bearer {session.token}",
                "Content-Type": "application/json; charset=UTF-8",
                "Accept": "application/json",
            },
        )
        response = self.exchange(request)
        self._usage.note(response.headers.get("sforce-limit-info"))
        if response.status_code == 401:
            self._login.forget(session)
        return response

    def _failure(self, response: httpx.Response) -> DeliveryError:
        """Return what an answer that is no success means, by its code where it tells one."""
        told = self.failure(response)
        fault = answer_fault(response.content)
        where = f"{response.request.method} {self._settings.url}: HTTP {response.status_code}"
        if fault is None:
            if told.retryable or response.status_code in _TOO_LARGE:
                return told
            return DeliveryError(f"{where}, and not from Salesforce; check url, and proxies")
        named = _TYPE_AND_FIELD.search(fault.message)
        about = f" ({named[2]}.{named[1]})" if named and fault.code == "INVALID_FIELD" else ""
        mapping = fault.code == "INVALID_FIELD" or fault.is_of_the_org
        return DeliveryError(
            f"{where} {fault.told()}{about}",
            retryable=told.retryable or mapping,
            retry_after=told.retry_after or _pause(fault),
        )

    # What was written

    def _remember(self, work: _Work) -> None:
        """Note what was written of events that come again: later ones may have changed it since."""
        taken = set(work.taken())
        for event in work.ids:
            if event in taken:
                self._written.pop(event, None)
            elif places := work.written.get(event):
                self._written.setdefault(event, set()).update(places)
        while len(self._written) > _MOST_REMEMBERED:
            self._written.popitem(last=False)


class _Work:
    """The rows of a batch, and what has become of its events."""

    def __init__(
        self, batch: Batch, recorders: Sequence[Recorder], written: Mapping[str, set[int]]
    ) -> None:
        self.ids = batch.ids
        self._recorders = recorders
        self.refused: dict[str, Rejection] = {}
        self.written: dict[str, set[int]] = {}
        wires = [jsonbytes.loads(line) for line in batch.lines]
        self.rows = [
            recorder.rows(wires, self._unfit, functools.partial(_has, written, place))
            for place, recorder in enumerate(recorders)
        ]
        self._left = Counter(event for rows in self.rows for row in rows for event in row.events)

    def counts(self) -> dict[str, int]:
        """Return how many records there are of each object."""
        counts: Counter[str] = Counter()
        for recorder, rows in zip(self._recorders, self.rows, strict=True):
            counts[recorder.object] += len(rows)
        return dict(counts)

    def done(self, row: Row, place: int) -> None:
        """Note that *row* was written."""
        for event in row.events:
            self._left[event] -= 1
            self.written.setdefault(event, set()).add(place)

    def refuse(self, row: Row, reason: str, *, retryable: bool) -> None:
        """Note that *row* was not written."""
        for event in row.events:
            known = self.refused.get(event)
            if known is None or known.retryable:
                self.refused[event] = Rejection(event, reason, retryable=retryable)

    def taken(self) -> list[str]:
        """Return the events of which everything is written."""
        return [event for event in self.ids if not self._left[event] and event not in self.refused]

    def rejections(self) -> list[Rejection]:
        """Return what was not written."""
        return list(self.refused.values())

    def _unfit(self, event: str, reason: str) -> None:
        self.refused[event] = Rejection(event, reason)


def _has(written: Mapping[str, set[int]], place: int, event: str) -> bool:
    return place in written.get(event, ())


def _fault(answer: object) -> Fault | None:
    if not isinstance(answer, dict) or not isinstance(answer.get("success"), bool):
        raise DeliveryError("a row of the answer says neither success nor failure; check url")
    # Decide by this alone: a success may come with errors that are none.
    return None if answer["success"] else row_fault(answer)


def _pause(fault: Fault) -> float | None:
    return _NO_REQUESTS_LEFT if fault.code == "REQUEST_LIMIT_EXCEEDED" else None
