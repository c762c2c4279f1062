"""Open a shop, let pretend customers walk through it, and show how far they came.

python examples/flask_shop/demo.py [--port 5000] [--shoppers 60] [--seed 1] [--exit]
python examples/django_shop/demo.py, likewise
"""

import argparse
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socketserver import BaseServer

from journeykit import JourneyKit
from journeykit.insight import JourneyFigures, Report

from .progress import show_progress
from .walk import Walk, send

HOST = "127.0.0.1"
HOURS_AGO = 2


class Clock:
    """The shop's clock, which is behind until it is put right.

    The shoppers come in by a clock that is behind. When it is put right, whoever left a basket has
    had their hour to come back, and nobody had to wait for it.
    """

    def __init__(self, hours_behind: float) -> None:
        self._behind = round(hours_behind * 3_600_000_000)

    def __call__(self) -> int:
        """The time, in microseconds."""
        return time.time_ns() // 1000 - self._behind

    def put_right(self) -> None:
        self._behind = 0


@dataclass(frozen=True)
class Shop:
    """A shop that can be opened."""

    kit: JourneyKit
    #: Listens at a port of HOST, 0 for any; raises OSError where it can't.
    listen: Callable[[int], BaseServer]
    #: What else to look at, given the shop's address: each a name and where it is.
    more: Callable[[str], Iterable[tuple[str, str]]] = lambda _: ()


def run(here: Path, make_shop: Callable[[Path, Clock], Shop]) -> int:
    """Run the demo of the shop in the folder *here*, made from a journeykit.toml and a clock."""
    options = parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: close, lose nothing
    with data_folder(here, options.data) as toml:
        clock = Clock(HOURS_AGO)
        shop = make_shop(toml, clock)
        try:
            with serving(shop.listen, options.port) as address:
                print(f"The shop is open: {address}\n", flush=True)
                trouble = let_in(address, shop.kit, clock, options)
                summarise(address, shop, toml)
                if options.exit:
                    return 1 if trouble else 0
                print("\nCome in and look around. Ctrl-C closes the shop.", flush=True)
                threading.Event().wait()
        except KeyboardInterrupt:
            print("\nThe shop is closed.")
        finally:
            shop.kit.close()
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=5000, help="default: 5000")
    parser.add_argument("--shoppers", type=int, default=60, metavar="N", help="default: 60")
    parser.add_argument("--seed", type=int, default=1, help="the same seed, the same shoppers")
    parser.add_argument("--exit", action="store_true", help="stop after the simulation")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="where data goes; default: var/ of the shop, started anew",
    )
    options = parser.parse_args()
    if not 0 <= options.shoppers <= 5000:
        parser.error("--shoppers is between 0 and 5000")
    return options


@contextmanager
def data_folder(here: Path, chosen: Path | None) -> Iterator[Path]:
    """Yield a journeykit.toml whose data lies in a folder that nobody else is using."""
    toml = here / "journeykit.toml"
    if chosen is not None:
        chosen.mkdir(parents=True, exist_ok=True)
        yield Path(shutil.copy(toml, chosen)).resolve()
        return
    with lock(here / ".demo.lock") as ours:
        if ours:
            shutil.rmtree(here / "var", ignore_errors=True)
            yield toml
            return
    with tempfile.TemporaryDirectory(prefix=f"{here.name}-") as folder:
        print(f"Another demo is using {shown(here / 'var')}, so this one works in {folder}.")
        yield Path(shutil.copy(toml, folder))


@contextmanager
def lock(file: Path) -> Iterator[bool]:
    """Whether this process is the only one that holds the file."""
    import fcntl  # not on Windows, where journeykit doesn't run either

    with file.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


@contextmanager
def serving(listen: Callable[[int], BaseServer], port: int) -> Iterator[str]:
    """Serve the shop from threads of this process, and yield its address."""
    try:
        server = listen(port)
    except OSError as error:
        print(f"Port {port} can't be used ({error.strerror}), so the shop takes a free one.")
        server = listen(0)
    thread = threading.Thread(target=server.serve_forever, name="shop", daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.socket.getsockname()[1]}"
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


def let_in(address: str, kit: JourneyKit, clock: Clock, options: argparse.Namespace) -> list[Walk]:
    """Run the simulation. Returns the walks that went wrong."""
    started = time.monotonic()
    walks = send(address, options.shoppers, seed=options.seed)
    trouble = [walk for walk in show_progress(walks, options.shoppers) if walk.trouble]
    for walk in trouble[:5]:
        print(f"A {walk.persona} had trouble: {walk.trouble}", file=sys.stderr)
    came_in = kit.flush(30)
    clock.put_right()
    if not (came_in and kit.flush(30)):
        print("Some events are still on their way; the figures will grow.", file=sys.stderr)
    print(
        f"{options.shoppers} shoppers in {time.monotonic() - started:.1f} s, "
        f"{HOURS_AGO} hours ago by the shop's clock: time enough to come back for a basket."
    )
    return trouble


def summarise(address: str, shop: Shop, toml: Path) -> None:
    report = shop.kit.report()
    print(f"\n{report.customers} customers, {report.events} events")
    for journey in report.journeys:
        print_stages(journey)
    print_pains(report)
    print()
    for name, there in (
        ("The shop", address),
        ("Behind the counter", f"{address}/behind-the-counter"),
        *shop.more(address),
        ("The same figures", f"journeykit report -c {shown(toml)}"),
        ("Every event", shown(toml.parent / "var" / "events.jsonl")),
    ):
        print(f"{name:<21}{there}")


def print_stages(journey: JourneyFigures) -> None:
    print(f"\n{journey.title}\n")
    print(f"{'stage':<16}{'entered':>9}{'here now':>10}{'no further':>12}")
    for stage in journey.stages:
        figures = f"{stage.entered:>9}{stage.current:>10}{stage.furthest:>12}"
        print(f"{stage.title:<16}{figures}")


def print_pains(report: Report) -> None:
    """What hurt, for how many, and an event that proves it."""
    if points := (*report.pain_points, *report.held_back):
        print("\nWhere it hurts\n")
        print(f"{'what':<20}{'stage':<15}{'customers':>9}  {'proved by':<36}")
    for point in points:
        where = f"{point.code:<20}{point.stage or '':<15}"
        print(f"{where}{point.customers:>9}  {point.evidence[-1]}")


def shown(path: Path) -> str:
    """A path as it would be typed from here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
