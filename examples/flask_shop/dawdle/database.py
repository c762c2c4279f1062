"""The shop's own SQLite file: carts, customers, orders and reviews."""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from flask import Flask, current_app, g


def connect(file: Path) -> sqlite3.Connection:
    """Open the file. Transactions are begun by hand, with `transaction()`."""
    connection = sqlite3.connect(file, timeout=10, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def db() -> sqlite3.Connection:
    """The connection of the current request."""
    if "db" not in g:
        g.db = connect(current_app.config["DATABASE"])
    connection: sqlite3.Connection = g.db
    return connection


@contextmanager
def transaction() -> Iterator[sqlite3.Connection]:
    """Write all or nothing, one writer at a time."""
    connection = db()
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def secret_key(file: Path) -> str:
    """The key that signs sessions, made once and kept, so that a restart signs nobody out."""
    with closing(connect(file)) as connection:
        fresh = secrets.token_hex(32)
        connection.execute("INSERT OR IGNORE INTO setting VALUES ('secret_key', ?)", (fresh,))
        row = connection.execute("SELECT value FROM setting WHERE key = 'secret_key'").fetchone()
        return str(row["value"])


def _close(_error: BaseException | None = None) -> None:
    if connection := g.pop("db", None):
        connection.close()


def init_app(app: Flask, file: Path) -> None:
    """Make the file ready and close each request's connection."""
    file.parent.mkdir(parents=True, exist_ok=True)
    app.config["DATABASE"] = file
    with closing(connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(Path(__file__).with_name("schema.sql").read_text("utf-8"))
    app.teardown_appcontext(_close)
