from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from journeykit import ConfigError, JourneyKit

Problems = Callable[..., list[str]]

HEAD = """
[journeykit]
store = "memory://"

[consent]
mode = "opt_out"

[[prompts]]
key = "q"
kind = "csat"
text = "How?"
when = { event = "Order Completed" }

[[prompts]]
key = "words"
kind = "text"
text = "And?"
when = { event = "Order Completed" }

[[prompts]]
key = "well"
kind = "csat"
text = "All well?"
when = { event = "case.resolved", delay = "24h", within = "7d" }
"""

WHOLE = """
[cases]
owner = "service"
zone = "Europe/Vienna"
hours = ["mon-fri 09:00-17:00", "sat 10:00-12:00"]
first_response = "8h"
resolution = "40h"
reopen_within = "14d"
causes = ["late", "broken"]
actions = ["refund", "voucher"]

[[cases.rules]]
key = "unhappy"
title = "Unhappy after checkout"
when = { prompt = "q", at_most = 2 }
severity = "high"
owner = "checkout"
recovery = "well"
recovery_at_most = 3

[[cases.rules]]
key = "late"
when = { prompt = "words", where = { answer = ["late", "very late"] } }
causes = ["carrier"]

[[cases.rules]]
key = "declined"
when = { pain_point = "payment.*", severity = "high", where = { cart = "c1" } }
subject = "target"
first_response = "1h"
"""


@pytest.fixture
def problems(tmp_path: Path) -> Problems:
    """Return a function that returns the mistakes in the table `[cases]`."""

    def problems(*lines: str) -> list[str]:
        path = tmp_path / "journeykit.toml"
        path.write_text("\n".join([HEAD, *lines]), encoding="utf-8")
        try:
            JourneyKit.from_toml(path).close()
        except ConfigError as error:
            return list(error.problems)
        return []

    return problems


def test_all_of_it_can_be_declared(problems: Problems) -> None:
    """A table with every key has no mistake."""
    assert problems(WHOLE) == []


RULE = """[[cases.rules]]
key = "low"
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[cases]]\nkey = 'x'", "write [cases], and [[cases.rules]] for its rules"),
        ("[cases]\nzone = 'Europe/Viena'", "cases.zone: there is no time zone 'Europe/Viena'"),
        ("[cases]\nhours = ['9 to 5']", "'9 to 5' are no hours; write some such as"),
        ("[cases]\nhours = ['fri 17:00-09:00']", "ends before it begins"),
        ("[cases]\nhours = 'mon 09:00-10:00'", "cases.hours: expected a list"),
        ("[cases]\nfirst_response = '400d'", "cases.first_response: is 400 days"),
        ("[cases]\nowners = 'x'", "cases.owners: is not known; the keys here are rules, owner"),
        ("[cases]\ncauses = ['']", "expected a list of texts"),
        (RULE, "cases.rules[0].when: is missing"),
        (f"{RULE}when = {{}}", "low.when: has none of them; write one of prompt, kind and"),
        (
            f"{RULE}when = {{ prompt = 'q', pain_point = 'a.b' }}",
            "low.when: has prompt and pain_point",
        ),
        (f"{RULE}when = {{ prompt = 'p' }}", "when.prompt: there is no prompt 'p'; there are 'q'"),
        (f"{RULE}when = {{ kind = 'nps' }}", "when.kind: there is no prompt of the kind 'nps'"),
        (f"{RULE}when = {{ kind = 'stars' }}", "expected one of"),
        (f"{RULE}when = {{ prompt = 'q', at_most = 6 }}", "when.at_most: is 6; scores are 1 to 5"),
        (
            f"{RULE}when = {{ prompt = 'q', at_least = 3, at_most = 2 }}",
            "when.at_least: is more than at_most",
        ),
        (f"{RULE}when = {{ prompt = 'words', at_most = 2 }}", "the prompt asks for no score"),
        (f"{RULE}when = {{ prompt = 'words' }}", "when.where: is missing"),
        (
            f"{RULE}when = {{ prompt = 'q', where = {{ why = 'x' }} }}",
            "when.where: the prompt has no question 'why'; it has 'score'",
        ),
        (f"{RULE}when = {{ prompt = 'q', severity = 'high' }}", "goes with pain_point only"),
        (f"{RULE}when = {{ pain_point = 'A B' }}", "when.pain_point: is 'A B'; write a code"),
        (
            f"{RULE}when = {{ pain_point = 'payment.declinde' }}",
            "did you mean 'payment.declined'?",
        ),
        (
            f"{RULE}when = {{ pain_point = 'x.y', at_most = 2 }}",
            "when.at_most: goes with prompt and kind only",
        ),
        (f"{RULE}when = {{ prompt = 'q' }}\nseverity = 'urgent'", "expected one of"),
        (
            f"{RULE}when = {{ prompt = 'q' }}\nrecovery = 'p'",
            "low.recovery: there is no prompt 'p'",
        ),
        (
            f"{RULE}when = {{ prompt = 'q' }}\nrecovery = 'words'",
            "low.recovery: 'words' asks for no score",
        ),
        (
            f"{RULE}when = {{ prompt = 'q' }}\nrecovery = 'q'",
            'prompts.q.when: asks whether a case is resolved well; write when = { event = "case',
        ),
        (
            f"{RULE}when = {{ prompt = 'q' }}\nrecovery = 'well'\nreopen_within = '12h'",
            "prompts.well.when.delay: is 1 day, 0:00:00, and by then the case is closed",
        ),
        (
            f"{RULE}when = {{ prompt = 'q' }}\nrecovery = 'well'\nrecovery_at_most = 5",
            "recovery_at_most: is 5; scores are 1 to 5, and one of them must be good",
        ),
        (
            f"{RULE}when = {{ prompt = 'q' }}\nrecovery_at_most = 2",
            "recovery_at_most: goes with recovery only",
        ),
        (
            f"{RULE}when = {{ prompt = 'q' }}\nowner = 'ann@shop.example'",
            "cases.rules.low.owner: 'ann@shop.example' looks like an e-mail address",
        ),
        (
            f"[[touchpoints]]\nname = 'Call'\nowner = 'a@b.example'\n{RULE}when = {{ kind = 'csat' }}",
            "touchpoints.Call.owner: 'a@b.example' looks like an e-mail address",
        ),
        (
            "\n".join([f"{RULE}when = {{ prompt = 'q' }}"] * 2),
            "cases.rules: 'low' is declared 2 times",
        ),
        (
            f"{RULE}when = {{ prompt = 'q' }}".replace("low", "owner"),
            "cases.rules.owner.key: 'owner' is taken",
        ),
    ],
)
def test_mistakes_are_named(problems: Problems, text: str, told: str) -> None:
    """A mistake is told with its key path and what to write instead, and it is the only one."""
    found = problems(text)
    assert len(found) == 1
    assert told in found[0]


def test_all_mistakes_are_told_at_once(problems: Problems) -> None:
    """Mistakes in several places are one list."""
    found = problems(
        "[cases]\nzone = 'Mars'\nresolution = '999d'",
        f"{RULE}when = {{ prompt = 'p' }}\nrecovery = 'r'",
    )
    assert [problem.split(":")[0] for problem in found] == [
        "cases.resolution",
        "cases.zone",
        "cases.rules.low.when.prompt",
        "cases.rules.low.recovery",
    ]


def test_addresses_are_names_where_nothing_is_redacted(problems: Problems) -> None:
    """Where e-mail addresses stay in the Log, they may be owners."""
    assert (
        problems(
            "[redaction]\npatterns = ['card']",
            f"{RULE}when = {{ prompt = 'q' }}\nowner = 'ann@shop.example'",
        )
        == []
    )


def test_a_machine_without_zones_is_told(
    problems: Problems, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the machine knows no time zones, the start says what to install."""

    def missing(name: str) -> None:
        raise __import__("zoneinfo").ZoneInfoNotFoundError(name)

    monkeypatch.setattr("zoneinfo.ZoneInfo", missing)
    monkeypatch.setattr("zoneinfo.available_timezones", set)
    (problem,) = problems("[cases]\nzone = 'Europe/Vienna'")
    assert "cases.zone: this machine knows no time zones" in problem
    assert "install the package tzdata" in problem
    assert problems("[cases]\nowner = 'x'") == []
