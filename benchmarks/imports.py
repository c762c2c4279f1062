"""The import of a file of events, beside reading and writing the same rows."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import measure

if TYPE_CHECKING:
    from benchmarks.raw import Raw

_MAP = ("customer=user_id", "session=session_id", "name=event", "at=timestamp")
_DECLARATION = Path(__file__).parent.parent / "examples" / "imported_shop" / "journeykit.toml"


def note(raw: Raw, file: Path, directory: Path) -> None:
    rows = _count_rows(file)
    imported = _import_file(file, directory)
    floor = measure.run(["-m", "benchmarks.floor", str(file), str(directory / "floor.jsonl")])
    raw.note("import of a file: events per CPU s", rows / imported.cpu)
    raw.note("import of a file: peak MB", imported.peak)
    raw.note("import of a file ÷ read and write the same rows", imported.cpu / floor.cpu)
    raw.note("read and write the same rows: CPU s", floor.cpu)


def note_large(raw: Raw, file: Path, directory: Path) -> None:
    cost = _import_file(file, directory)
    raw.note("import of a large file: events per CPU s", _count_rows(file) / cost.cpu)
    raw.note("import of a large file: peak MB", cost.peak)


def _count_rows(file: Path) -> int:
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rb") as lines:
        return sum(1 for _ in lines) - 1


def _import_file(file: Path, directory: Path) -> measure.Cost:
    directory.mkdir()
    declaration = directory / "journeykit.toml"
    declaration.write_text(_DECLARATION.read_text())
    columns = [word for column in _MAP for word in ("--map", column)]
    return measure.run(
        ["-m", "journeykit", "import", str(file), "-c", str(declaration), "--deliver", *columns]
    )
