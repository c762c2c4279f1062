from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]

COUPONS = """
from journeykit import PainPoint, hookimpl

@hookimpl
def detect_pain_points(event):
    if event.name == "cart":
        yield PainPoint("cart.seen")
"""


@pytest.fixture
def loaded(cli: Cli, shop: Path, mapping: tuple[str, ...]) -> Path:
    """Return a shop with the events of two customers, delivered to the archive."""
    assert cli("import", "rows.csv", *mapping, "--deliver").code == 0
    return shop


def test_customer_is_erased_place_by_place(cli: Cli, loaded: Path) -> None:
    """The command waits for the end, and prints what was done where."""
    assert '"u1"' in (loaded / "var" / "events.jsonl").read_text()

    result = cli("erase", "u1", "--reason", "asked by letter")

    assert (result.code, result.err) == (0, "")
    words = [line.split()[:2] for line in result.out.splitlines()]
    assert words[0] == ["place", "status"]
    assert ["log", "erased"] in words
    assert ["sink:archive", "erased"] in words
    assert '"u1"' not in (loaded / "var" / "events.jsonl").read_text()
    assert cli("report", "--json").json["customers"] == 1


def test_report_as_json(cli: Cli, loaded: Path) -> None:
    """With --json the report is one object, and the status a list of them."""
    found = cli("erase", "u1", "--reason", "asked", "--actor", "customer", "--json").json
    assert (found["done"], found["actor"], found["reason"]) == (True, "customer", "asked")
    assert [place["name"] for place in found["places"]] == [
        "log",
        "state",
        "trail",
        "parked",
        "claims",
        "free_space",
        "spool",
        "set_aside",
        "sink:archive",
    ]
    assert cli("erase", "--status", "--json").json == [found]


def test_status_in_words(cli: Cli, loaded: Path) -> None:
    """The status lists requests with who asked and why, or says that there were none."""
    assert cli("erase", "--status") == (0, "Nobody was erased.\n", "")
    cli("erase", "u1", "--reason", "asked")
    line = cli("erase", "--status").out.splitlines()[-1]
    assert line.split()[-3:] == ["operator", "asked", "done"]


def test_anonymous_customer(cli: Cli, loaded: Path) -> None:
    """Somebody without a user id is named by the anonymous one."""
    with sqlite3.connect(loaded / "var" / "journeykit.db") as db:
        before = db.execute("SELECT count(*) FROM log").fetchone()[0]
    db.close()
    found = cli("erase", "--anonymous", "u1", "--reason", "asked", "--json").json
    assert found["places"][0]["count"] == 0
    with sqlite3.connect(loaded / "var" / "journeykit.db") as db:
        assert db.execute("SELECT count(*) FROM log").fetchone()[0] == before + 1
    db.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["erase", "--reason", "asked"], "CUSTOMER"),
        (["erase", "u1"], "--reason"),
        (["erase", "u1", "--reason", "u1 asked"], "must not name"),
        (["erase", "", "--reason", "asked"], "no customer"),
    ],
)
def test_wrong_usage_erases_nothing(
    cli: Cli, loaded: Path, arguments: list[str], said: str
) -> None:
    """What is missing is named, with exit code 2, and nothing is written."""
    result = cli(*arguments)
    assert result.code == 2
    assert said in result.err
    assert cli("erase", "--status").out == "Nobody was erased.\n"


def test_what_a_person_has_to_see_to_is_a_failure(cli: Cli, loaded: Path) -> None:
    """A sink that cannot erase, or a file that was set aside, makes the exit code 1."""
    (loaded / "var" / "journeykit.db.damaged-20260101T000000.000000Z").touch()
    result = cli("erase", "u1", "--reason", "asked")
    assert result.code == 1
    assert "journeykit.db.damaged-" in result.out


def test_sink_that_is_no_more_is_given_up(cli: Cli, loaded: Path) -> None:
    """An erasure waits for a sink that is no longer declared, until it is given up."""
    text = (loaded / "journeykit.toml").read_text()
    (loaded / "journeykit.toml").write_text(text[: text.index("[sinks.archive]")])
    result = cli("erase", "u1", "--reason", "asked", "--timeout", "1")
    assert (result.code, "not all is done yet" in result.err) == (1, True)
    assert "waits for sink:archive" in cli("erase", "--status").out
    cli("erase", "--give-up", "archive")
    assert cli("drain").code == 0
    found = cli("erase", "--status", "--json").json
    assert found[0]["places"][-1]["status"] == "failed"


def test_without_the_apps_plugins_state_is_left_to_the_app(
    cli: Cli, loaded: Path, mapping: tuple[str, ...]
) -> None:
    """A command that lacks a hook with which State was made only writes the request."""
    declared = (loaded / "journeykit.toml").read_text()
    (loaded / "coupons.py").write_text(COUPONS)
    with (loaded / "journeykit.toml").open("a") as file:
        file.write('\n[plugins]\nfiles = ["coupons.py"]\n')
    assert cli("rebuild").code == 0
    (loaded / "journeykit.toml").write_text(declared)

    result = cli("erase", "u1", "--reason", "asked", "--timeout", "1", "--json")

    assert (result.code, result.json["done"]) == (1, False)
    (loaded / "journeykit.toml").write_text(declared + '\n[plugins]\nfiles = ["coupons.py"]\n')
    assert cli("drain").code == 0
    assert cli("erase", "--status", "--json").json[0]["places"][0]["status"] == "erased"


def test_import_of_an_erased_customer_is_told(
    cli: Cli, loaded: Path, mapping: tuple[str, ...]
) -> None:
    """Importing the same file again leaves the erased customer out, and says so."""
    cli("erase", "u1", "--reason", "asked")
    result = cli("import", "rows.csv", *mapping)
    assert "2 events are of customers who were erased; left out" in result.out
    assert "erased   2 events came after their customer was erased" in cli("status").out
