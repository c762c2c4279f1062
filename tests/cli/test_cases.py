from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from journeykit import JourneyKit
from journeykit.model import Kind

Cli = Callable[..., Any]

CASES = """
[[prompts]]
key = "q"
kind = "csat"
when = { event = "purchase" }
text = "How was it?"
then = [{ key = "more", kind = "text", text = "Why?" }]

[cases]
owner = "desk"
causes = ["late", "broken"]

[[cases.rules]]
key = "unhappy"
title = "Unhappy buyers"
when = { prompt = "q" }

[[cases.rules]]
key = "declined"
when = { pain_point = "payment.declined" }
owner = "payments"
severity = "high"
"""

BOB = ("--actor", "bob", "--reason", "so it is")


@pytest.fixture
def working(shop: Path) -> Path:
    """Return a shop's directory with two case rules."""
    declared = shop / "journeykit.toml"
    declared.write_text(declared.read_text() + CASES)
    return shop


@pytest.fixture
def opened(working: Path) -> Path:
    """Return a shop's directory with a case of each rule."""
    with JourneyKit.from_toml("journeykit.toml") as kit:
        answer = {
            "impression": "i1",
            "prompt": "q",
            "kind": "csat",
            "seq": 1,
            "answers": {"score": 2, "more": "It was [cold]"},
            "score": 2,
            "scale": [1, 5],
        }
        fact = {"kind": Kind.FACT, "actor": "customer", "reason": "x"}
        assert kit._record("prompt.answered", answer, "ada", **fact)
        assert kit.track("payment_failed", {"cart_id": "c1"}, customer="eve")
        assert kit.track("Payment Declined", {"cart_id": "c1"}, customer="eve")
        assert kit.flush()
    return working


def reference(cli: Cli, rule: str = "unhappy") -> str:
    """Return what the case of a rule is called by."""
    (case,) = cli("cases", "list", "--rule", rule, "--all", "--json").json["cases"]
    return str(case["reference"])


def test_a_shop_without_cases(cli: Cli, working: Path) -> None:
    """Without a case, or without a rule, the list says so."""
    assert cli("cases", "list").out == "No case is open.\n"
    assert cli("cases", "list", "--overdue").out == "There is no such case.\n"
    assert cli("cases", "list", "--json").json == {"cases": [], "current": True}
    declared = working / "journeykit.toml"
    declared.write_text(declared.read_text().replace(CASES, ""))
    assert "No case rule is declared" in cli("cases", "list").out


def test_list(cli: Cli, opened: Path) -> None:
    """Open cases are listed with whose they are and when they are due; options narrow the list."""
    head, *lines = cli("cases", "list").out.splitlines()
    assert re.split(r"\s\s+", head.strip()) == [
        *("case", "what", "status", "severity", "owner", "customer", "due (UTC)")
    ]
    assert len(lines) == 2
    unhappy = next(line for line in lines if "Unhappy" in line)
    assert re.search("Unhappy buyers: q: 2 +new +medium +desk +ada +[0-9]{4}-", unhappy)
    assert len(cli("cases", "list", "--owner", "payments").out.splitlines()) == 2
    assert cli("cases", "list", "--customer", "ada", "--json").json["cases"][0]["owner"] == "desk"
    assert cli("cases", "list", "--owner", "").out == "There is no such case.\n"


def test_from_assigning_to_reopening(cli: Cli, opened: Path) -> None:
    """Each command says what has become of the case, and shows in its history."""
    case = reference(cli)
    assert cli("cases", "assign", case, "carla", *BOB) == (0, f"{case} is carla's\n", "")
    assert "is acknowledged, due" in cli("cases", "acknowledge", case).out
    assert cli("cases", "wait", case, *BOB).out == f"{case} is waiting for the customer\n"
    assert "is acknowledged, due" in cli("cases", "resume", case).out
    assert cli("cases", "note", case, "asleep", "--actor", "bob").code == 0
    resolving = cli("cases", "resolve", case, "--cause", "late", "--action", "voucher", "--json")
    assert resolving.json["status"] == "resolved"
    assert resolving.json["done"] is True
    assert "is reopened, due" in cli("cases", "reopen", case, *BOB).out
    shown = cli("cases", "show", case)
    assert shown.code == 0
    history = [line.split()[2] for line in shown.out.split("when (UTC)")[2].splitlines()[1:]]
    assert history == [
        *("opened", "assigned", "acknowledged", "waiting", "resumed", "noted", "resolved"),
        "reopened",
    ]
    assert "asleep" in shown.out
    assert "resolved (late; voucher)" in shown.out


def test_show(cli: Cli, opened: Path) -> None:
    """A case is shown with what was said, its clocks, and what to choose from."""
    out = cli("cases", "show", reference(cli)).out
    lines = out.splitlines()
    assert lines[0].startswith("Unhappy buyers: q: 2 (")
    assert lines[1:4] == ["ada, medium", "new, owner desk", "causes: late, broken"]
    assert 'more: "It was [cold]"' in out
    assert re.search(r"first response +\d{4}-\d\d-\d\d \d\d:\d\d +running", out)
    told = cli("cases", "show", reference(cli), "--json").json
    assert told["causes"] == ["late", "broken"]
    assert told["evidence"][0]["answers"]["more"] == "It was [cold]"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show", "nosuchcase"), "there is no case 'nosuchcase'"),
        (("assign", "nosuchcase", "x"), "there is no case 'nosuchcase'"),
        (("assign", "CASE", "a@b.example"), "looks like an e-mail address"),
        (("resume", "CASE"), "does not wait for the customer; it is new"),
        (("reopen", "CASE", "--reason", "x"), "is not resolved; it is new"),
        (("resolve", "CASE", "--cause", "rain", "--action", "a"), "'rain' is none of those"),
        (("note", "CASE", " "), "note: is missing"),
        (("wait", "CASE"), "--reason"),
        (("resolve", "CASE", "--cause", "late"), "--action"),
    ],
)
def test_what_cannot_be_done(cli: Cli, opened: Path, arguments: tuple[str, ...], told: str) -> None:
    """What cannot be done ends with 2 and one line that says why, and changes nothing."""
    case = reference(cli)
    result = cli("cases", *(case if each == "CASE" else each for each in arguments))
    assert result.code == 2
    assert told in result.err
    history = cli("cases", "show", case, "--json").json["history"]
    assert [change["what"] for change in history] == ["opened"]


def test_report_and_explain_tell_of_cases(cli: Cli, opened: Path) -> None:
    """The report counts cases, with causes once there are some; a customer's path ends with theirs."""
    assert "Cases: 2 open, 0 resolved" in cli("report").out
    case = reference(cli)
    cli("cases", "resolve", case, "--cause", "late", "--action", "voucher")
    out = cli("report").out
    assert "Cases: 1 open, 1 resolved\n     half of them had a first answer within" in out
    assert "because of: late 1" in out
    figures = cli("report", "--json").json["cases"]
    assert (figures["open"], figures["resolved"], figures["causes"]) == (1, 1, {"late": 1})
    told = cli("explain", "--customer", "ada").out
    assert re.search(rf"{case} +Unhappy buyers: q: 2 +resolved +desk", told)
    assert cli("explain", "--customer", "ada", "--json").json["cases"][0]["reference"] == case


def test_check_tells_what_belongs_to_nobody(cli: Cli, working: Path) -> None:
    """A rule whose cases may have no owner is told before there are any."""
    assert "cases    2 rules\n" in cli("check").out
    declared = working / "journeykit.toml"
    declared.write_text(declared.read_text().replace('owner = "desk"', ""))
    assert "cases    2 rules; cases of unhappy may belong to nobody" in cli("check").out
    assert cli("check", "--json").json["without_owner"] == ["unhappy"]


def test_an_owner_is_changed_without_a_deployment(cli: Cli, opened: Path) -> None:
    """The owner of the cases to come is set as prompts are."""
    changed = cli("prompts", "set", "cases", "unhappy.owner", "carla", *BOB)
    assert changed.out == 'cases.unhappy.owner is "carla" now\n'
    refused = cli("prompts", "set", "cases", "other.owner", "carla", *BOB)
    assert (refused.code, "the rules of cases are 'unhappy', 'declined'" in refused.err) == (
        2,
        True,
    )


def test_on_a_terminal(
    opened: Path, cli: Cli, terminal: Callable[[Sequence[str]], tuple[int, str]]
) -> None:
    """On a terminal the lists are tables, and what customers have written is no markup there."""
    case = reference(cli)
    code, seen = terminal([sys.executable, "-m", "journeykit", "cases", "show", case])
    assert code == 0
    assert "It was [cold]" in seen
    assert "─" in seen
