"""What crash tests compare: the rows of a store, and its State before and after a rebuild."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from journeykit import JourneyKit
from journeykit.pipeline import Pipeline


def rows(base: Path, query: str) -> list[tuple[Any, ...]]:
    """Return what *query* finds in the store below *base*."""
    with contextlib.closing(sqlite3.connect(base / "store.db")) as db:
        return db.execute(query).fetchall()


def state(base: Path) -> dict[tuple[Any, ...], Any]:
    """Return State, trails and all."""
    pieces = rows(base, "SELECT space, key, data FROM state WHERE space <> 'projector'")
    people = rows(base, "SELECT customer, space, key, data FROM person")
    return {row[:-1]: row[-1] for row in (*pieces, *people)}


def rebuild(
    base: Path, make_kit: Callable[[], JourneyKit], delivered: Callable[[], int], timeout: float
) -> dict[str, Any]:
    """Make State again from the Log, and return what is different then."""
    before, length, sent = state(base), rows(base, "SELECT count(*) FROM log"), delivered()
    with make_kit() as kit:
        figures = kit.report().journeys
        Pipeline(kit._parts).projector.rebuild()  # noqa: SLF001 - here, without a flush of its own
        rebuilt = kit.flush(timeout)
        again = kit.report().journeys
    after = state(base)
    return {
        "State exact": rebuilt and figures == again and before == after,
        "State differs in": sum(before.get(k) != after.get(k) for k in {*before, *after}),
        "rebuild delivered": delivered() - sent,
        "rebuild added": rows(base, "SELECT count(*) FROM log")[0][0] - length[0][0],
    }
