"""Commands that do the background work: `drain`, `rebuild`, `worker`."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from journeykit.cli.app import FAILED, Session, common, pass_session
from journeykit.cli.output import print_json

#: What a worker takes at most to finish what is under way when it is told to end.
_LAST_SECONDS = 1.0


@click.command()
@common
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds to wait.")
@pass_session
def drain(session: Session, config: str, as_json: bool, timeout: float) -> None:
    """
    Commit, fold and deliver everything that waits, then end.

    For a host that is about to be taken down, and for jobs without a running app.
    Exit code 1: something still waits; it is kept.
    """
    with session.kit(config) as kit:
        kit.start(worker=True)
        done = kit.flush(timeout)
        status = kit.status()
    late = [sink["name"] for sink in status["sinks"] if sink["behind"]]
    if as_json:
        print_json({"done": done, "events": status["counters"]["events"], "behind": late})
    elif done:
        click.echo("nothing waits any more")
    else:
        what = f"sinks {', '.join(late)}" if late else status["store_error"] or "another process"
        click.echo(f"not all is done within {timeout:g} s: {what}", err=True)
    click.get_current_context().exit(0 if done else FAILED)


@click.command()
@common
@click.option("--timeout", type=float, default=3600.0, show_default=True, help="Seconds to wait.")
@pass_session
def rebuild(session: Session, config: str, as_json: bool, timeout: float) -> None:
    """
    Make State again from the Log; the figures are as before, and nothing is delivered.

    End the app first: only one process folds at a time.
    Exit code 1: it did not come to its end; running it again goes on.
    """
    with session.kit(config) as kit:
        started = time.monotonic()
        done = kit.rebuild(timeout)
        events = kit.report().events
    seconds = time.monotonic() - started
    if as_json:
        print_json({"done": done, "events": events, "seconds": round(seconds, 3)})
    else:
        click.echo(f"{events:,} events in {seconds:.1f} s" + ("" if done else "; not all yet"))
    click.get_current_context().exit(0 if done else FAILED)


@click.command()
@common
@pass_session
def worker(session: Session, config: str, as_json: bool) -> None:
    """
    Fold and deliver until told to end, by Ctrl-C or SIGTERM.

    With `stages = "worker"` in `[journeykit]`, the app's processes leave this work to it.
    """
    with until_told() as ended, session.kit(config) as kit:
        kit.start(worker=True)
        if not as_json:
            click.echo(f"working on {kit.store.name}; Ctrl-C ends it")
        ended.wait()
        kit.flush(_LAST_SECONDS)
        status = kit.status()
    if as_json:
        print_json(status)


@contextmanager
def until_told() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C or SIGTERM sets, instead of ending the process."""
    ended = threading.Event()

    def end(*_: Any) -> None:
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


COMMANDS = (drain, rebuild, worker)
