from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from journeykit import JourneyKit, Page
from journeykit.cli.scoring import print_scores
from journeykit.feedback.intervals import changes, measures
from journeykit.model.prompt import SCALES, PromptKind
from journeykit.model.score import Score, ScoreFigures, ScoreGroup, ScorePeriod

Cli = Callable[..., Any]

BAD, GOOD = {1: 20, 4: 5, 5: 5}, {1: 5, 4: 15, 5: 20}

PROMPT = """
[[prompts]]
key = "after-checkout"
kind = "csat"
text = "How easy was it to pay?"
when = { page = "/*" }
"""


def figures(
    counts: Mapping[int, int], shown: int = 100, *, kind: str = "csat", reworded: bool = False
) -> ScoreFigures:
    """Return what *counts* come to, of which 30 are needed."""
    answers = sum(counts.values())
    told = measures(PromptKind(kind), SCALES[PromptKind(kind)], counts) if answers >= 30 else ()
    return ScoreFigures(
        shown=shown,
        answers=answers,
        needed=30,
        measures=told,
        counts=counts if told else {},
        reworded=reworded,
    )


def month(number: int, counts: Mapping[int, int], **more: Any) -> ScorePeriod:
    """Return a month of 2026."""
    period = {"start": date(2026, number, 1), "end": date(2026, number + 1, 1), "is_over": True}
    return ScorePeriod(**{**period, "figures": figures(counts, 50), **more})


def score(**more: Any) -> Score:
    """Return a score of a whole shop."""
    values = {
        "prompt": "after-checkout",
        "kind": "csat",
        "scale": (1, 5),
        "text": "How easy was it to pay?",
        "first": datetime(2026, 1, 3, tzinfo=UTC),
        "last": datetime(2026, 3, 9, tzinfo=UTC),
        "figures": figures({1: 25, 4: 20, 5: 25}),
        **more,
    }
    return Score(**values)


def lines(capsys: pytest.CaptureFixture[str], *scores: Score) -> list[str]:
    """Return what is printed."""
    print_scores(scores)
    return capsys.readouterr().out.splitlines()


def test_a_score_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """All answers, the periods and the groups below one another, with intervals and shares."""
    told = changes(PromptKind.CSAT, (1, 5), BAD, GOOD)
    found = score(
        months=(month(1, BAD), month(2, GOOD, changes=told), month(3, {4: 7}, is_over=False)),
        weeks=(month(3, {4: 3}, start=date(2026, 3, 2)),),
        groups=(
            ScoreGroup(by="journey", value="shop", figures=figures(GOOD, 100)),
            ScoreGroup(by="stage", value="shop.purchase", figures=figures(GOOD, 60)),
            ScoreGroup(by="segment", name="device", value="phone", figures=figures({5: 7}, 28)),
        ),
    )
    assert lines(capsys, found) == [
        "",
        'CSAT after-checkout: "How easy was it to pay?", 2026-01-03 to 2026-03-09',
        "                       4 and 5  95 %                        answers  of shown",
        "all answers            64%      53% to 74%                       70       70%",
        "  mean                 3.29     2.88 to 3.67                     70       70%",
        "week of 2026-03-02     –        held back: 3 of 30 answers        3        6%",
        "month 2026-01          33%      19% to 51%                       30       60%",
        "month 2026-02          88%      74% to 95%                       40       80%",
        "month 2026-03, so far  –        held back: 7 of 30 answers        7       14%",
        "stage shop.purchase    88%      74% to 95%                       40       67%",
        "device phone           –        held back: 7 of 30 answers        7       25%",
        "all of it: journey shop",
        "month 2026-02 against 2026-01: up by 54 points (95 %: +32 to +70)",
    ]


def test_no_change_is_called_one_that_may_be_chance(capsys: pytest.CaptureFixture[str]) -> None:
    """An interval with 0 in it is no clear change; one without is up or down."""
    for before, after, said in (
        (GOOD, GOOD, "no clear change (95 %: -15 to +15)"),
        (GOOD, BAD, "down by 54 points (95 %: -70 to -32)"),
    ):
        told = changes(PromptKind.CSAT, (1, 5), before, after)
        months = (month(1, before), month(2, after, changes=told, is_over=False))
        found = lines(capsys, score(months=months))
        assert found[-1] == f"month 2026-02, so far, against 2026-01: {said}"


def test_an_old_change_is_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    """What changed months ago, with too few answers since, is left out."""
    told = changes(PromptKind.CSAT, (1, 5), BAD, GOOD)
    months = (month(1, BAD), month(2, GOOD, changes=told), month(3, {}), month(4, {}))
    assert "against" not in "".join(lines(capsys, score(months=months)))


@pytest.mark.parametrize(
    ("kind", "scale", "counts", "head", "told"),
    [
        ("nps", (0, 10), {0: 15, 9: 15}, "NPS", ["all answers 0 -33 to 33 30 30%"]),
        (
            "ces",
            (1, 7),
            {4: 15, 7: 15},
            "mean, 1 to 7",
            ["all answers 5.50 4.81 to 5.92", "5 to 7 50% 33% to 67%"],
        ),
    ],
)
def test_other_kinds(
    capsys: pytest.CaptureFixture[str],
    kind: str,
    scale: tuple[int, int],
    counts: dict[int, int],
    head: str,
    told: list[str],
) -> None:
    """NPS is a whole number, and effort a mean first."""
    found = lines(capsys, score(kind=kind, scale=scale, figures=figures(counts, kind=kind)))
    assert head in found[2]
    for line, start in zip(found[3:], told, strict=True):
        assert " ".join(line.split()).startswith(start)


def test_what_to_know_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A question in other words, one that is asked no more, and values that do not fit are told."""
    groups = [
        ScoreGroup(by="segment", name="page", value=f"{number:02}", figures=figures({}, 9))
        for number in range(13)
    ]
    found = lines(
        capsys,
        score(text=None, figures=figures(GOOD, 200, reworded=True), groups=tuple(groups)),
    )
    assert found[1].startswith("CSAT after-checkout: not asked any more, 2026-01-03")
    assert sum(line.startswith("page ") for line in found) == 10
    assert "page: 3 more (--json lists them)" in found
    assert found[-1].startswith("note: the question was asked in other words before")


def test_the_report_has_scores(cli: Cli, shop: Path) -> None:
    """`report` prints them and `--json` lists them, only those of a journey where one is named."""
    file = shop / "journeykit.toml"
    text = file.read_text() + PROMPT + "[feedback]\nmin_answers = 5\n"
    file.write_text(text)
    with JourneyKit.from_toml(file) as kit:
        for number in range(5):
            visit = {"customer": f"u{number}"}
            if number:
                kit.track("home", **visit)
                kit.flush()
            offer = kit.feedback.ask(f"u{number}", Page(path="/", session_id=f"s{number}"))
            told: dict[str, Any] = {"seq": 1, "answers": {"score": 5 - number % 2}}
            assert kit.feedback.report(offer.impression, "completed", **told, **visit)
            kit.flush()
    found = cli("report", "--json").json["scores"]
    assert [(each["prompt"], each["answers"], each["held_back"]) for each in found] == [
        ("after-checkout", 5, False)
    ]
    assert found[0]["measures"][0]["value"] == 1.0
    assert {(each["by"], each["value"], each["answers"]) for each in found[0]["groups"]} == {
        ("journey", "shop", 4),
        ("stage", "shop.awareness", 4),
    }
    assert "held back: 4 of 5 answers" in cli("report").out
    assert len(cli("report", "--journey", "shop", "--json").json["scores"]) == 1
    file.write_text(text.replace('key = "shop"', 'key = "other"'))
    assert cli("report", "--journey", "other", "--json").json["scores"] == []
