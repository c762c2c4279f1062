"""Real processes of a shop, for tests of what is kept when they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from journeykit.model import Event
from journeykit.store.sqlite import SQLiteStore

SCRIPT = Path(__file__).with_name("orders.py")


def new_database(server: dict[str, Any], name: str) -> str:
    """Make a database on a PostgreSQL that may still be starting, and return its name."""
    import psycopg

    name = "".join(each for each in name if each.isalnum()).lower()
    deadline = time.monotonic() + 20
    while True:
        try:
            where = {"host": server["HOST"], "user": server["USER"], "dbname": "postgres"}
            with psycopg.connect(**where, autocommit=True) as session:
                session.execute(f'CREATE DATABASE "{name}"')
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return name


class Shop:
    """
    A shop that takes orders.

    Args:
        directory: Where the Log and the spool are.

        database: Django's settings of its database.
    """

    def __init__(self, directory: Path, database: dict[str, Any]) -> None:
        self.directory = directory
        (directory / "journeykit.toml").write_text(
            '[journeykit]\nstore = "sqlite:///log.db"\n[consent]\nmode = "opt_out"\n'
        )
        self.environment = {
            **os.environ,
            "ORDERS_DIRECTORY": str(directory),
            "ORDERS_DATABASE": json.dumps(database),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        self.run("prepare")

    def start(self, *arguments: str, out: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """Start a process of the shop."""
        return subprocess.Popen(
            [sys.executable, SCRIPT, *arguments],
            env=self.environment,
            cwd=self.directory,
            stdout=out,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run a process of the shop to its end."""
        process = self.start(*arguments, out=subprocess.PIPE)
        out, _ = process.communicate(timeout=60)
        return process.returncode, out

    def orders(self) -> list[str]:
        """Return the orders that are there, by the shop's own table."""
        return sorted(json.loads(self.run("numbers")[1]))

    def recorded(self) -> list[str]:
        """Return the orders that the Log has, once another process has come by."""
        return sorted(each.properties["order_id"] for each in self.events("Order Completed"))

    def events(self, name: str) -> list[Event]:
        """Return the events of a name in the Log, once another process has come by."""
        assert self.run("look") == (0, "")
        store = SQLiteStore(self.directory / "log.db")
        found, position = [], None
        while batch := store.read(position, 1_000):
            found += [event for each in batch if (event := each.event()).name == name]
            position = batch[-1].position
        store.close()
        return found
