"""`journeykit import`: rows of a file become events of the past."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from journeykit.capture.history import TARGETS, BadValue, Mapper
from journeykit.capture.rows import BadRow, Row, has_header, read_rows, rows_of
from journeykit.cli.app import FAILED, Failure, Misconfigured, Session, common, pass_session
from journeykit.cli.output import Progress, print_json, progress
from journeykit.exceptions import EventRejected, ImportFailed
from journeykit.kit import JourneyKit
from journeykit.store.protocol import PROJECTOR

#: An import reads no further while this many events wait, so that its memory stays small.
_MOST_WAITING = 10_000

#: How long the store may fail, or another process that leads may stand still, before the import
#: gives up, in seconds.
_PATIENCE = 5.0

#: Of a rejected row, how much is kept beside the reason.
_KEPT = 2000


def _mapping(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    columns: dict[str, str] = {}
    for value in values:
        target, equals, column = value.partition("=")
        if not equals or target not in TARGETS or not column:
            raise click.BadParameter(
                f"{value!r}: write WHAT=COLUMN, where WHAT is one of {', '.join(TARGETS)}"
            )
        if target in columns:
            raise click.BadParameter(f"{target!r} is mapped twice")
        columns[target] = column
    for target in ("name", "at"):
        if target not in columns:
            raise click.BadParameter(f"map {target!r} to a column: --map {target}=COLUMN")
    if not {"customer", "anonymous"} & columns.keys():
        raise click.BadParameter("map 'customer' to a column: --map customer=COLUMN")
    return columns


def _zone(_: click.Context, __: click.Parameter, value: str) -> ZoneInfo:
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise click.BadParameter(f"{value!r} is no time zone; write one such as UTC") from error


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@common
@click.option(
    "--map",
    "columns",
    multiple=True,
    callback=_mapping,
    metavar="WHAT=COLUMN",
    help=f"Which column is the {', '.join(TARGETS)}. Every other column becomes a property.",
)
@click.option("--source", help="Where the rows come from; default the file's name without endings.")
@click.option(
    "--timezone",
    "zone",
    default="UTC",
    show_default=True,
    callback=_zone,
    help="The zone of times that do not say theirs.",
)
@click.option("--deliver", is_flag=True, help="Also send the events to the sinks.")
@click.option(
    "--rejects",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where rejected rows go; default FILE.rejected.jsonl.",
)
@click.option(
    "--purpose",
    "purposes",
    multiple=True,
    help='What these customers have agreed to; needed where consent is "opt_in".',
)
@pass_session
def import_file(
    session: Session,
    file: Path,
    config: str,
    as_json: bool,
    columns: Mapping[str, str],
    source: str | None,
    zone: ZoneInfo,
    deliver: bool,
    rejects: Path | None,
    purposes: tuple[str, ...],
) -> None:
    """
    Bring the events of FILE in as history: CSV or JSON lines, plain or .gz.

    FILE may also be the name of a source that the configuration declares.

    They count in every figure, but are no news: nobody is asked or alerted, and nothing goes to a
    sink unless --deliver is given.
    Importing a file twice adds nothing the second time.
    Rows that cannot be used go to FILE.rejected.jsonl, with their line and the reason.
    Exit code 1: some rows were rejected, the file ended early, or --deliver could not.
    """
    mapper = Mapper(columns=columns, source=source or _stem(file), zone=zone)
    rejected = rejects or file.parent / f"{file.name}.rejected.jsonl"
    with session.kit(config) as kit, contextlib.closing(_Rejects(rejected)) as collected:
        kit.store.open()
        run = _Import(kit, mapper, collected, deliver=deliver)
        consent = kit.bind_customer("import", purposes=purposes) if purposes else None
        failure = None
        with consent or contextlib.nullcontext(), progress(file.name, shown=not as_json) as bar:
            try:
                run.read(file, bar)
            except ImportFailed as error:
                failure = error
            except KeyboardInterrupt:
                click.echo("stopped; what was imported stays, so run this again", err=True)
                raise
            undelivered = run.finish()
        result = run.result(file, undelivered)
    if as_json:
        print_json({**result, "error": str(failure) if failure else None})
    else:
        _print_result(result, zone)
    if failure is not None:
        click.echo(f"error: {failure}", err=True)
    if not result["rows"] and failure is None:
        click.echo(f"{file}: has no rows, so there was nothing to import", err=True)
    failed = failure is not None or result["rejected"] or (deliver and undelivered)
    click.get_current_context().exit(FAILED if failed else 0)


class _Import:
    """One import under way."""

    def __init__(
        self, kit: JourneyKit, mapper: Mapper, rejects: _Rejects, *, deliver: bool
    ) -> None:
        self._kit = kit
        self._mapper = mapper
        self._rejects = rejects
        self._deliver = deliver
        self._rows = 0
        self._failing_since: float | None = None
        #: Whether State is as far as the Log.
        self.counted = True

    def read(self, file: Path, bar: Progress) -> None:
        unchecked = has_header(file)
        for row in _rows(self._kit, file):
            if isinstance(row, Row) and unchecked:
                self._check_columns(file, row)
                unchecked = False
            reason = row.reason if isinstance(row, BadRow) else self._take(row)
            if reason is not None:
                self._rejects.add(row, reason)
            self._rows += 1
            bar.advance()

    def finish(self) -> list[str]:
        """Wait for the Log, State and sinks; returns the sinks that did not take everything."""
        before: object = None
        since = time.monotonic()
        while not self._kit.flush(1.0):
            self._check_store()
            status = self._kit.status()
            late = [sink for sink in status["sinks"] if sink["behind"]]
            failing = any(sink["failures"] for sink in late)
            if failing and not status["waiting"] and not status["behind"]:
                return [_undelivered(sink) for sink in late]
            # Another process may lead, and that one may hang.
            reached = status["waiting"], *map(self._kit.store.cursor, self._readers(status))
            if reached != before or (status["behind"] and status["leads"]):
                before, since = reached, time.monotonic()
            elif time.monotonic() - since > _PATIENCE:
                if status["waiting"]:
                    self._give_up(f"store {status['store']}: another process keeps it busy")
                self.counted = not status["behind"]
                return [_undelivered(sink) for sink in late]
        return []

    @staticmethod
    def _readers(status: Mapping[str, Any]) -> list[str]:
        return [PROJECTOR, *(f"sink:{sink['name']}" for sink in status["sinks"])]

    def result(self, file: Path, undelivered: list[str]) -> dict[str, Any]:
        return {
            "file": str(file),
            "rows": self._rows,
            **self._kit.committed,
            "rejected": self._rejects.count,
            "rejected_to": str(self._rejects.path) if self._rejects.count else None,
            "counted": self.counted,
            "undelivered": undelivered,
        }

    def _check_columns(self, file: Path, row: Row) -> None:
        missing = self._mapper.missing(row.columns)
        if missing:
            names = ", ".join(repr(name) for name in missing)
            known = ", ".join(row.columns)
            msg = f"{file}: has no column {names} to --map; it has: {known}"
            raise Misconfigured(msg)

    def _take(self, row: Row) -> str | None:
        try:
            event = self._mapper.event(row)
        except BadValue as error:
            return str(error)
        while True:
            try:
                receipt = self._kit.track_history(
                    event.name,
                    event.properties,
                    customer=event.customer,
                    at=event.at,
                    id=event.id,
                    deliver=self._deliver,
                )
            except EventRejected as error:
                return error.reason
            if receipt:
                self._let_others_catch_up()
                return None
            if receipt.reason != "full":
                return f"{receipt.reason}: {receipt.detail}"
            self._check_store()
            time.sleep(0.01)

    def _let_others_catch_up(self) -> None:
        while self._kit.waiting > _MOST_WAITING:
            self._check_store()
            time.sleep(0.01)

    def _check_store(self) -> None:
        error = self._kit.store_error
        if error is None:
            self._failing_since = None
            return
        self._failing_since = self._failing_since or time.monotonic()
        if time.monotonic() - self._failing_since > _PATIENCE:
            self._give_up(error)

    def _give_up(self, error: str) -> NoReturn:
        error = self._kit.store_error or error
        raise Failure(f"{error}; what was imported stays, so run this again")


class _Rejects:
    """Collects rejected rows in a file, which exists only if there are any."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file: IO[str] | None = None

    def add(self, row: Row | BadRow, reason: str) -> None:
        if self._file is None:
            try:
                self._file = self.path.open("w", encoding="utf-8")
            except OSError as error:
                msg = f"{self.path}: {error.strerror}; rejected rows go there, so make it writable"
                raise ImportFailed(msg) from error
        text = row.text.rstrip("\r\n").encode("utf-8", "replace").decode()
        record = {"line": row.line, "reason": reason, "row": text[:_KEPT]}
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self.count += 1

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _rows(kit: JourneyKit, file: Path) -> Iterator[Row | BadRow]:
    declared = kit.settings.sources.get(str(file))
    if declared is None:
        return read_rows(file)
    return rows_of(lambda: declared.type.build(str(file), declared.settings).read())


def _undelivered(sink: Mapping[str, Any]) -> str:
    return f"{sink['name']} ({sink['last_error'] or 'another process sends to it'})"


def _stem(file: Path) -> str:
    return file.name.split(".", 1)[0] or file.name


def _print_result(result: Mapping[str, Any], zone: ZoneInfo) -> None:
    click.echo(
        f"{result['rows']:,} rows: {result['added']:,} events added, "
        f"{result['already_there']:,} already there, {result['rejected']:,} rejected"
    )
    if result["erased"]:
        click.echo(f"{result['erased']:,} events are of customers who were erased; left out")
    if result["withheld"]:
        click.echo(f"{result['withheld']:,} events were withheld by plugins; see journeykit status")
    if result["parked"]:
        click.echo(f"{result['parked']:,} events are parked; see journeykit parked list", err=True)
    click.echo(f"times without a zone were read as {zone.key}")
    if result["rejected"]:
        click.echo(f"rejected rows are in {result['rejected_to']}")
    if not result["counted"]:
        click.echo("not all is in the figures yet; another process is to see to that", err=True)
    for sink in result["undelivered"]:
        click.echo(f"not all was delivered to {sink}; that goes on when your app runs", err=True)


COMMANDS = (import_file,)
