from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import random
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from journeykit.cli.app import run

EXAMPLE = Path(__file__).parents[2] / "examples/imported_shop/journeykit.toml"

MAPPING = (
    "--map=customer=user_id",
    "--map=session=session_id",
    "--map=name=event",
    "--map=at=timestamp",
)

STAGES = {
    "awareness": ("home", "promo_page", "catalog", "search", "filter_results"),
    "consideration": ("product_view", "compare", "wishlist_add", "add_to_cart", "cart"),
    "purchase": ("shipping_details", "payment_details", "purchase"),
    "retention": ("account_page", "support_chat"),
    "advocacy": ("review_page",),
}
NOWHERE = ("checkout_bug", "error_page", "payment_error")
KEYS = list(STAGES)

Row = dict[str, str]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Return made-up rows like those of the real file: ties, twins, and out of order."""
    chance = random.Random(20240313)
    names = [name for names in (*STAGES.values(), NOWHERE) for name in names]
    found = []
    for number in range(900):
        user = chance.randrange(60)
        minute = chance.randrange(40)  # few minutes, so that many events share one
        found.append(
            {
                "user_id": f"user_{user:04d}",
                "session_id": f"sess_{user:04d}_{minute // 20}",
                # Some never get beyond the first stages.
                "event": chance.choice(names[: 5 + user % 15]),
                "timestamp": f"2024-03-{1 + number % 28:02d} 10:{minute:02d}:00",
                "platform": chance.choice(["desktop", "mobile"]),
                "acquisition_channel": "email",
                "user_cohort": "2024-01",
                "user_lifecycle": chance.choice(["new", "returning"]),
            }
        )
    for row in chance.sample(found, 20):
        found.insert(chance.randrange(len(found)), dict(row))
    return found


@pytest.fixture
def shop(tmp_path: Path, rows: list[Row]) -> Path:
    """Return a directory with the example's declarations and the rows in three formats."""
    shutil.copy(EXAMPLE, tmp_path)
    with (tmp_path / "shop.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "shop.csv.gz").write_bytes(gzip.compress((tmp_path / "shop.csv").read_bytes()))
    (tmp_path / "shop.jsonl").write_text(lines)
    (tmp_path / "shop.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    return tmp_path


def _journeykit(shop: Path, *arguments: str) -> Any:
    config = str(shop / "journeykit.toml")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert run([*arguments, "-c", config, "--json"]) == 0
    return json.loads(printed.getvalue())


def _in_a_process(shop: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "journeykit", *arguments]
    done = subprocess.run(command, cwd=shop, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def _import(shop: Path, file: str, *more: str) -> tuple[int, int, int]:
    result = _journeykit(shop, "import", str(shop / file), *MAPPING, *more)
    return result["added"], result["already_there"], result["rejected"]


def _figures(shop: Path) -> dict[str, Any]:
    report = _journeykit(shop, "report")
    (journey,) = report["journeys"]
    return {
        "events": report["events"],
        "customers": report["customers"],
        **{
            what: {stage["key"]: stage[what] for stage in journey["stages"]}
            for what in ("entered", "current", "furthest")
        },
    }


def _counted(rows: list[Row]) -> dict[str, Any]:
    """Count by hand: the figures that the report must show."""
    stage_of = {name: number for number, key in enumerate(KEYS) for name in STAGES[key]}
    visits: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for row in rows:
        if row["event"] in stage_of:
            visits[row["user_id"]].append((row["timestamp"], stage_of[row["event"]]))
    entered = Counter(stage for went in visits.values() for stage in {stage for _, stage in went})
    current = Counter(max(went)[1] for went in visits.values())
    furthest = Counter(max(stage for _, stage in went) for went in visits.values())
    counts = {"entered": entered, "current": current, "furthest": furthest}
    return {
        "events": len(rows),
        "customers": len({row["user_id"] for row in rows}),
        **{what: {key: n[i] for i, key in enumerate(KEYS)} for what, n in counts.items()},
    }


def test_the_report_of_an_import_is_what_one_counts_by_hand(shop: Path, rows: list[Row]) -> None:
    """Every figure equals an independent count, and a second import of the file changes none."""
    expected = _counted(rows)
    assert len({tuple(row.values()) for row in rows}) < len(rows), "identical rows are wanted"
    assert min(min(expected[what].values()) for what in ("entered", "current")) > 0

    printed = _in_a_process(shop, "import", "shop.csv", *MAPPING)
    assert printed.startswith(f"{len(rows)} rows: {len(rows)} events added, 0 already there")
    assert json.loads(_in_a_process(shop, "report", "--json"))["events"] == len(rows)
    assert _figures(shop) == expected
    assert _import(shop, "shop.csv.gz") == (0, len(rows), 0)
    assert _figures(shop) == expected


@pytest.mark.parametrize("file", ["shop.csv.gz", "shop.jsonl", "shop.jsonl.gz"])
def test_every_format_gives_the_same_figures(shop: Path, rows: list[Row], file: str) -> None:
    """CSV and JSON lines, plain and compressed, are the same events."""
    assert _import(shop, file) == (len(rows), 0, 0)
    assert _figures(shop) == _counted(rows)


def test_a_file_in_parts_and_backwards_gives_the_same_figures(shop: Path, rows: list[Row]) -> None:
    """In which order the rows arrive does not matter: what is older is folded where it belongs."""
    for number, part in enumerate((rows[600:][::-1], rows[:600][::-1])):
        lines = "".join(json.dumps(row) + "\n" for row in part)
        (shop / f"part{number}.jsonl").write_text(lines)
        assert _import(shop, f"part{number}.jsonl") == (len(part), 0, 0)

    assert _figures(shop) == _counted(rows)


def test_history_goes_to_a_sink_only_on_request(shop: Path, rows: list[Row]) -> None:
    """Without --deliver the file sink gets nothing; with it, every event with all its columns."""
    archive = shop / "var/events.jsonl"

    _import(shop, "shop.csv")
    assert not archive.exists() or archive.read_bytes() == b""
    _import(shop, "shop.csv", "--source", "again", "--deliver")

    events = [json.loads(line) for line in archive.read_text().splitlines()]
    sent = [event for event in events if event["kind"] == "touchpoint"]
    assert all(event["historical"] for event in events)
    assert sorted(event["properties"]["platform"] for event in sent) == sorted(
        row["platform"] for row in rows
    )
    first, row = sent[0], rows[0]
    assert first["name"] == row["event"]
    assert first["occurred_at"] == row["timestamp"].replace(" ", "T") + ".000000Z"
    assert first["customer"] == {
        "user_id": row["user_id"],
        "anonymous_id": None,
        "session_id": row["session_id"],
    }
    assert first["properties"] == {
        name: row[name]
        for name in ("platform", "acquisition_channel", "user_cohort", "user_lifecycle")
    }


def test_a_plugin_that_fails_in_every_hook_changes_no_figure(shop: Path, rows: list[Row]) -> None:
    """With a plugin that raises wherever it is asked at run time, the figures are those without."""
    (shop / "bad.py").write_text(
        "from journeykit import hookimpl\n"
        + "".join(
            f"@hookimpl\ndef {hook}({arguments}):\n    raise RuntimeError('broken')\n"
            for hook, arguments in {
                "enrich_event": "event",
                "detect_stage": "event, journey, instance",
                "detect_pain_points": "event, customer",
                "event_parked": "event, sink, reason",
                "select_prompt": "candidates, customer, page",
                "read_answer": "answer",
                "route_case": "case",
            }.items()
        )
    )
    _add_plugin(shop)

    assert _import(shop, "shop.csv", "--deliver") == (len(rows), 0, 0)
    assert _figures(shop) == _counted(rows)
    assert [item["hooks"] for item in _journeykit(shop, "plugins") if item["name"] == "bad"]


def test_what_a_plugin_could_not_accept_is_replayed_without_it(shop: Path, rows: list[Row]) -> None:
    """A plugin that raises in accept_event parks every event; without it a replay counts them all."""
    before = (shop / "journeykit.toml").read_text()
    (shop / "bad.py").write_text(
        "from journeykit import hookimpl\n@hookimpl\ndef accept_event(event):\n    raise OSError\n"
    )
    _add_plugin(shop)
    result = _journeykit(shop, "import", str(shop / "shop.csv"), *MAPPING)
    assert (result["added"], result["parked"]) == (0, len(rows))
    assert _figures(shop)["events"] == 0
    assert _journeykit(shop, "status")["parked"] == {"plugin:bad": len(rows)}
    assert {item["owner"] for item in _journeykit(shop, "parked", "list")} == {"plugin:bad"}

    (shop / "journeykit.toml").write_text(before)

    assert _journeykit(shop, "parked", "replay") == {"tried": len(rows), "parked": 0}
    assert _figures(shop) == _counted(rows)
    assert _import(shop, "shop.csv") == (0, len(rows), 0)


def _add_plugin(shop: Path) -> None:
    with (shop / "journeykit.toml").open("a") as file:
        file.write('\n[plugins]\nfiles = ["bad.py"]\n')
