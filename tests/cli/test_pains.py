from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from journeykit import JourneyKit

Cli = Callable[..., Any]


@pytest.fixture
def hurt(shop: Path) -> Path:
    """Return a shop where ada and bob searched in vain, and ada's payment was declined."""
    with (shop / "journeykit.toml").open("a") as file:
        file.write('[pain_points.payment_declined]\ncauses = ["old phones"]\n')
    search(shop, "ada", "bob")
    with JourneyKit.from_toml(shop / "journeykit.toml") as kit:
        kit.track("Payment Declined", {"value": 12.5, "cart_id": "c1"}, customer="ada", id="p1")
        assert kit.flush()
    return shop


def search(shop: Path, *who: str) -> None:
    """Let somebody search in vain."""
    with JourneyKit.from_toml(shop / "journeykit.toml") as kit:
        for each in who:
            kit.track("Products Searched", {"results": 0}, customer=each)
        assert kit.flush()


def listed(cli: Cli, *more: str) -> dict[str, Any]:
    """Return what `pains list` has, by code."""
    points = cli("pains", "list", "--json", *more).json["pain_points"]
    return {each["code"]: each for each in points}


def test_list_has_codes_with_their_figures(cli: Cli, hurt: Path) -> None:
    """Each code comes with customers, times, first and last, the most customers first."""
    found = cli("pains", "list", "--json").json

    assert found["held_back"] == 0
    assert found["current"] is True
    points = found["pain_points"]
    assert [(each["code"], each["customers"], each["events"]) for each in points] == [
        ("search.no_results", 2, 2),
        ("payment.declined", 1, 1),
    ]
    assert points[0]["first_seen"] < points[0]["last_seen"]
    assert points[1]["causes"] == ["old phones"]
    text = cli("pains", "list").out.splitlines()
    assert text[0].startswith("pain point")
    assert text[1].startswith("search.no_results  low ")


def test_show_has_the_evidence(cli: Cli, hurt: Path) -> None:
    """A pain point is shown with its customers, what it is about, the money and the events."""
    found = cli("pains", "show", "payment.declined", "--json").json

    assert found["pain_point"]["status"] == "open"
    [case] = found["cases"]
    assert (case["customer"], case["known"], case["target"]) == ("ada", True, "c1")
    assert (case["evidence"], case["value"], case["events"]) == (["p1"], 12.5, 1)
    text = cli("pains", "show", "payment.declined").out
    assert "payment.declined: open, 1 customers, 1 times" in text
    assert "causes: old phones" in text
    assert "p1" in text
    assert cli("pains", "show", "page.slow").out == "page.slow was not found yet.\n"


def test_a_muted_pain_point_is_held_back(cli: Cli, hurt: Path) -> None:
    """Who muted it, and why, is kept as a fact that goes to the sinks; it can be taken back."""
    muted = cli("pains", "mute", "search.no_results", "--reason", "known", "--actor", "eve")
    assert (muted.code, muted.out) == (0, "search.no_results is muted\n")

    assert set(listed(cli)) == {"payment.declined"}
    assert "1 more are muted" in cli("pains", "list").out
    point = listed(cli, "--all")["search.no_results"]
    assert point["status"] == "muted"
    assert (point["muted"]["actor"], point["muted"]["reason"]) == ("eve", "known")
    assert cli("report", "--json").json["customers"] == 2
    assert cli("drain").code == 0
    sent = [json.loads(line) for line in (hurt / "var/events.jsonl").read_text().splitlines()]
    [fact] = [event for event in sent if event["name"] == "pain_point.muted"]
    assert (fact["kind"], fact["actor"], fact["reason"]) == ("fact", "eve", "known")
    assert not any(fact["customer"].values())

    assert cli("rebuild").code == 0
    assert set(listed(cli)) == {"payment.declined"}
    undone = cli("pains", "mute", "search.no_results", "--reason", "x", "--undo", "--json").json
    assert undone["done"] is True
    assert set(listed(cli)) == {"payment.declined", "search.no_results"}


def test_a_resolved_pain_point_reopens(cli: Cli, hurt: Path) -> None:
    """What is resolved is held back until it is found again, with what lay behind it."""
    resolved = cli("pains", "resolve", "search.no_results", "--reason", "r", "--cause", "synonyms")
    assert (resolved.code, resolved.out) == (0, "search.no_results is resolved\n")
    assert set(listed(cli)) == {"payment.declined"}
    point = listed(cli, "--all")["search.no_results"]
    assert (point["status"], point["causes"]) == ("resolved", ["synonyms"])
    assert point["resolved"]["actor"] == getpass.getuser()

    search(hurt, "carl")
    point = listed(cli)["search.no_results"]
    assert (point["status"], point["customers"]) == ("reopened", 3)


@pytest.mark.parametrize("command", ["show", "mute", "resolve"])
def test_a_code_that_there_is_not_is_an_error(cli: Cli, hurt: Path, command: str) -> None:
    """An unknown code ends the command with exit code 2, and the codes that there are."""
    more = [] if command == "show" else ["--reason", "x"]
    result = cli("pains", command, "page.fast", *more)
    assert result.code == 2
    assert "there is no pain point 'page.fast'; there are: cart.abandoned, " in result.err


def test_check_names_rules_without_events(cli: Cli, shop: Path) -> None:
    """Without touchpoints standard names may come; with them, only what is declared."""
    config = shop / "journeykit.toml"
    found = cli("check", "--json").json
    assert "cart_abandoned" in found["pain_points"]
    assert "payment_declined" in found["without_events"]
    assert "search_looped" not in found["without_events"]
    assert "no declared event reaches " in cli("check").out

    with config.open("a") as file:
        file.write('[[touchpoints]]\nname = "paid badly"\n')
        file.write('[pain_points.payment_declined]\non = ["paid badly"]\n')
        file.write("[pain_points.page_slow]\noff = true\n")
    found = cli("check", "--json").json
    assert "search_looped" in found["without_events"]
    assert "payment_declined" not in found["without_events"]
    assert "page_slow" not in found["pain_points"] + found["without_events"]


def test_every_mistake_in_the_rules_is_named(cli: Cli, shop: Path) -> None:
    """A window of zero, an unknown rule and thresholds of a wrong kind are told together."""
    with (shop / "journeykit.toml").open("a") as file:
        file.write(
            '[pain_points.cart_abandoned]\nwindow = "0s"\n'
            '[pain_points.payment_declined]\nrepeats = "two"\nbogus = 1\n'
            '[pain_points.search_no_results]\non = "Products Searched"\n'
            "[pain_points.search_looped]\nsearches = 1\n"
            "[pain_points.server_error]\non = []\n"
            '[pain_points.click_rage]\non = ["share"]\n'
            "[pain_points.page_slow]\noff = 1\n"
            "[pain_points.nonsense]\noff = true\n"
        )
    problems = cli("check", "--json").json["problems"]
    told = {problem.partition(": ")[0]: problem.partition(": ")[2] for problem in problems}
    assert set(told) == {
        "pain_points.cart_abandoned.window",
        "pain_points.payment_declined.repeats",
        "pain_points.payment_declined.bogus",
        "pain_points.search_looped",
        "pain_points.search_no_results.on",
        "pain_points.server_error",
        "pain_points.click_rage.on",
        "pain_points.page_slow.off",
        "pain_points.nonsense",
    }
    assert "'share' may mean Product Shared, Cart Shared" in problems[-1]
