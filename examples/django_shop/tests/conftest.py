"""The Django shop as processes of its own: Django is configured once a process, and not in ours."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from journeykit import Event, JourneyKit

EXAMPLE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Place:
    """Where a shop keeps its data, and how its processes find it."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        mine = ("SHOP_", "DJANGO_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(mine)}
        path = os.pathsep.join([str(EXAMPLE), *sys.path])
        return {**kept, "PYTHONPATH": path, "SHOP_TOML": str(self.folder / "journeykit.toml")}

    def manage(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Django's."""
        return subprocess.run(
            [sys.executable, str(EXAMPLE / "manage.py"), *arguments],
            env={**self.environment, **environment},
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Ask the shop's own database."""
        file = self.folder / "var" / "shop.sqlite3"
        with closing(sqlite3.connect(file, timeout=20)) as connection, connection:
            return connection.execute(query, values).fetchall()

    def events(self, name: str) -> list[Event]:
        """The events of a name in the Log."""
        with JourneyKit.from_toml(self.folder / "journeykit.toml") as kit:
            kit.store.open()
            found = [stored.event() for stored in kit.store.read(None, 100_000)]
        return [event for event in found if event.name == name]


@pytest.fixture(scope="session")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the database of a shop whose shelves are full."""
    place = Place(tmp_path_factory.mktemp("stocked"))
    shutil.copy(EXAMPLE / "journeykit.toml", place.folder)
    for command in ("migrate", "stock"):
        done = place.manage(command)
        assert done.returncode == 0, done.stderr
    return place.folder


@pytest.fixture
def place(stocked: Path, tmp_path: Path) -> Place:
    """Return a shop of its own for the test."""
    shutil.copytree(stocked, tmp_path, dirs_exist_ok=True)
    return Place(tmp_path)
