from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from django.utils.autoreload import StatReloader, autoreload_started

from journeykit import JourneyKit

Project = Callable[..., JourneyKit]


def _age(file: Path, seconds: int) -> None:
    os.utime(file, (seconds, seconds))


def test_changed_declarations_start_the_server_anew(
    database: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Django's reloader ends the server when the file changes, also one with mistakes, in whatever folder."""
    toml = tmp_path / "a [new] shop" / "journeykit[1].toml"
    toml.parent.mkdir()
    toml.write_text("[", encoding="utf-8")
    _age(toml, 1_000)
    monkeypatch.setattr(StatReloader, "SLEEP_TIME", 0)
    reloader = StatReloader()

    with override_settings(JOURNEYKIT={"TOML": str(toml)}):
        autoreload_started.send(sender=reloader)
    ticks = reloader.tick()
    next(ticks)
    next(ticks)
    _age(toml, 2_000)

    with pytest.raises(SystemExit) as ended:
        next(ticks)
    assert ended.value.code == 3


@pytest.mark.parametrize("given", [None, {}, {"TOML": 7}, {"KIT": "a.b"}])
def test_the_reloader_starts_whatever_the_setting_says(database: object, given: Any) -> None:
    """A setting without a file adds nothing to what the reloader watches, and stops it from nothing."""
    reloader = StatReloader()

    with override_settings(JOURNEYKIT=given):
        autoreload_started.send(sender=reloader)

    watched = {pattern for each in reloader.directory_globs.values() for pattern in each}
    assert not [pattern for pattern in watched if "toml" in pattern]
