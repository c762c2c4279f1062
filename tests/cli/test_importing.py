from __future__ import annotations

import contextlib
import csv
import errno
import gzip
import io
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from journeykit import JourneyKit
from journeykit.cli import importing
from journeykit.store import database

HEADER = "user_id,session_id,event,timestamp,platform\n"
ROW = "u9,s9,home,2024-03-13 10:21:14,desktop\n"

Cli = Callable[..., Any]


@pytest.fixture
def load(cli: Cli, mapping: tuple[str, ...]) -> Cli:
    """Return a function that imports a file with the ordinary mapping."""
    return lambda file, *more: cli("import", file, *mapping, *more)


def _declare(shop: Path, old: str, new: str) -> None:
    path = shop / "journeykit.toml"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def _events(shop: Path) -> list[tuple[str, str, int]]:
    with closing(sqlite3.connect(shop / "var/journeykit.db")) as db:
        query = "SELECT user_id, name, occurred_at FROM log WHERE kind = 0 ORDER BY position"
        return db.execute(query).fetchall()


def _json_lines(path: Path) -> list[dict[str, Any]]:
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def _one_line(text: str) -> str:
    """Return the only line of *text*: nothing else may be there, least of all a traceback."""
    (line,) = text.splitlines()
    return line


def test_an_import_tells_what_it_did(load: Cli) -> None:
    """The first import adds, the second finds all there; the zone is told, for it was assumed."""
    assert load("rows.csv") == (
        0,
        "3 rows: 3 events added, 0 already there, 0 rejected\ntimes without a zone were read as UTC\n",
        "",
    )
    assert load("rows.csv").out.startswith("3 rows: 0 events added, 3 already there, 0 rejected")


def test_an_import_tells_the_same_as_json(load: Cli) -> None:
    """With --json the answer is one JSON object."""
    result = load("rows.csv", "--json")

    assert (result.code, result.err) == (0, "")
    assert result.json == {
        "file": "rows.csv",
        "rows": 3,
        "added": 3,
        "already_there": 0,
        "parked": 0,
        "withheld": 0,
        "erased": 0,
        "rejected": 0,
        "rejected_to": None,
        "counted": True,
        "undelivered": [],
        "error": None,
    }


def test_times_without_a_zone_are_of_the_zone_that_was_named(load: Cli, shop: Path) -> None:
    """--timezone moves the times of the file, and is printed."""
    result = load("rows.csv", "--timezone", "Europe/Berlin")

    assert "times without a zone were read as Europe/Berlin\n" in result.out
    assert _events(shop)[0] == ("u1", "home", 1710321674_000000)


def test_ids_of_the_file_are_the_events_ids(load: Cli, shop: Path) -> None:
    """A column mapped to the id tells the events again, in whatever file and line they come."""
    lines = ROW.strip() + ",e-1\n" + ROW.strip() + ",e-2\n"
    (shop / "one.csv").write_text(HEADER.strip() + ",number\n" + lines)
    (shop / "two.csv").write_text(HEADER.strip() + ",number\n\n" + lines)

    assert load("one.csv", "--map=id=number", "--json").json["added"] == 2
    assert load("two.csv", "--map=id=number", "--json").json["already_there"] == 2


def test_the_source_tells_files_apart(load: Cli, shop: Path) -> None:
    """Files are the same source if their names are, up to the endings; --source overrides that."""
    (shop / "rows.csv.gz").write_bytes(gzip.compress((shop / "rows.csv").read_bytes()))
    (shop / "other.csv").write_bytes((shop / "rows.csv").read_bytes())

    assert load("rows.csv", "--json").json["added"] == 3
    assert load("rows.csv.gz", "--json").json["added"] == 0
    assert load("other.csv", "--source", "rows", "--json").json["added"] == 0
    assert load("other.csv", "--json").json["added"] == 3


def test_rows_that_cannot_be_used_are_kept_with_their_reason(load: Cli, shop: Path) -> None:
    """Each unusable row goes to a file with line and reason, and the others are imported."""
    bad = [
        "u1,s1,home,yesterday,desktop",
        ",s1,home,2024-03-13,desktop",
        "u1,s1,,2024-03-13,desktop",
        "u1,s1,home",
        f"u1,s1,home,2024-03-13,{'x' * 1_000_000}",
        f"{'u' * 300},s1,home,2024-03-13,desktop",
        "u1,s1,home,0001-01-01T00:00:00+14:00,desktop",
        '"u1"x,s1,home,2024-03-13,desktop',
    ]
    data = (HEADER + ROW + "\n".join(bad) + "\n").encode() + b"u1,s1,h\xffme,2024-03-13,d\n"
    (shop / "bad.csv").write_bytes(data + ROW.encode())

    result = load("bad.csv")

    assert result.code == 1
    assert result.out.startswith("11 rows: 2 events added, 0 already there, 9 rejected\n")
    assert "rejected rows are in bad.csv.rejected.jsonl\n" in result.out
    kept = _json_lines(shop / "bad.csv.rejected.jsonl")
    assert [item["line"] for item in kept] == [3, 4, 5, 6, 7, 8, 9, 10, 11]
    expected = [
        "column 'timestamp': 'yesterday' is no time; expected ISO 8601",
        "column 'user_id': is empty; an event needs a customer",
        "column 'event': is empty",
        "it has 3 columns, the header has 5",
        "too_large: ",
        "bad_customer: an id is 1 to 200 printable characters",
        "bad_time: at is out of range",
        "it is not valid CSV: ",
        "it is not valid UTF-8",
    ]
    assert [item["reason"][: len(text)] for item, text in zip(kept, expected, strict=True)] == (
        expected
    )
    assert kept[0]["row"] == bad[0]
    assert max(len(item["row"]) for item in kept) <= 2000
    assert _events(shop) == [("u9", "home", 1710325274_000000)] * 2


def test_a_strict_kit_does_not_end_an_import(load: Cli, shop: Path) -> None:
    """Where the app raises on refused events, an import still sets bad rows aside."""
    _declare(shop, "[journeykit]\n", "[journeykit]\nstrict = true\n")
    (shop / "bad.csv").write_text(HEADER + ROW.replace("u9", "u" * 300) + ROW)

    result = load("bad.csv", "--json")

    assert (result.code, result.json["added"], result.json["rejected"]) == (1, 1, 1)


def test_rejected_rows_can_go_elsewhere(load: Cli, shop: Path) -> None:
    """--rejects names the file for rejected rows; without any it is not made."""
    (shop / "bad.csv").write_text(HEADER + ROW + "u1\n")

    load("rows.csv", "--rejects", "never.jsonl")
    result = load("bad.csv", "--rejects", "mine.jsonl", "--json")

    assert result.json["rejected_to"] == "mine.jsonl"
    assert not (shop / "never.jsonl").exists()
    assert len((shop / "mine.jsonl").read_text().splitlines()) == 1


def test_a_file_that_ends_early_is_completed_later(
    load: Cli, shop: Path, mapping: tuple[str, ...]
) -> None:
    """What comes before the cut is in; importing the whole file afterwards adds the rest."""
    chance = random.Random(1)
    rows = [f"u{chance.random()},s,home,2024-03-13 10:00:{n % 60:02d},x\n" for n in range(200)]
    whole = gzip.compress((HEADER + "".join(rows)).encode())
    (shop / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])

    first = load("cut.csv.gz", "--json")
    (shop / "cut.csv.gz").write_bytes(whole)
    second = load("cut.csv.gz", "--json")

    assert first.code == 1
    assert first.json["error"] == _one_line(first.err).removeprefix("error: ")
    assert "cut.csv.gz: the compressed data is broken or cut off behind line" in first.err
    assert 0 < first.json["added"] < 200
    assert (second.code, second.err) == (0, "")
    assert second.json["already_there"] == first.json["added"]
    assert second.json["added"] == 200 - first.json["added"]


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.csv", None, "gone.csv: No such file or directory; name a file that can be read"),
        ("dir.csv", "dir", "dir.csv: Is a directory; name a file that can be read"),
        (".", None, ".: the name must end in .csv or .jsonl, or in one of these and .gz"),
        ("rows.txt", ROW, "rows.txt: the name must end in .csv or .jsonl"),
        ("plain.csv.gz", ROW, "plain.csv.gz: it is not compressed by gzip; take .gz off its name"),
        ("empty.csv", "", "empty.csv: the CSV is broken behind line 0: its first line names no"),
        ("quote.csv", f'{HEADER}{ROW}"u1\n{ROW}', "quote.csv: the CSV is broken behind line 2"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(
    load: Cli, shop: Path, name: str, content: str | None, message: str, as_json: bool
) -> None:
    """A file that cannot be read, or not to its end, ends in one line on standard error and 1."""
    if content == "dir":
        (shop / name).mkdir()
    elif content is not None:
        (shop / name).write_text(content)

    result = load(name, *["--json"] * as_json)

    assert result.code == 1
    assert _one_line(result.err).startswith(f"error: {message}")
    if as_json:
        assert f"error: {result.json['error']}\n" == result.err


def test_a_file_without_rows_is_told_as_such(load: Cli, shop: Path) -> None:
    """A file with a header and nothing else is no failure, and is said to be empty."""
    (shop / "header.csv").write_text(HEADER)
    (shop / "empty.jsonl").write_text("")

    for name in ("header.csv", "empty.jsonl"):
        result = load(name)
        assert result.code == 0
        assert _one_line(result.err) == f"{name}: has no rows, so there was nothing to import"


def test_a_missing_column_is_named_before_anything_is_imported(load: Cli, shop: Path) -> None:
    """A CSV without a mapped column is refused with the columns that it has, even if line 2 is bad."""
    (shop / "rows.csv").write_text("u1\n".join([HEADER.replace("event", "what"), ROW]))

    result = load("rows.csv", "--json")

    assert result.code == 2
    known = "user_id, session_id, what, timestamp, platform"
    message = f"rows.csv: has no column 'event' to --map; it has: {known}"
    assert _one_line(result.err) == f"error: {message}"
    assert result.json == {"ok": False, "error": message}
    assert _events(shop) == []


def test_a_json_line_may_lack_what_is_optional(load: Cli, shop: Path) -> None:
    """In JSON lines an absent key is an empty one, also in the first line."""
    lines = [
        {"event": "home", "timestamp": 1710325274, "cookie": "c1"},
        {"event": "home", "timestamp": 1710325275, "user_id": "u1", "session_id": "s1"},
        {"timestamp": 1710325275, "user_id": "u1"},
    ]
    (shop / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))

    result = load("rows.jsonl", "--map=anonymous=cookie", "--json")

    assert (result.json["added"], result.json["rejected"]) == (2, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--map=customer"], "'customer': write WHAT=COLUMN, where WHAT is one of customer, an"),
        (["--map=customer="], "'customer=': write WHAT=COLUMN"),
        (["--map=colour=event"], "'colour=event': write WHAT=COLUMN, where WHAT is one of"),
        (["--map=at=a", "--map=at=b"], "'at' is mapped twice"),
        (["--map=customer=user_id"], "map 'name' to a column: --map name=COLUMN"),
        (["--map=name=event"], "map 'at' to a column: --map at=COLUMN"),
        (["--map=name=a", "--map=at=b"], "map 'customer' to a column: --map customer=COLUMN"),
        (["--timezone=Mars/Base"], "'Mars/Base' is no time zone; write one such as UTC"),
        (["--timezone=../../etc/passwd"], "is no time zone; write one such as UTC"),
        (["--timezone="], "is no time zone; write one such as UTC"),
    ],
)
def test_wrong_options_are_usage_errors(
    cli: Cli, mapping: tuple[str, ...], options: list[str], message: str
) -> None:
    """A mapping or zone that makes no sense is refused before any file is touched."""
    more = mapping if options[0].startswith("--timezone") else ()

    result = cli("import", "rows.csv", *options, *more, "--json")

    assert result.code == 2
    assert f"Error: Invalid value for '{options[0].split('=')[0]}': " in result.err
    assert message in result.err
    assert message in result.json["error"]
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('["home", "catalog"]', "[]", "journeys"),
        ("[sinks", '[[touchpoints]]\nname = "x"\nstage = "nowhere"\n[sinks', "a stage 'nowhere'"),
        ("version = 1", 'version = 1\nextends = "nothing"', "expected one of 'ecommerce'"),
        ('type = "file"', 'type = "fax"', "sinks.archive.type: is 'fax', which no plugin provid"),
        ("[consent]", "[consent", "it is not valid TOML"),
    ],
)
def test_wrong_declarations_stop_an_import(
    load: Cli, shop: Path, old: str, new: str, problem: str
) -> None:
    """A mistake in the configuration is named with its file, exit code 2, and opens no store."""
    _declare(shop, old, new)

    result = load("rows.csv", "--json")

    assert result.code == 2
    assert result.json["ok"] is False
    assert result.json["source"] == str(shop / "journeykit.toml")
    assert any(problem in line for line in result.json["problems"])
    assert result.err.startswith(f"error: {shop / 'journeykit.toml'}: 1 mistake\n  - ")
    assert not (shop / "var").exists()


def test_a_missing_configuration_is_named(load: Cli, shop: Path) -> None:
    """Without the configuration file the import says which one it looked for."""
    result = load("rows.csv", "-c", "nowhere/journeykit.toml")

    assert result.code == 2
    assert f"error: {shop / 'nowhere/journeykit.toml'}: 1 mistake\n" in result.err
    assert "there is no such file" in result.err


def test_a_store_that_cannot_be_made_is_one_line(load: Cli, shop: Path) -> None:
    """A store below something that is no directory fails in one line, whoever runs the import."""
    (shop / "var").touch()

    result = load("rows.csv", "--json")

    assert result.code == 1
    hint = "make its directory writable for this user, or name another place"
    assert _one_line(result.err) == (
        f"error: store {shop / 'var/journeykit.db'}: {os.strerror(errno.EEXIST)}; {hint}"
    )
    assert result.json["ok"] is False


def test_a_file_that_is_no_database_is_one_line(load: Cli, shop: Path) -> None:
    """A store that is another file altogether is refused and left alone."""
    (shop / "var").mkdir()
    (shop / "var/journeykit.db").write_text("hello " * 100)

    result = load("rows.csv")

    assert result.code == 1
    assert "it is damaged or no SQLite file; move it away" in _one_line(result.err)
    assert (shop / "var/journeykit.db").read_text() == "hello " * 100


def test_a_place_for_rejects_that_cannot_be_written_is_one_line(load: Cli, shop: Path) -> None:
    """Where rejected rows have no place the import ends; what came before stays."""
    (shop / "bad.csv").write_text(HEADER + ROW + "u1\n" + ROW)

    result = load("bad.csv", "--rejects", "rows.csv/mine.jsonl")

    assert result.code == 1
    assert _one_line(result.err) == (
        "error: rows.csv/mine.jsonl: Not a directory; rejected rows go there, so make it writable"
    )
    assert result.out.startswith("1 rows: 1 events added")


def test_a_sink_that_cannot_take_events_keeps_none_out_of_the_log(load: Cli, shop: Path) -> None:
    """A sink directory that is none is told, fails only --deliver, and gets all of it later."""
    (shop / "sink").touch()
    _declare(shop, "var/events.jsonl", "sink/events.jsonl")

    quiet = load("rows.csv", "--source", "a")
    asked = load("rows.csv", "--source", "b", "--deliver", "--json")
    (shop / "sink").unlink()
    again = load("rows.csv", "--source", "b", "--deliver")

    assert (quiet.code, quiet.err) == (0, "")
    assert (asked.code, asked.json["added"]) == (1, 3)
    assert asked.json["undelivered"] == [f"archive ({shop / 'sink/events.jsonl'}: File exists)"]
    assert (again.code, again.err) == (0, "")
    sent = _json_lines(shop / "sink/events.jsonl")
    assert sum(event["kind"] == "touchpoint" for event in sent) == 3


def test_a_locked_store_is_one_line_and_loses_nothing(
    load: Cli, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process holds the database an import gives up, and goes on when run again."""
    monkeypatch.setattr(database, "_BUSY_TIMEOUT", 0.05)
    monkeypatch.setattr(importing, "_PATIENCE", 0.2)
    assert load("rows.csv").code == 0
    with closing(sqlite3.connect(shop / "var/journeykit.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        locked = load("rows.csv", "--source", "more", "--json")
        other.execute("ROLLBACK")

    assert locked.code == 1
    assert _one_line(locked.err) == (
        f"error: store {shop / 'var/journeykit.db'}: another process has locked it; end that, or "
        f"try again; what was imported stays, so run this again"
    )
    assert locked.json["ok"] is False
    assert load("rows.csv", "--source", "more", "--json").json["added"] == 3


def test_an_import_does_not_wait_for_ever_for_another_process(
    load: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another process leads and stands still, the events are in, and that is told."""
    monkeypatch.setattr(importing, "_PATIENCE", 0.2)
    with JourneyKit.from_toml("journeykit.toml") as other:
        leases = [other.store.lead(role) for role in ("projector", "sink:archive")]
        result = load("rows.csv", "--deliver", "--json")
        for lease in leases:
            assert lease is not None
            lease.release()

    assert (result.code, result.json["added"], result.json["counted"]) == (1, 3, False)
    assert result.json["undelivered"] == ["archive (another process sends to it)"]


def test_opt_in_needs_the_purpose(load: Cli, shop: Path) -> None:
    """Where consent is opt_in every row is refused, unless --purpose says what was agreed to."""
    _declare(shop, '"opt_out"', '"opt_in"')

    refused = load("rows.csv", "--json")
    agreed = load("rows.csv", "--purpose", "analytics", "--json")

    assert (refused.code, refused.json["rejected"]) == (1, 3)
    assert (agreed.code, agreed.json["added"]) == (0, 3)


def test_a_declared_source_is_read_like_a_file(load: Cli, shop: Path) -> None:
    """The name of a declared source stands for a file; if it fails, one line says how."""
    (shop / "crm.py").write_text(
        "import attrs\n"
        "from journeykit import SourceType, hookimpl\n"
        "@attrs.frozen\n"
        "class Settings:\n"
        "    broken: bool = False\n"
        "class Crm:\n"
        "    def __init__(self, name, settings):\n"
        "        if settings.broken:\n"
        "            raise OSError('no line')\n"
        "    def read(self):\n"
        "        yield {'user_id': 'u1', 'event': 'home', 'timestamp': '2024-03-13'}\n"
        "        yield 'rubbish'\n"
        "@hookimpl\n"
        "def register_sources():\n"
        "    return [SourceType('crm', Settings, Crm)]\n"
    )
    with (shop / "journeykit.toml").open("a") as file:
        file.write('\n[plugins]\nfiles = ["crm.py"]\n[sources.crm]\ntype = "crm"\n')
        file.write('[sources.gone]\ntype = "crm"\nbroken = true\n')

    result = load("crm", "--json")
    broken = load("gone")

    assert (result.code, result.json["added"], result.json["rejected"]) == (1, 1, 1)
    assert broken.code == 1
    assert _one_line(broken.err) == ("error: the source failed behind row 0: OSError: no line")


def test_a_reader_that_goes_away_is_no_traceback(shop: Path, mapping: tuple[str, ...]) -> None:
    """Where nobody reads the output the import is done all the same, without a traceback."""
    ours, theirs = os.pipe()
    os.close(ours)
    command = [sys.executable, "-m", "journeykit", "import", "rows.csv", *mapping]
    done = subprocess.run(
        command, cwd=shop, stdout=theirs, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(theirs)

    assert done.stderr == ""
    assert len(_events(shop)) == 3


def test_an_interrupted_import_keeps_what_it_has(
    shop: Path, mapping: tuple[str, ...], wait_until: Callable[..., None]
) -> None:
    """Ctrl-C ends an import with 130 and two lines; what was imported stays, and the rest can follow."""
    fifo = shop / "endless.csv"
    os.mkfifo(fifo)
    # Whoever runs this in the background has its children ignore Ctrl-C.
    listening = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('journeykit', run_name='__main__', alter_sys=True)"
    )
    command = [sys.executable, "-c", listening, "import", "endless.csv", *mapping]
    with subprocess.Popen(command, cwd=shop, stderr=subprocess.PIPE, text=True) as child:
        # What is still in the buffer when the child has ended has nowhere to go.
        with contextlib.suppress(BrokenPipeError), fifo.open("w") as file:
            file.write(HEADER + ROW * 300)
            file.flush()
            wait_until(lambda: (shop / "var/journeykit.db").exists() and _has_events(shop), 30)
            child.send_signal(signal.SIGINT)
            # A signal that comes just before a read is noticed when the read returns.
            with contextlib.suppress(BrokenPipeError):
                while child.poll() is None:
                    file.write(ROW)
                    file.flush()
                    time.sleep(0.02)
            code = child.wait(30)
        assert child.stderr is not None
        error = child.stderr.read()

    assert code == 130
    assert error.split("\n") == [
        "stopped; what was imported stays, so run this again",
        "",
        "interrupted",
        "",
    ]
    assert len(_events(shop)) > 0


def _has_events(shop: Path) -> bool:
    try:
        return bool(_events(shop))
    except sqlite3.OperationalError:
        return False


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory for what the next example may replace."""
    return tmp_path_factory.mktemp("import")


CELLS = st.text(st.characters(codec="utf-8") | st.sampled_from('",\r\n\0{'), max_size=12)


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=5))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_ends_in_the_log_or_among_the_rejected(
    scratch: Path, capsys: pytest.CaptureFixture[str], table: list[list[str]]
) -> None:
    """Whatever the cells hold, each row is an event with them or is rejected with its line."""
    directory = scratch / str(sum(1 for _ in scratch.iterdir()))
    directory.mkdir()
    (directory / "journeykit.toml").write_text(
        '[consent]\nmode = "opt_out"\n[sinks.archive]\ntype = "file"\npath = "out.jsonl"\n'
    )
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["who", "what", "note", "on"])
    writer.writerows([*row, "2024-03-13"] for row in table)
    (directory / "rows.csv").write_bytes(text.getvalue().encode())

    code = importing.import_file.main(
        [
            str(directory / "rows.csv"),
            *("--map=customer=who", "--map=name=what", "--map=at=on", "--deliver", "--json"),
            *("-c", str(directory / "journeykit.toml")),
        ],
        standalone_mode=False,
    )

    result = json.loads(capsys.readouterr().out)
    assert result["rows"] == len(table)
    assert result["added"] + result["rejected"] == len(table)
    assert code == (1 if result["rejected"] else 0)
    archive = directory / "out.jsonl"
    sent = _json_lines(archive)
    notes = [event["properties"].get("note", "") for event in sent]
    accepted = _accepted(directory, table)
    assert [(event["customer"]["user_id"], event["name"]) for event in sent] == [
        (row[0].strip(), row[1].strip()) for row in accepted
    ]
    assert notes == [row[2] for row in accepted]


def _accepted(directory: Path, table: list[list[str]]) -> Iterator[list[str]]:
    rejects = directory / "rows.csv.rejected.jsonl"
    kept = _json_lines(rejects)
    lines = {item["line"] for item in kept}
    end = 1
    found = []
    for row in table:
        end += 1 + sum(cell.count("\n") for cell in row)
        if end not in lines:
            found.append(row)
    return found  # type: ignore[return-value]


def test_rows_of_nobody_are_rejected(load: Cli, shop: Path) -> None:
    """A row whose customer is what databases write for none is rejected with a sentence."""
    rows = "".join(
        f"{who},s,home,2024-03-13,x\n" for who in ("null", "None", "NaN", "0", "undefined", "ada")
    )
    (shop / "junk.csv").write_text(HEADER + rows)

    result = load("junk.csv", "--json")

    assert (result.json["added"], result.json["rejected"]) == (1, 5)
    kept = _json_lines(shop / "junk.csv.rejected.jsonl")
    assert kept[0]["reason"] == (
        "bad_customer: 'null' is no user id, but what programs write for none; pass None for none"
    )


def test_an_import_reads_a_file_as_a_stream(load: Cli, shop: Path) -> None:
    """Rows go through one by one: what an import keeps of a large file is far less than the file."""
    with (shop / "big.csv").open("w") as file:
        file.write(HEADER)
        # Most are rejected on purpose: what waits for the store shall not hide what reading keeps.
        file.writelines(
            f"{'' if n % 100 else n + 1},s,home,2024-03-13,{n:05000}\n" for n in range(4000)
        )
    size = (shop / "big.csv").stat().st_size
    load("rows.csv")

    tracemalloc.start()
    try:
        result = load("big.csv", "--json")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (result.json["added"], result.json["rejected"]) == (40, 3960)
    assert peak < size / 4
