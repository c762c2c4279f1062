"""The memory that an SDK takes beyond a bare interpreter's: once started, and after its work."""

from __future__ import annotations

import os
import sys

#: Calls between two flushes; below the smallest queue of the peers (2,048).
GROUP = 1000


def resident() -> float:
    """Return this process's resident memory in MiB."""
    with open("/proc/self/statm") as sizes:  # noqa: PTH123 - pathlib would be part of the figure
        return int(sizes.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main(directory: str, subject: str, url: str, calls: str) -> None:
    # Imported here: what a bare interpreter takes comes first.
    bare = resident()
    from pathlib import Path

    from benchmarks import adapters

    client = adapters.BUILD[subject](url, Path(directory))
    started = resident()
    for first in range(0, int(calls), GROUP):
        for number in range(first, first + GROUP):
            client.track(adapters.properties(number))
        client.flush()
    used = resident()
    print(f'{{"started": {started - bare}, "used": {used - bare}}}', flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
