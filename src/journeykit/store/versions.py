"""
What different versions of journeykit may do with one database.

A deployment runs two versions side by side for a while. So a newer one only adds to the tables, and
what it adds, older ones pass over. Where they may not write beside it, it says so in `meta`; they
go on accepting events then, and leave the rest to the newer one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from journeykit.exceptions import Outdated
from journeykit.store.schema import ADDED, ERASING, FOLLOWING, PERSON, PUBLISHING, SCHEMA

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping
    from pathlib import Path

#: Counts up with each change of the tables.
SCHEMA_VERSION: Final = 6

#: The one that knows of erasures: the first erasure shuts out those before it.
ERASING_VERSION: Final = 3

#: The one that knows of ids which late events tell: the first such erasure shuts out those before.
FOLLOWING_VERSION: Final = 5

#: The one that keeps what it has of a customer together: older ones would not erase it there.
PERSON_VERSION: Final = 6

#: What each version adds to the one before it. One that older versions must not write beside sets
#: `min_writer` to its own number; the reading of older ones always goes on.
UPGRADES: Final[Mapping[int, str]] = {
    2: f"""
{ADDED}
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO meta (key, value) VALUES ('min_writer', 1);
""",
    3: ERASING,
    4: PUBLISHING,
    5: FOLLOWING,
    6: f"""
{PERSON}
UPDATE meta SET value = max(value, {PERSON_VERSION}) WHERE key = 'min_writer';
""",
}


def upgrade(db: sqlite3.Connection, version: int) -> None:
    """
    Bring the tables of *version* to this one's, in one transaction; those of a newer one stay.

    A file that has none is of version 0, and becomes one of ours.
    """
    if version >= SCHEMA_VERSION:
        return
    steps = [] if version else [SCHEMA]
    steps += [text for number, text in sorted(UPGRADES.items()) if number > version]
    steps.append(f"PRAGMA user_version = {SCHEMA_VERSION};")
    try:
        db.executescript(f"BEGIN IMMEDIATE; {''.join(steps)} COMMIT;")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def check_writer(db: sqlite3.Connection, path: Path) -> None:
    """
    See that this version may write.

    Asked in each transaction that writes: a newer version may come at any time.

    Raises:
        Outdated: It may not.
    """
    found = db.execute("SELECT value FROM meta WHERE key = 'min_writer'").fetchone()
    if found is not None and found[0] > SCHEMA_VERSION:
        msg = (
            f"store {path}: a newer journeykit has changed it (it asks for schema {found[0]}, this "
            f"one writes {SCHEMA_VERSION}); events are kept for the newer one; upgrade journeykit "
            f"here"
        )
        raise Outdated(msg)
