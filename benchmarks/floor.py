"""The raw floor of an import: read a CSV, write each row as JSON to a file, make it durable."""

from __future__ import annotations

import csv
import gzip
import json
import os
import sys
from pathlib import Path


def main(source: str, target: str) -> None:
    opened = gzip.open if source.endswith(".gz") else open
    with (
        opened(source, "rt", newline="", encoding="utf-8") as rows,
        Path(target).open("w") as lines,
    ):
        lines.writelines(json.dumps(row) + "\n" for row in csv.DictReader(rows))
        lines.flush()
        os.fsync(lines.fileno())


if __name__ == "__main__":
    main(*sys.argv[1:])
