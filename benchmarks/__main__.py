"""
`make bench`: prints the table; `ARGS="--rounds 1 --quick"` for a fast look.

`--check` ends with 1 when a row misses by more than 15 %; `--large` adds the import of a million
rows.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import adapters, imports, rounds, sink, table
from benchmarks.raw import Raw
from benchmarks.shop_file import write_shop_file

ROWS = 31_106
LARGE_ROWS = 1_000_000
ROUNDS = 5

#: How far away the slow collector is, in seconds.
AWAY = 0.05


def main() -> int:
    arguments = _arguments()
    versions = {peer: adapters.version(peer) for peer in adapters.PEERS}
    for peer, version in versions.items():
        if version is None:
            print(f"peer missing: {peer} ({adapters.PEERS[peer]}); its rows are not measured")
    raw = Raw()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="journeykit-bench-") as directory:
        peers = tuple(peer for peer, version in versions.items() if version is not None)
        _run(arguments, raw, peers, Path(directory))
    about = {
        "versions": versions,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "load": os.getloadavg(),
        "seconds": round(time.monotonic() - started),
        "rounds": arguments.rounds,
        "quick": arguments.quick,
    }
    raw.write(arguments.raw, about)
    _print(raw, about)
    print(f"\nraw figures: {arguments.raw}")
    return _verdict(raw) if arguments.check else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="less of everything, for a look")
    parser.add_argument("--only", nargs="+", choices=rounds.SCENARIOS, help="these scenarios")
    parser.add_argument("--check", action="store_true", help="end with 1 if a row misses")
    parser.add_argument("--file", type=Path, help="a real file of events to import, not ours")
    parser.add_argument("--large", action="store_true", help="also import a million rows")
    parser.add_argument("--raw", type=Path, default=Path("build/bench.json"))
    return parser.parse_args()


def _run(arguments: argparse.Namespace, raw: Raw, peers: tuple[str, ...], directory: Path) -> None:
    file = arguments.file or directory / "shop.csv"
    if arguments.file is None:
        write_shop_file(file, ROWS)
    sizes = rounds.QUICK if arguments.quick else rounds.Sizes()
    with sink.running() as near, sink.running(AWAY) as slow:
        for number in range(arguments.rounds):
            this = rounds.Round(raw, sizes, peers, near, slow, directory, file, number)
            for name in arguments.only or rounds.SCENARIOS:
                print(f"round {number + 1} of {arguments.rounds}: {name}", flush=True)
                rounds.SCENARIOS[name](this)
    if arguments.large:
        large = directory / "large.csv"
        write_shop_file(large, LARGE_ROWS)
        imports.note_large(raw, large, directory / "large")


def _print(raw: Raw, about: dict[str, object]) -> None:
    print(f"\nPython {about['python']}, SQLite {about['sqlite']}, {about['cores']} cores, ", end="")
    print(f"{about['machine']}, load {os.getloadavg()[0]:.1f}, {about['seconds']} s")
    versions = about["versions"]
    assert isinstance(versions, dict)
    print(", ".join(f"{peer} {version or 'missing'}" for peer, version in versions.items()))
    print()
    for line in (*table.lines(raw), *table.details(raw)):
        print(line)


def _verdict(raw: Raw) -> int:
    missed = table.missed(raw, table.LEEWAY)
    for row in missed:
        print(f"misses by more than {table.LEEWAY:.0%}: {row.figure}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
