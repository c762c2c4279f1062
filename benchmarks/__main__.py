"""`make bench`: prints the table of figures; `ARGS=--large` adds the import of a million rows."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import statistics
import tempfile
from pathlib import Path

from benchmarks import measure, track
from benchmarks.shop_file import write_shop_file

ROWS = 31_106
LARGE_ROWS = 1_000_000
ROUNDS = 5

_MAP = ("customer=user_id", "session=session_id", "name=event", "at=timestamp")
_DECLARATION = Path(__file__).parent.parent / "examples" / "imported_shop" / "journeykit.toml"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--file", type=Path, help="a real file of this shape, instead of ours")
    parser.add_argument("--large", action="store_true", help="also import a million rows")
    parser.add_argument("--raw", type=Path, default=Path("build/bench.json"))
    arguments = parser.parse_args()
    raw: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="journeykit-bench-") as directory:
        bench(Path(directory), arguments, raw)
    arguments.raw.parent.mkdir(parents=True, exist_ok=True)
    arguments.raw.write_text(json.dumps(raw, indent=2))
    print_table(raw)
    print(f"\nraw figures: {arguments.raw}")


def bench(directory: Path, arguments: argparse.Namespace, raw: dict[str, list[float]]) -> None:
    file = arguments.file
    if file is None:
        file = directory / "shop.csv"
        write_shop_file(file, ROWS)
    rows = count_rows(file)
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}", flush=True)
        imported = import_file(file, directory / f"round{number}")
        floor = measure.run(["-m", "benchmarks.floor", str(file), str(directory / "floor.jsonl")])
        note(raw, "import: CPU s", imported.cpu)
        note(raw, "import: events per CPU s", rows / imported.cpu)
        note(raw, "import: peak MB", imported.peak)
        note(raw, "read and write the same rows: CPU s", floor.cpu)
        note(raw, "import ÷ read and write", imported.cpu / floor.cpu)
        tracked, by_hand = track.measure()
        note(raw, "track(): CPU µs", tracked)
        note(raw, "the same by hand: CPU µs", by_hand)
        note(raw, "track() ÷ by hand", tracked / by_hand)
        ours = measure.run(["-c", "import journeykit"])
        base = measure.run(["-c", "import sqlite3, json, attrs"])
        note(raw, "import journeykit: CPU ms", ours.cpu * 1000)
        note(raw, "import sqlite3, json, attrs: CPU ms", base.cpu * 1000)
    if arguments.large:
        large = directory / "large.csv"
        write_shop_file(large, LARGE_ROWS)
        cost = import_file(large, directory / "large")
        note(raw, "import of 1,000,000 rows: events per CPU s", LARGE_ROWS / cost.cpu)
        note(raw, "import of 1,000,000 rows: peak MB", cost.peak)


def count_rows(file: Path) -> int:
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rb") as lines:
        return sum(1 for _ in lines) - 1


def import_file(file: Path, directory: Path) -> measure.Cost:
    directory.mkdir()
    declaration = directory / "journeykit.toml"
    declaration.write_text(_DECLARATION.read_text())
    columns = [word for column in _MAP for word in ("--map", column)]
    return measure.run(
        ["-m", "journeykit", "import", str(file), "-c", str(declaration), "--deliver", *columns]
    )


def note(raw: dict[str, list[float]], name: str, value: float) -> None:
    raw.setdefault(name, []).append(value)


def print_table(raw: dict[str, list[float]]) -> None:
    print(f"\nPython {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}")
    print(f"{'':<44}{'median':>12}{'least':>12}{'most':>12}")
    for name, values in raw.items():
        middle = statistics.median(values)
        print(f"{name:<44}{middle:>12,.2f}{min(values):>12,.2f}{max(values):>12,.2f}")
    noise = raw["read and write the same rows: CPU s"]
    spread = (max(noise) - min(noise)) / statistics.median(noise)
    print(f"noise: the plain loop varied by {spread:.0%} over the rounds")


if __name__ == "__main__":
    main()
