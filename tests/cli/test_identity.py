from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from journeykit import Customer, JourneyKit

Cli = Callable[..., Any]


@pytest.fixture
def merged(shop: Path) -> Path:
    """Return a shop where a device is taken for ada."""
    with JourneyKit.from_toml(shop / "journeykit.toml") as kit:
        assert kit.track("cart", customer=Customer(anonymous_id="till"))
        assert kit.track("home", customer=Customer("ada", "till"))
        assert kit.flush()
    return shop


def events(shop: Path) -> list[dict[str, Any]]:
    """Return what the file sink has got."""
    lines = (shop / "var/events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_unmerge_takes_two_apart(cli: Cli, merged: Path) -> None:
    """Both are customers afterwards; the sink gets the fact and corrections, and nothing twice."""
    assert cli("report", "--json").json["customers"] == 1

    result = cli("unmerge", "till", "--reason", "a till", "--actor", "eve", "--json")

    assert result.code == 0
    found = result.json
    assert (found["anonymous_id"], found["user_id"], found["done"]) == ("till", "ada", True)
    assert cli("drain").code == 0
    report = cli("report", "--json", "--customers", "5").json
    assert report["customers"] == 2
    stages = {each["customer"]: each["stage"] for each in report["journeys"][0]["customers"]}
    assert stages == {"ada": "awareness", "till": "purchase"}
    sent = events(merged)
    (fact,) = [event for event in sent if event["name"] == "customer.unmerged"]
    assert (fact["id"], fact["actor"], fact["reason"]) == (found["fact"], "eve", "a till")
    assert len({event["id"] for event in sent}) == len(sent)
    names = [event["name"] for event in sent]
    assert names.count("customer.merged") == 1
    assert names[names.index("customer.unmerged") + 1 :] == ["stage.corrected"] * 2


def test_unmerge_says_what_it_did(cli: Cli, merged: Path) -> None:
    """For people it is one line; a second time there is nothing to take apart, with exit code 1."""
    assert cli("unmerge", "till", "--reason", "x") == (0, "till is not ada any more\n", "")

    again = cli("unmerge", "till", "--reason", "x")

    assert again.code == 1
    assert "nobody known is the anonymous customer 'till'" in again.err
    assert len([event for event in events(merged) if event["name"] == "customer.unmerged"]) <= 1


def test_unmerge_needs_a_reason(cli: Cli, merged: Path) -> None:
    """Without a reason nothing is recorded."""
    assert merged
    assert cli("unmerge", "till").code == 2
    assert cli("report", "--json").json["customers"] == 1
