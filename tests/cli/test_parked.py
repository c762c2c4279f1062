from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]

PICKY = """
from journeykit import hookimpl

@hookimpl
def accept_event(event):
    if event.name == "cart":
        raise OSError("no answer")
"""


@pytest.fixture
def with_parked(cli: Cli, shop: Path, mapping: tuple[str, ...]) -> Path:
    """Return a shop where a plugin could not tell about one of three events."""
    (shop / "picky.py").write_text(PICKY)
    with (shop / "journeykit.toml").open("a") as file:
        file.write('\n[plugins]\nfiles = ["picky.py"]\n')
    assert cli("import", "rows.csv", *mapping).code == 0
    return shop


def _mend(shop: Path) -> None:
    (shop / "picky.py").write_text(PICKY.replace("raise OSError", "str"))


def test_nothing_parked_is_said_in_words(cli: Cli) -> None:
    """Where nothing is parked the list says so, and a replay has nothing to do."""
    assert cli("parked", "list") == (0, "Nothing is parked.\n", "")
    assert cli("parked", "list", "--json").json == []
    assert cli("parked", "replay") == (0, "tried 0 again; 0 are still parked\n", "")


def test_parked_events_are_listed_with_owner_and_reason(cli: Cli, with_parked: Path) -> None:
    """The list shows who could not take what, why, and since when."""
    head, line = cli("parked", "list").out.splitlines()
    (item,) = cli("parked", "list", "--json").json

    assert head.split() == ["number", "owner", "event", "reason", "since"]
    assert line.split()[:3] == ["1", "plugin:picky", "cart"]
    assert "OSError: no answer" in line
    assert (item["owner"], item["event"]) == ("plugin:picky", "cart")
    assert item["id"]


@pytest.mark.parametrize(("owner", "count"), [("plugin:picky", 1), ("sink:archive", 0)])
def test_the_list_can_be_narrowed_to_an_owner(
    cli: Cli, with_parked: Path, owner: str, count: int
) -> None:
    """--owner shows only that one's events."""
    assert len(cli("parked", "list", "--owner", owner, "--json").json) == count


def test_a_replay_that_fails_again_keeps_the_events(cli: Cli, with_parked: Path) -> None:
    """While the plugin fails the events stay parked, and the exit code says so."""
    assert cli("parked", "replay") == (1, "tried 1 again; 1 are still parked\n", "")
    assert len(cli("parked", "list", "--json").json) == 1


def test_a_replay_brings_events_into_the_figures(cli: Cli, with_parked: Path) -> None:
    """When the plugin is mended a replay lets its events count, once."""
    before = cli("report", "--json").json
    _mend(with_parked)

    result = cli("parked", "replay", "--json")
    after = cli("report", "--json").json

    assert (result.code, result.json) == (0, {"tried": 1, "parked": 0})
    assert (before["events"], after["events"]) == (2, 3)
    assert [stage["entered"] for stage in after["journeys"][0]["stages"]] == [2, 1]
    assert cli("parked", "replay", "--json").json == {"tried": 0, "parked": 0}


def test_a_replay_can_be_narrowed_to_an_owner(cli: Cli, with_parked: Path) -> None:
    """--owner leaves the parked events of others alone."""
    _mend(with_parked)

    assert cli("parked", "replay", "--owner", "sink:archive", "--json").json["tried"] == 0
    assert len(cli("parked", "list", "--json").json) == 1


def test_one_parked_event_is_shown_whole(cli: Cli, with_parked: Path) -> None:
    """What is parked can be read before somebody decides about it."""
    shown = cli("parked", "show", "1", "--json").json

    assert (shown["owner"], shown["event"]["name"]) == ("plugin:picky", "cart")
    assert shown["event"]["customer"]["user_id"] == "u1"
    assert "OSError: no answer" in cli("parked", "show", "1").out
    missing = cli("parked", "show", "99")
    assert missing.code == 2
    assert "nothing is parked under 99" in missing.err


def test_dropping_is_for_good(cli: Cli, with_parked: Path) -> None:
    """A dropped event is neither parked nor in the Log, and is counted."""
    assert cli("parked", "drop", "1", "99", "--yes", "--json").json == {"dropped": 1}

    assert cli("parked", "list", "--json").json == []
    assert cli("report", "--json").json["events"] == 2
    assert cli("status", "--json").json["counters"]["dropped"] == 1


def test_dropping_a_number_that_is_not_there_fails(cli: Cli, with_parked: Path) -> None:
    """The exit code tells that one of the numbers was wrong."""
    assert cli("parked", "drop", "99", "--yes").code == 1
    assert len(cli("parked", "list", "--json").json) == 1
