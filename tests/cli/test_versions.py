from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]

SECOND = """
[[journeys]]
key = "shop"
version = 2
publish = {publish}
stages = [
  {{ key = "awareness", enter = ["home", "catalog", "search"] }},
  {{ key = "order", enter = ["cart", "purchase"] }},
  {{ key = "advocacy", enter = ["review"] }},
]
goal = {{ event = "purchase", within = "24h" }}
"""


@pytest.fixture
def loaded(cli: Cli, mapping: tuple[str, ...], shop: Path) -> Path:
    """Return the shop's directory, with its rows imported."""
    assert cli("import", "rows.csv", *mapping).code == 0
    return shop


def second(shop: Path, publish: str = '"drain"') -> str:
    """Write version 2 of the shop's journey beside the first; returns the file's name."""
    first = (shop / "journeykit.toml").read_text()
    head, _, rest = first.partition("[[journeys]]")
    tail = rest[rest.index("[sinks") :]
    (shop / "second.toml").write_text(head + SECOND.format(publish=publish) + tail)
    return "second.toml"


def test_diff_names_what_changes(cli: Cli, loaded: Path) -> None:
    """Stages that come, go or are renamed are told apart from changed rules."""
    (found,) = cli("diff", "journeykit.toml", second(loaded), "--json").json["journeys"]

    assert (found["key"], found["old"], found["new"]) == ("shop", 1, 2)
    assert [(item["what"], item["path"]) for item in found["changes"]] == [
        ("renamed", "stages.purchase"),
        ("added", "stages.advocacy"),
        ("changed", "stages.awareness.enter"),
        ("changed", "goal"),
    ]
    assert found["changes"][3] == {
        "what": "changed",
        "path": "goal",
        "old": None,
        "new": {"event": "purchase", "within": 86400.0},
    }
    assert found["in_place"] is False


def test_diff_without_files_compares_with_what_was_published(cli: Cli, loaded: Path) -> None:
    """The store's version and the configuration are the two sides; in place is told as such."""
    path = loaded / "journeykit.toml"
    assert cli("diff").out == "shop@1 → shop@1: events fold as before\n"
    path.write_text(path.read_text().replace('"cart", "purchase"', '"purchase"'))

    result = cli("diff")

    assert result.code == 0
    assert result.out.splitlines() == [
        "shop@1 → shop@1",
        "what     where                  old             new",
        "changed  stages.purchase.enter  cart, purchase  purchase",
        "This changes version 1 in place: write version = 2",
    ]


@pytest.mark.parametrize(
    ("publish", "fates"),
    [
        ('"drain"', ["stay on shop@1", "stay on shop@1"]),
        ('"close"', ["end as superseded", "end as superseded"]),
        ('{ migrate = { purchase = "order" } }', ["stay on shop@1", "go on in order of shop@2"]),
    ],
)
def test_diff_says_what_becomes_of_runs_under_way(
    cli: Cli, loaded: Path, publish: str, fates: list[str]
) -> None:
    """Runs are counted by stage, with what the publication will do to them."""
    (loaded / "journeykit.toml").write_text((loaded / second(loaded, publish)).read_text())

    lines = cli("diff").out.splitlines()

    table = lines[lines.index("") + 1 :]
    assert table[0].split() == ["runs", "under", "way", "in", "will"]
    assert [line.split("  ")[-1].strip() for line in table[1:]] == fates
    assert [line.split()[0] for line in table[1:]] == ["1", "1"]
    assert cli("drain").code == 0
    after = cli("report", "--json").json["journeys"]
    here = [sum(stage["current"] for stage in item["stages"]) for item in after]
    assert here == [fates.count("stay on shop@1"), fates.count("go on in order of shop@2")]


def test_diff_opens_nothing_that_is_not_there(cli: Cli, shop: Path) -> None:
    """Before the first event there is no store, and a look makes none."""
    result = cli("diff")

    assert result.out == "shop: version 1 is a new journey; it counts the whole Log\n"
    assert not (shop / "var").exists()


def test_diff_names_journeys_of_one_side(cli: Cli, loaded: Path) -> None:
    """A journey that is no longer declared is told, and so is one that is new."""
    path = loaded / "journeykit.toml"
    path.write_text(path.read_text().replace('key = "shop"', 'key = "store"'))

    assert cli("diff").out.splitlines() == [
        "shop: is not declared any more; nothing folds, and its figures go",
        "store: version 1 is a new journey; it counts the whole Log",
    ]


def test_diff_refuses_a_file_with_mistakes(cli: Cli, loaded: Path) -> None:
    """A file that could not be started with cannot be compared."""
    (loaded / "wrong.toml").write_text("[[journeys]]\nkey = 'x'\nversion = 1\n")

    result = cli("diff", "journeykit.toml", "wrong.toml", "--json")

    assert result.code == 2
    assert any("journeys.x.stages" in problem for problem in result.json["problems"])


@pytest.mark.parametrize(
    ("old", "problem"),
    [("missing.toml", "there is no such file"), ("broken.toml", "it is not valid TOML")],
)
def test_diff_names_a_file_that_cannot_be_read(
    cli: Cli, loaded: Path, old: str, problem: str
) -> None:
    """A file that is missing or no TOML is told in one line, with its name."""
    (loaded / "broken.toml").write_text("x = [")

    result = cli("diff", old, "journeykit.toml")

    assert result.code == 2
    assert old in result.err
    assert problem in result.err


def test_report_adds_up_the_versions(cli: Cli, loaded: Path) -> None:
    """Above the versions of a journey is what they come to; who was moved counts once."""
    path = loaded / "journeykit.toml"
    before = cli("report", "--json").json
    assert before["totals"] == []
    path.write_text((loaded / second(loaded, '{ migrate = { purchase = "order" } }')).read_text())
    assert cli("drain").code == 0

    (total,) = cli("report", "--json").json["totals"]
    lines = cli("report").out.splitlines()

    assert (total["versions"], total["moved"]) == ([1, 2], 1)
    assert total["instances"] == before["journeys"][0]["instances"]
    assert total["completed"] == 0
    assert "versions 1 and 2 together: 2 begun" in lines[2]
    assert lines[3] == "(1 went on in another version, and are counted once here)"
    customers = cli("report", "--customers", "5", "--json").json["journeys"]
    assert [[one["version"] for one in item["customers"]] for item in customers] == [[1], [2]]
