from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from journeykit import JourneyKit

Cli = Callable[..., Any]

PROMPTS = """
[[prompts]]
key = "q"
kind = "csat"
when = { event = "purchase" }
text = "How was it?"

[[prompts]]
key = "later"
kind = "text"
on = false
when = { page = "/thanks" }
ask = { until_answered = true, sample = 0.25 }
text = { en = "And?", de = "Und?" }
"""


@pytest.fixture
def asking(shop: Path) -> Path:
    """Return a shop's directory with two prompts."""
    declared = shop / "journeykit.toml"
    declared.write_text(declared.read_text() + PROMPTS)
    return shop


def test_list(cli: Cli, asking: Path) -> None:
    """Each prompt is listed as it is now."""
    lines = cli("prompts", "list").out.splitlines()
    assert lines[1].split()[:3] == ["q", "csat", "yes"]
    assert "until answered, 3×, of 25%" in lines[2]
    assert "page /thanks" in lines[2]
    found = cli("prompts", "list", "--json").json
    assert [each["on"] for each in found["prompts"]] == [True, False]
    assert found["prompts"][0]["text"] == {"*": "How was it?"}
    assert found["ignored"] == {}


def test_list_of_none(cli: Cli) -> None:
    """A shop without prompts is told where to read on."""
    assert "No prompt is declared" in cli("prompts", "list").out
    assert cli("prompts", "history").out == "Nothing was changed.\n"


def test_change_and_history(cli: Cli, asking: Path) -> None:
    """What is changed is listed, told with who and why, and can be taken back."""
    why = ("--reason", "too many", "--actor", "ann")
    assert cli("prompts", "off", "q", *why) == (0, "prompts.q.on is false now\n", "")
    assert cli("prompts", "on", "later", *why).code == 0
    assert cli("prompts", "set", "later", "ask.every", "30d", *why).code == 0
    assert cli("prompts", "set", "feedback", "per_session", "2", *why).code == 0
    lines = cli("prompts", "list").out.splitlines()
    assert lines[1].split()[2] == "no"
    assert "every 30 days" in lines[2]
    history = cli("prompts", "history", "q").out.splitlines()
    assert history[1].split()[2:] == ["prompts.q.on", "true", "false", "ann", "too", "many"]
    told = cli("prompts", "history", "--json").json
    assert told[0]["path"] == "feedback.per_session"
    assert len(told) == 4
    unset = cli("prompts", "set", "q", "on", "--unset", "--reason", "enough")
    assert unset.out == "prompts.q.on is as declared again\n"
    assert cli("prompts", "list", "--json").json["prompts"][0]["on"] is True
    assert cli("prompts", "history", "q").out.splitlines()[1].split()[4:6] == ["as", "declared"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("on", "x"), "there is no key 'prompts.x.on'"),
        (("set", "q", "kind", "nps"), "cannot be changed without a deployment"),
        (("set", "q", "ask.sample", "2"), "expected a number from 0 to 1, got 2"),
        (("set", "q", "text.de", "Und?", "--unset"), "write a value, or --unset"),
        (("set", "q", "on"), "write a value, or --unset"),
    ],
)
def test_what_cannot_be_changed(
    cli: Cli, asking: Path, arguments: tuple[str, ...], told: str
) -> None:
    """A key that is none, or a value that is none for it, ends with 2 and one line."""
    result = cli("prompts", *arguments, "--reason", "x")
    assert result.code == 2
    assert told in result.err
    assert cli("prompts", "history").out == "Nothing was changed.\n"


def test_no_reason_no_change(cli: Cli, asking: Path) -> None:
    """Whoever changes something says why."""
    assert "--reason" in cli("prompts", "on", "q").err


def test_explain(cli: Cli, asking: Path) -> None:
    """Each gate is told in order, for somebody whom nobody has seen too."""
    told = cli("explain", "--customer", "u9", "--prompt", "later", "--page", "/x", "--json").json
    assert [gate["name"] for gate in told][:3] == ["consent", "visitor", "schedule"]
    reasons = {gate["name"]: gate["reason"] for gate in told if gate["passes"] is False}
    assert reasons["schedule"] == "off"
    assert reasons["armed"] == "not_armed"
    lines = cli("explain", "--customer", "u9", "--prompt", "q").out.splitlines()
    assert lines[0] == "q for u9"
    assert any(line.split()[:3] == ["armed", "stops", "not_armed"] for line in lines)
    missing = cli("explain", "--customer", "u9", "--prompt", "x")
    assert (missing.code, "there are: q, later" in missing.err) == (2, True)


_WORKER = """
import sys, time
from journeykit import JourneyKit
kit = JourneyKit.from_toml("journeykit.toml")
kit.track("home", customer="u1")
kit.flush()
print("ready", flush=True)
sys.stdin.readline()
deadline = time.monotonic() + 10
while kit.feedback.prompt("q").on and time.monotonic() < deadline:
    time.sleep(0.005)
print(int(kit.feedback.prompt("q").on), flush=True)
sys.stdin.readline()
"""


def test_a_change_reaches_every_worker(asking: Path) -> None:
    """What one process changes is in force in others that run, whichever of them folds."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        for worker in workers:
            assert worker.stdout.readline() == "ready\n"
            worker.stdin.write("go\n")
            worker.stdin.flush()
        with JourneyKit.from_toml("journeykit.toml") as kit:
            kit.feedback.set("prompts.q.on", False, actor="ann", reason="too many")
            assert [worker.stdout.readline() for worker in workers] == ["0\n", "0\n"]
    finally:
        for worker in workers:
            worker.communicate("end\n", timeout=30)


# In a page


@contextmanager
def previewing(shop: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `prompts preview` in a process, and yield it with the first line that it prints."""
    command = [sys.executable, "-m", "journeykit", "prompts", "preview", *arguments]
    with subprocess.Popen(command, cwd=shop, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield child, child.stdout.readline()
        finally:
            child.kill()


def fetched(address: str) -> str:
    """Return the page at *address*."""
    with urllib.request.urlopen(address, timeout=10) as page:
        text: str = page.read().decode()
    return text


def test_a_preview_is_served_until_it_is_ended(asking: Path) -> None:
    """It tells its address, makes no store, records nothing, and ends in order by Ctrl-C."""
    with previewing(asking, "later", "--language", "de") as (child, line):
        address = line.split()[-1]
        page = fetched(address)
        assert "Answers go nowhere" in page
        assert 'src="/light?lang=de"' in page
        assert fetched(f"{address}form?lang=de")
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 0
    assert not (asking / "var").exists()


def test_a_preview_shows_what_was_changed(cli: Cli, asking: Path) -> None:
    """What was changed without a deployment is laid over, and the Log stays as it is."""
    changed = ("text.de", "War es einfach?", "--reason", "shorter")
    assert cli("prompts", "set", "later", *changed).code == 0
    before = cli("status", "--json").json["counters"]["events"]
    with previewing(asking, "later", "--json", "--language=de") as (child, _):
        told = child.stdout.readline() + child.stdout.readline()
        address = told.split('"')[-2]
        assert "War es einfach?" in fetched(f"{address}form?lang=de")
    assert cli("status", "--json").json["counters"]["events"] == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothing"], "there is no prompt 'nothing'; there are: q, later"),
        (["q", "--language", "_"], "'_' is no language; write a tag such as de"),
    ],
)
def test_a_preview_of_nothing(cli: Cli, asking: Path, arguments: list[str], told: str) -> None:
    """A prompt that is not there, and a language that is none, are named."""
    result = cli("prompts", "preview", *arguments)
    assert result.code == 2
    assert told in result.err
