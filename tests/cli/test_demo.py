from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


def test_the_demo_shows_figures_and_leaves_nothing(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The demo prints both journeys, and removes what it made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())

    result = cli("demo", "--shoppers", "30")

    assert (result.code, result.err) == (0, "")
    assert "events of 30 shoppers\n" in result.out
    assert "(shop@1): 30 begun" in result.out
    assert "Checkout (checkout@1): " in result.out
    assert set(tmp_path.iterdir()) == before


def test_the_demo_is_the_same_for_the_same_seed(cli: Cli) -> None:
    """
    A seed fixes the shoppers; another one makes others. They come when the command runs.

    How much is delivered is not fixed: between two commits, a cart may be given up by the clock
    that its next event, which occurred earlier, takes up again.
    """

    def timeless(*options: str) -> dict[str, Any]:
        found: dict[str, Any] = cli("demo", *options, "--json").json
        for point in (*found["pain_points"], *found["held_back"]):
            for key in ("first_seen", "last_seen", "evidence"):
                assert point.pop(key)
        return found

    first, second = (timeless("--shoppers", "30") for _ in range(2))
    other = timeless("--shoppers", "30", "--seed", "8")

    assert first.pop("delivered") > first["events"]
    assert second.pop("delivered") > second["events"]
    assert first == second
    assert other.pop("delivered") > other["events"]
    assert first != other
    assert first["customers"] == 30


def test_the_demo_keeps_its_files_on_request(cli: Cli, shop: Path) -> None:
    """--directory keeps the database and what was delivered."""
    result = cli("demo", "--shoppers", "5", "--directory", "kept/here", "--json")

    lines = (shop / "kept/here/events.jsonl").read_bytes().splitlines()
    assert len(lines) == result.json["delivered"]
    assert (shop / "kept/here/journeykit.db").exists()


def test_the_demo_needs_somebody(cli: Cli) -> None:
    """A demo of nobody is a usage error."""
    result = cli("demo", "--shoppers", "0", "--json")

    assert result.code == 2
    assert result.json["ok"] is False
