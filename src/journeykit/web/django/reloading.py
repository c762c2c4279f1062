"""`manage.py runserver` starts anew when the declarations change, as for a module of the shop."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.autoreload import autoreload_started


def connect() -> None:
    """Listen for the reloader, which only a server for development has."""
    autoreload_started.connect(_watch, dispatch_uid="journeykit.reloading")


def _watch(*, sender: Any, **_: Any) -> None:
    """Watch the file, also one with mistakes: to correct them has to be enough."""
    given = getattr(settings, "JOURNEYKIT", None)
    toml = given.get("TOML") if isinstance(given, Mapping) else None
    if isinstance(toml, str | Path):
        path = Path(toml).absolute()
        sender.watch_dir(path.parent, glob.escape(path.name))
