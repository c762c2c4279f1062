from __future__ import annotations

import json
import re
import sqlite3
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from journeykit import Customer, JourneyKit
from journeykit.config import Consent, Core, Settings
from journeykit.model import jsonbytes
from journeykit.model.times import to_datetime
from journeykit.store.sqlite import SQLiteStore

Cli = Callable[..., Any]

COMMANDS = (
    ("check",),
    ("diff",),
    ("import",),
    ("report",),
    ("status",),
    ("plugins",),
    ("parked",),
    ("parked", "list"),
    ("parked", "replay"),
    ("demo",),
)


@pytest.fixture
def loaded(cli: Cli, mapping: tuple[str, ...], shop: Path) -> Path:
    """Return the shop's directory, with its rows imported."""
    assert cli("import", "rows.csv", *mapping).code == 0
    return shop


def _track_without_folding(shop: Path) -> None:
    """Put two live events into the Log that nobody has folded or delivered yet."""
    core = Core(store=f"sqlite:///{shop / 'var/journeykit.db'}")
    with JourneyKit(Settings(consent=Consent("opt_out"), core=core)) as kit:
        for number, name in enumerate(("home", "cart")):
            at = to_datetime(1710325274_000000 + number)
            assert kit.track(name, customer=Customer("late"), at=at)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(cli: Cli, command: Sequence[str]) -> None:
    """--help of each command fits a terminal and says what it does and what each option is."""
    result = cli(*command, "--help")

    assert (result.code, result.err) == (0, "")
    usage, _, first, *rest = result.out.splitlines()
    assert usage.startswith(f"Usage: journeykit {' '.join(command)} [OPTIONS]")
    assert first.startswith("  ")
    assert any(line.startswith("  -h, --help") for line in rest)
    assert max(map(len, result.out.splitlines())) <= 100


def test_the_command_alone_lists_the_commands(cli: Cli) -> None:
    """Without a command, and with an unknown one, exit code 2 and a hint."""
    bare, unknown = cli(), cli("frobnicate")

    assert bare.code == unknown.code == 2
    assert {name for name, *_ in COMMANDS} <= set((bare.out + bare.err).split())
    assert "No such command 'frobnicate'" in unknown.err


def test_the_version_is_told(process: Callable[..., Any]) -> None:
    """--version names the program and its version."""
    result = process("--version")

    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("journeykit, version 0.")


def test_check_shows_what_is_declared_and_opens_nothing(cli: Cli, shop: Path) -> None:
    """A fine configuration is shown with its stages, and no store is made."""
    result, as_json = cli("check"), cli("check", "--json")

    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"{shop / 'journeykit.toml'}: fine\n")
    assert "\nawareness  home, catalog   –\n" in result.out
    assert as_json.json["ok"] is True
    assert as_json.json["journeys"] == [
        {"key": "shop", "version": 1, "stages": ["awareness", "purchase"]}
    ]
    assert "\nsinks    archive\n" in result.out
    assert as_json.json["sinks"] == [{"name": "archive", "purpose": None, "third_party": False}]
    assert not (shop / "var").exists()


def test_check_shows_what_sinks_ask_for(cli: Cli, shop: Path) -> None:
    """A sink is shown with its purpose, and as a third party's."""
    with (shop / "journeykit.toml").open("a") as file:
        file.write('[sinks.crm]\ntype = "console"\npurpose = "marketing"\nthird_party = true\n')
    result, as_json = cli("check"), cli("check", "--json")

    assert "\nsinks    archive, crm (purpose marketing, third party)\n" in result.out
    assert {"name": "crm", "purpose": "marketing", "third_party": True} in as_json.json["sinks"]


@pytest.mark.parametrize("as_json", [False, True])
def test_check_names_every_mistake(cli: Cli, shop: Path, as_json: bool) -> None:
    """All mistakes are listed at once, with exit code 2."""
    (shop / "journeykit.toml").write_text(
        '[journeykit]\nstore = 7\n[consent]\nmode = "perhaps"\n[sinks.fax]\ntype = "fax"\n[extra]\n'
    )

    result = cli("check", *["--json"] * as_json)

    assert result.code == 2
    head, *lines = result.err.splitlines()
    assert head == f"error: {shop / 'journeykit.toml'}: 4 mistakes"
    assert {line.strip(" -").split(":")[0] for line in lines} == {
        "journeykit.store",
        "consent.mode",
        "sinks.fax.type",
        "extra",
    }
    if as_json:
        assert [f"  - {problem}" for problem in result.json["problems"]] == lines


def test_the_configuration_can_come_from_the_environment(
    cli: Cli, shop: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """JOURNEYKIT_CONFIG names the file where -c does not; -c wins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JOURNEYKIT_CONFIG", str(shop / "journeykit.toml"))

    assert cli("check").code == 0
    assert cli("check", "-c", "other.toml").code == 2


@pytest.mark.parametrize(
    "hook",
    [
        "register_sinks",
        "register_sources",
        "register_journeys",
        "register_rules",
        "register_endpoints",
    ],
)
@pytest.mark.parametrize("command", [["check"], ["import", "rows.csv"]])
def test_a_plugin_that_fails_at_the_start_stops_it(
    cli: Cli, shop: Path, mapping: tuple[str, ...], hook: str, command: list[str]
) -> None:
    """A plugin that raises while it registers ends every command with its name and hook."""
    arguments = "settings" if hook == "register_endpoints" else ""
    (shop / "bad.py").write_text(
        f"from journeykit import hookimpl\n@hookimpl\ndef {hook}({arguments}):\n    1 / 0\n"
    )
    with (shop / "journeykit.toml").open("a") as file:
        file.write('[plugins]\nfiles = ["bad.py"]\n')

    result = cli(*command, *mapping * (command[0] == "import"), "--json")

    message = f"plugin 'bad' failed in {hook}: ZeroDivisionError: division by zero"
    assert (result.code, result.err) == (2, f"error: {message}\n")
    assert result.json == {"ok": False, "error": message}
    assert not (shop / "var").exists()


def test_the_report_is_a_table_in_plain_text(cli: Cli, loaded: Path) -> None:
    """In a pipe the report is plain text with aligned columns."""
    expected = (
        "3 events of 2 customers\n"
        "\n"
        "Shop (shop@1): 2 begun\n"
        "stage      entered  of all  now  no further  of all\n"
        "Awareness        2    100%    1           1     50%\n"
        "Purchase         1     50%    1           1     50%\n"
    )
    assert cli("report") == (0, expected, "")


def test_the_report_lists_customers_on_request(cli: Cli, loaded: Path) -> None:
    """--customers lists so many customers with their stages, the latest first, also as JSON."""
    plain = cli("report", "--customers", "1")
    as_json = cli("report", "--customers", "5", "--json")

    assert plain.out.splitlines()[-1].split() == [
        *("u2", "–", "awareness", "awareness", "2024-03-13", "10:23")
    ]
    (journey,) = as_json.json["journeys"]
    assert [one["customer"] for one in journey["customers"]] == ["u2", "u1"]
    assert journey["customers"][1] == {
        "customer": "u1",
        "known": True,
        "stage": "purchase",
        "furthest": "purchase",
        "instance": "",
        "last_seen": "2024-03-13T10:22:14+00:00",
        "version": 1,
    }
    assert as_json.json["current"] is True
    assert cli("report", "--customers", "0").code == 2


def test_an_anonymous_customer_is_shown_as_such(cli: Cli, shop: Path) -> None:
    """An anonymous customer's id is shortened and said to be one."""
    line = {"cookie": "0123456789abcdef", "event": "home", "timestamp": "2024-03-13"}
    (shop / "rows.jsonl").write_text(json.dumps(line))
    cli("import", "rows.jsonl", "--map=anonymous=cookie", "--map=name=event", "--map=at=timestamp")

    assert "\n01234567… (anonymous)  –" in cli("report", "--customers", "1").out


def test_the_report_of_one_journey(cli: Cli, loaded: Path) -> None:
    """--journey shows that journey only; an unknown one is refused with those there are."""
    message = "there is no journey 'shopping'; there are: shop"

    assert [item["key"] for item in cli("report", "--journey", "shop", "--json").json["journeys"]]
    result = cli("report", "--journey", "shopping", "--json")

    assert (result.code, result.err) == (2, f"error: {message}\n")
    assert result.json == {"ok": False, "error": message}


def test_the_report_of_a_shop_that_nobody_has_visited(cli: Cli, shop: Path) -> None:
    """Before the first event the report says that there is nobody."""
    assert cli("report").out == "0 events of 0 customers\n\nShop (shop@1): nobody yet\n"


def test_the_report_folds_what_was_left_and_delivers_nothing(cli: Cli, shop: Path) -> None:
    """Events that a killed process left unfolded are in the report; no sink gets any by it."""
    _track_without_folding(shop)

    report = cli("report", "--json").json

    assert (report["events"], report["customers"], report["current"]) == (2, 1, True)
    assert [stage["current"] for stage in report["journeys"][0]["stages"]] == [0, 1]
    assert not (shop / "var/events.jsonl").exists()
    assert cli("status", "--json").json["sinks"][0]["behind"] is True


def test_a_version_that_was_changed_in_place_is_a_mistake(cli: Cli, loaded: Path) -> None:
    """Every command refuses a published version that was changed, says where, and what to do."""
    path = loaded / "journeykit.toml"
    path.write_text(path.read_text().replace('"cart", "purchase"', '"purchase"'))

    for command in ("check", "report"):
        result = cli(command, "--json")
        assert result.code == 2
        (problem,) = result.json["problems"]
        assert problem == (
            "journeys.shop: version 1 was published with another content (stages.purchase.enter); "
            "put that back, or write version = 2. While you try things out, write drafts = true in "
            "[journeykit]"
        )


def test_the_report_follows_a_draft(cli: Cli, loaded: Path) -> None:
    """With drafts, the report counts anew by the present declarations."""
    path = loaded / "journeykit.toml"
    text = path.read_text().replace('"cart", "purchase"', '"purchase"')
    path.write_text(text.replace("[journeykit]", "[journeykit]\ndrafts = true"))

    report = cli("report", "--json").json

    assert [stage["current"] for stage in report["journeys"][0]["stages"]] == [2, 0]
    assert report["current"] is True


def test_the_report_publishes_no_new_version(cli: Cli, loaded: Path) -> None:
    """Who only looks publishes no version of a journey that has another one already."""
    path = loaded / "journeykit.toml"
    path.write_text(path.read_text().replace("version = 1", "version = 2"))

    report = cli("report", "--json").json

    assert report["current"] is False
    assert [item["version"] for item in report["journeys"]] == [1]
    assert cli("drain").code == 0
    report = cli("report", "--json").json
    assert [(item["version"], item["instances"]) for item in report["journeys"]] == [(1, 2), (2, 0)]
    assert report["current"] is True


def test_the_report_leaves_the_state_of_plugins_that_it_lacks_alone(
    cli: Cli, shop: Path, mapping: tuple[str, ...]
) -> None:
    """Where plugins of the app have had a say, a report without them changes nothing and says so."""
    path = shop / "journeykit.toml"
    without = path.read_text()
    (shop / "mine.py").write_text(
        "from journeykit import hookimpl\n"
        "@hookimpl\n"
        "def detect_stage(event):\n"
        "    return 'purchase'\n"
    )
    path.write_text(without + '\n[plugins]\nfiles = ["mine.py"]\n')
    cli("import", "rows.csv", *mapping)
    path.write_text(without)

    plain, as_json = cli("report"), cli("report", "--json")

    assert plain.code == 0
    assert "These figures are not up to date" in plain.out
    assert as_json.json["current"] is False
    assert [stage["current"] for stage in as_json.json["journeys"][0]["stages"]] == [0, 2]


def test_the_status_of_a_shop(cli: Cli, loaded: Path) -> None:
    """The status tells where the store is and how far its readers are."""
    result, as_json = cli("status"), cli("status", "--json")

    store, disk, *others = result.out.splitlines()
    assert (result.code, result.err) == (0, "")
    assert store == f"store    {loaded / 'var/journeykit.db'}"
    assert re.fullmatch(r"disk     database \d+\.\d MiB, write ahead \d+\.\d MiB", disk)
    assert others == ["events   3", "folded   all", "sink     archive: has everything"]
    assert as_json.json["counters"]["events"] == 3
    assert as_json.json["behind"] is False


def test_the_status_tells_what_was_redacted_and_not_sent(
    cli: Cli, shop: Path, mapping: tuple[str, ...]
) -> None:
    """What was redacted, by its kind, and what a sink may not have show in the status."""
    with (shop / "journeykit.toml").open("a") as file:
        file.write('[sinks.crm]\ntype = "console"\npurpose = "marketing"\n')
    kit = JourneyKit.from_toml(shop / "journeykit.toml")
    with kit.bind_customer("u1", purposes=["analytics"]):
        kit.track("home", {"note": "ada@example.com"})
    assert kit.flush()
    kit.close()
    out = cli("status").out

    assert "redacted 1 times: email\n" in out
    assert "not sent 2 to crm: the customers have not agreed\n" in out


def test_the_status_tells_of_a_sink_that_fails(cli: Cli, loaded: Path) -> None:
    """What another process has told of a sink shows, with when that was."""
    told = {
        "breaker": "open",
        "failures": 3,
        "last_error": "HTTP 503",
        "next_try": "2026-01-02T03:04:05.600000Z",
        "held_back": 2,
        "process": 99,
        "as_of": "2026-01-02T03:04:01.200000Z",
    }
    with closing(SQLiteStore(loaded / "var/journeykit.db")) as store:
        store.tell_status("sink:archive", jsonbytes.dumps(told))

    assert (
        "sink     archive: has everything; failed 3 times in a row: HTTP 503; "
        "next try 2026-01-02T03:04:05Z; 2 events are held back "
        "(process 99 at 2026-01-02T03:04:01Z)\n"
    ) in cli("status").out
    sink = cli("status", "--json").json["sinks"][0]
    assert {**sink, **told} == sink
    assert (sink["name"], sink["calling_for"]) == ("archive", None)


def test_the_status_tells_what_waits_and_what_was_kept_back(
    cli: Cli, shop: Path, mapping: tuple[str, ...]
) -> None:
    """Unfolded, undelivered, parked and withheld events all show in the status."""
    _track_without_folding(shop)
    waiting = cli("status").out
    (shop / "picky.py").write_text(
        "from journeykit import hookimpl\n"
        "@hookimpl\n"
        "def accept_event(event):\n"
        "    if event.customer.user_id == 'u2':\n"
        "        raise OSError('no answer')\n"
        "    return event.name != 'cart'\n"
    )
    with (shop / "journeykit.toml").open("a") as file:
        file.write('[plugins]\nfiles = ["picky.py"]\n')
    cli("import", "rows.csv", *mapping)
    after = cli("status").out

    assert "folded   not all of them yet\nsink     archive: has events to deliver\n" in waiting
    assert "parked   1 by plugin:picky (journeykit parked list)\n" in after
    assert "withheld 1 by picky\n" in after


@pytest.mark.parametrize("damage", ["header", "emptied"])
def test_the_status_tells_of_damage_and_repairs_nothing(
    cli: Cli, loaded: Path, damage: str
) -> None:
    """A damaged store is told of and left as it is; whatever commits repairs it, which shows."""
    store = loaded / "var/journeykit.db"
    content = bytes(100) + store.read_bytes()[100:] if damage == "header" else b""
    store.write_bytes(content)

    told, as_json = cli("status"), cli("status", "--json")

    assert told.code == as_json.code == 1
    assert told.err.startswith(f"error: store {store}: it is damaged (")
    assert "a process that tracks repairs it, and so does `journeykit drain`" in told.err
    assert as_json.json["ok"] is False
    assert store.read_bytes() == content
    assert not list(store.parent.glob("*.damaged-*"))

    assert cli("drain").code == 0

    (aside,) = store.parent.glob("journeykit.db.damaged-*")
    lost = 0 if damage == "header" else 3
    assert cli("status", "--json").json["damage"] == {
        "salvaged": 3 - lost,
        "lost": lost,
        "files": [str(aside)],
    }
    line = f"damaged  {lost} events lost, {3 - lost} taken over from what was set aside:"
    assert f"{line}\n         {aside}\n" in cli("status").out


def test_the_plugins_are_listed_with_what_they_do(cli: Cli, shop: Path) -> None:
    """Each plugin is listed with its origin and its hooks."""
    (shop / "mine.py").write_text(
        "from journeykit import hookimpl\n@hookimpl\ndef enrich_event(event):\n    return {}\n"
    )
    with (shop / "journeykit.toml").open("a") as file:
        file.write('[plugins]\nfiles = ["mine.py"]\n')

    result, as_json = cli("plugins"), cli("plugins", "--json")

    assert ["mine", "app", "enrich_event", "–"] in [
        line.split() for line in result.out.splitlines()
    ]
    (mine,) = [item for item in as_json.json if item["name"] == "mine"]
    assert (mine["origin"], mine["hooks"], mine["tripped"]) == ("app", ["enrich_event"], None)


def test_without_a_shop_installed_plugins_are_listed(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has no shop sees what is installed; a file that was named and is not there is a mistake."""
    monkeypatch.chdir(tmp_path)
    listed, as_json = cli("plugins"), cli("plugins", "--json")
    named = cli("plugins", "-c", "journeykit.toml")

    assert listed.code == as_json.code == 0
    assert "journeykit.delivery.builtin" in listed.out
    assert "there is no journeykit.toml here" in listed.err
    assert as_json.json[-1]["origin"] == "built-in"
    assert named.code == 2
    assert "there is no such file" in named.err


def test_what_hooks_have_cost_is_shown_across_processes(
    cli: Cli, shop: Path, mapping: tuple[str, ...]
) -> None:
    """Another process shows how often each hook was asked, failed, and for how long it ran."""
    (shop / "mine.py").write_text(
        "from journeykit import hookimpl\n"
        "@hookimpl\ndef enrich_event(event):\n    if event.name == 'cart':\n        raise OSError\n"
        "@hookimpl\ndef detect_stage():\n    pass\n"
    )
    with (shop / "journeykit.toml").open("a") as file:
        file.write('[plugins]\nfiles = ["mine.py"]\n')
    assert "have cost" not in cli("plugins").out
    assert cli("import", "rows.csv", *mapping).code == 0
    assert cli("drain").code == 0

    (mine,) = [item for item in cli("plugins", "--json").json if item["name"] == "mine"]
    asked = {hook: (cost["asked"], cost["failed"]) for hook, cost in mine["costs"].items()}
    assert asked == {"detect_stage": (3, 0), "enrich_event": (3, 1)}
    assert (mine["calls"], mine["errors"]) == (6, 1)
    assert mine["seconds"] == pytest.approx(
        sum(cost["seconds"] for cost in mine["costs"].values()), abs=1e-5
    )
    shown = cli("plugins").out.partition("What they have cost, in all processes\n")[2]
    table = [line.split() for line in shown.splitlines()]
    assert table[0] == ["plugin", "hook", "asked", "failed", "seconds", "µs", "each"]
    assert [row[:4] for row in table[1:]] == [
        ["mine", "detect_stage", "3", "0"],
        ["mine", "enrich_event", "3", "1"],
    ]


def test_a_plugin_that_hung_is_listed_with_the_hook(cli: Cli, loaded: Path) -> None:
    """That a plugin was tripped is in the store, so another process can list it."""
    (loaded / "mine.py").write_text(
        "from journeykit import hookimpl\n@hookimpl\ndef enrich_event(event):\n    return {}\n"
    )
    with (loaded / "journeykit.toml").open("a") as file:
        file.write('[plugins]\nfiles = ["mine.py"]\n')
    with closing(sqlite3.connect(loaded / "var/journeykit.db")) as db:
        db.execute("INSERT INTO counter (name, value) VALUES ('tripped:mine:enrich_event', 1)")
        db.commit()

    assert "mine" in cli("status").out
    (mine,) = [item for item in cli("plugins", "--json").json if item["name"] == "mine"]
    assert mine["tripped"] == "enrich_event"


@pytest.mark.parametrize("command", [["report"], ["status"], ["plugins"], ["parked", "list"]])
def test_a_store_that_cannot_be_opened_is_one_line(
    cli: Cli, shop: Path, command: list[str]
) -> None:
    """A command that needs the store fails in one line, as text and as JSON, if it has none."""
    (shop / "var").touch()

    result = cli(*command, "--json")

    assert result.code == 1
    assert result.err.startswith(f"error: store {shop / 'var/journeykit.db'}: ")
    assert len(result.err.splitlines()) == 1
    assert f"error: {result.json['error']}\n" == result.err


def test_a_report_on_a_terminal_is_drawn(
    cli: Cli, loaded: Path, terminal: Callable[[Sequence[str]], tuple[int, str]]
) -> None:
    """On a terminal the tables are drawn, and a title that looks like markup is only a title."""
    path = loaded / "journeykit.toml"
    path.write_text(path.read_text().replace("version = 1", 'version = 1\ntitle = "[/b] [red]X"'))

    code, seen = terminal([sys.executable, "-m", "journeykit", "report"])

    assert code == 0
    assert "[/b] [red]X (shop@1): 2 begun" in seen
    assert "───" in seen
    assert "\x1b[" in seen


def test_a_report_of_another_width_is_the_same(process: Callable[..., Any]) -> None:
    """A narrow or unknown terminal changes nothing in a pipe."""
    assert process("report", COLUMNS="10", TERM="dumb") == process("report")


WATCHED = """
[insight]
segments = ["platform", "plattform"]
"""


def test_the_report_says_that_nothing_hurts(cli: Cli, loaded: Path) -> None:
    """With segments and a handful of events: nothing found, why not, and which property nobody has."""
    with (loaded / "journeykit.toml").open("a") as file:
        file.write(WATCHED)

    result = cli("report")

    assert "\nWhere it hurts: nothing found\n" in result.out
    assert "too few customers for the anomaly rule" in result.out
    assert "no event has 'plattform'" in result.out
    assert cli("report", "--json").json["pain_points"] == []
    assert "segments platform, plattform" in cli("check").out


def test_a_segment_that_is_redacted_is_a_mistake(cli: Cli, shop: Path) -> None:
    """No event can ever show it, so check says so."""
    with (shop / "journeykit.toml").open("a") as file:
        file.write(WATCHED.replace("plattform", "password"))

    result = cli("check")

    assert result.code == 2
    assert "insight.segments: 'password' is redacted" in result.err
