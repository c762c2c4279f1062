from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from journeykit import JourneyKit

Cli = Callable[..., Any]


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the events that a file sink has written."""
    text = path.read_text() if path.exists() else ""
    # Behind the last line end is what somebody is writing just now.
    return [json.loads(line) for line in text.split("\n")[:-1]]


@pytest.fixture
def with_events(shop: Path) -> Path:
    """Return a shop whose app left folding and delivering to a worker."""
    declaration = shop / "journeykit.toml"
    text = declaration.read_text().replace("[journeykit]", '[journeykit]\nstages = "worker"', 1)
    declaration.write_text(text)
    with JourneyKit.from_toml(declaration) as kit:
        for number in range(20):
            assert kit.track("home", customer=f"u{number}")
        assert kit.flush()
        assert not kit.status()["leads"]
    return shop


def test_an_app_leaves_its_work_to_the_worker(cli: Cli, with_events: Path) -> None:
    """With stages = "worker" an app accepts and commits, and neither folds nor delivers."""
    assert lines(with_events / "var/events.jsonl") == []
    assert cli("status", "--json").json["behind"] is True


def test_drain_does_what_waits(cli: Cli, with_events: Path) -> None:
    """After a drain everything is folded and delivered."""
    assert cli("drain", "--json").json == {"done": True, "events": 20, "behind": []}

    names = [event["name"] for event in lines(with_events / "var/events.jsonl")]
    assert (names.count("home"), names.count("stage.entered")) == (20, 20)
    assert cli("report", "--json").json["journeys"][0]["instances"] == 20
    assert cli("drain") == (0, "nothing waits any more\n", "")


def test_drain_tells_what_it_could_not_do(cli: Cli, with_events: Path) -> None:
    """A sink that takes nothing is named, and the exit code is 1."""
    (with_events / "var/events.jsonl").mkdir()

    result = cli("drain", "--timeout", "0.5")

    assert result.code == 1
    assert "archive" in result.err


def test_rebuild_gives_the_same_figures_and_delivers_nothing(cli: Cli, with_events: Path) -> None:
    """State made again from the Log is what it was, and no sink hears of it."""
    cli("drain")
    before = cli("report", "--json").json
    delivered = lines(with_events / "var/events.jsonl")

    result = cli("rebuild", "--json").json
    cli("drain")

    assert (result["done"], result["events"]) == (True, 20)
    assert cli("report", "--json").json == before
    assert lines(with_events / "var/events.jsonl") == delivered


def test_rebuild_waits_for_nobody(cli: Cli, with_events: Path) -> None:
    """While another process folds, a rebuild is refused with what to do."""
    with JourneyKit.from_toml(with_events / "journeykit.toml") as kit:
        kit.start(worker=True)
        assert kit.flush()
        result = cli("rebuild")

    assert result.code == 1
    assert "another process folds its events; end that one first" in result.err


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_works_until_it_is_told_to_end(
    with_events: Path, end: signal.Signals, wait_until: Callable[..., None]
) -> None:
    """A worker folds and delivers what the app's processes commit, and ends in order."""
    archive = with_events / "var/events.jsonl"
    worker = subprocess.Popen(
        [sys.executable, "-m", "journeykit", "worker", "--json"],
        cwd=with_events,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: len(lines(archive)) == 40, timeout=20)
        with JourneyKit.from_toml(with_events / "journeykit.toml") as kit:
            assert kit.track("cart", customer="u1")
        wait_until(lambda: len(lines(archive)) == 42, timeout=20)
        started = time.monotonic()
        worker.send_signal(end)
        status = json.loads(worker.communicate(timeout=20)[0])
        assert time.monotonic() - started < 5
    finally:
        worker.kill()
        worker.wait()
    assert worker.returncode == 0
    assert (status["behind"], status["leads"]) == (False, True)
