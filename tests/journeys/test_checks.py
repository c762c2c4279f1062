from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from journeykit.journeys.declared import declare
from journeykit.model import Exit, Goal, Journey, ReEntry, Rule, Stage

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

LOOK, BUY = Stage("look", enter=["Look"]), Stage("buy", enter=["Buy"])


def problems(*stages: Stage, names: dict[str, str] | None = None, **more: Any) -> list[str]:
    """Return what is wrong with the journey `own` of these stages."""
    journey = Journey(**{"key": "own", "version": 2, "stages": stages or (LOOK, BUY), **more})
    return declare([journey], [], names or {})[1]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            problems(Stage("a", enter=[Rule("X", where={"k": 1}), Rule("X", where={"k": 1})])),
            (
                "journeys.own.stages: 2 rules for 'X' have the same where; keep one, or tell them "
                "apart"
            ),
        ),
        (
            problems(
                Stage("a", enter=["X", Rule("Y", after="X")]),
                Stage("b", enter=[Rule("Y", after="X")]),
            ),
            (
                "journeys.own.stages: 2 rules for 'Y' have the same where and after; keep one, or "
                "tell them apart"
            ),
        ),
        (
            problems(
                Stage("a", enter=[Rule("X", where={"k": 1, "m": 2})]),
                Stage("b", enter=[Rule("X", where={"k": [1, 2]})]),
            ),
            (
                "journeys.own.stages.a.enter: nobody can get here, because another rule is always "
                "tried before, or what must come earlier cannot, for 'X'; change the rules"
            ),
        ),
        (
            problems(
                LOOK,
                Stage("back", enter=[Rule("Look", after="Left")]),
                entry=["Look"],
                exits=[Exit("Left")],
            ),
            (
                "journeys.own.stages.back.enter: nobody can get here, because another rule is "
                "always tried before, or what must come earlier cannot, for 'Look'; change the rules"
            ),
        ),
        (
            problems(entry=["Come"], exits=[Exit("Come")]),
            (
                "journeys.own.entry[0]: 'Come' is an exit too, so a run would end as it begins; "
                "take it out of exits, or tell them apart with where"
            ),
        ),
        (
            problems(LOOK, BUY, exits=[Exit("Bought")], names={"Bought": "Buy"}),
            (
                "journeys.own.stages.buy.enter: every event that leads here is an exit, which ends "
                "the run instead; name another event, or take it out of exits"
            ),
        ),
        (
            problems(goal=Goal("Paid"), exits=[Exit("Paid", outcome="converted")]),
            (
                "journeys.own.goal.event: 'Paid' is an exit too, which ends the run before the "
                "goal is met; take it out of exits"
            ),
        ),
        (
            problems(timeout="24h"),
            "journeys.own.timeout: is '24h', which is no duration; write a timedelta",
        ),
        (
            problems(goal=Goal("Buy", within=timedelta(0))),
            "journeys.own.goal.within: is 0:00:00; a duration is longer than nothing",
        ),
        (
            problems(late=-HOUR),
            "journeys.own.late: is -1 day, 23:00:00; a duration is longer than nothing",
        ),
        (
            problems(LOOK, Stage("buy", enter=["Buy"], stall=DAY), timeout=HOUR),
            (
                "journeys.own.stages.buy.stall: nobody can stall for 1 day, 0:00:00, because "
                "timeout ends every run after 1:00:00; shorten stall, or take it out"
            ),
        ),
        (
            problems(reentry=ReEntry(allow=False, max=3)),
            "journeys.own.reentry.max: means nothing with allow = false; keep one of the two",
        ),
        (
            problems(reentry=ReEntry(allow=False, wait=HOUR)),
            "journeys.own.reentry.wait: means nothing with allow = false; keep one of the two",
        ),
        (
            problems(instance_by=" "),
            "journeys.own.instance_by: is empty; name a property, or leave it out",
        ),
        (
            problems(publish={"migrate": {"seen": "looked"}}),
            (
                "journeys.own.publish.migrate.seen: version 2 has no stage 'looked'; it has 'look', "
                "'buy'"
            ),
        ),
        (
            problems(publish={"migrate": {}}),
            'journeys.own.publish.migrate: names no stage; write publish = "drain"',
        ),
        (
            problems(entry=["share"]),
            (
                "journeys.own.entry[0].event: 'share' may mean 'Product Shared', 'Cart Shared'; "
                "write the one you mean, or declare a touchpoint named 'share'"
            ),
        ),
    ],
)
def test_contradiction_is_named(found: list[str], expected: str) -> None:
    """What makes no sense gives one line: where it is, what is wrong, what to do."""
    assert found == [expected]


def test_contradictions_are_named_at_once() -> None:
    """Mistakes of different kinds in one journey are all told together."""
    found = problems(
        Stage("look", enter=["Look"], stall=DAY),
        BUY,
        timeout=HOUR,
        entry=["Look"],
        exits=[Exit("Look"), Exit("Buy")],
        goal=Goal("Buy"),
        reentry=ReEntry(allow=False, max=2),
        publish={"migrate": {"a": "b"}},
    )

    assert [line.split(":")[0].removeprefix("journeys.own.") for line in found] == [
        "entry[0]",
        "stages.look.enter",
        "stages.buy.enter",
        "goal.event",
        "stages.look.stall",
        "reentry.max",
        "publish.migrate.a",
    ]


@pytest.mark.parametrize(
    "sound",
    [
        problems(Stage("a", enter=["X"]), Stage("b", enter=[Rule("X", after="X")])),
        problems(Stage("a", enter=["X"]), Stage("b", enter=[Rule("X", where={"k": 1})])),
        problems(
            Stage("a", enter=[Rule("X", where={"k": 1})]),
            Stage("b", enter=[Rule("X", where={"k": 2})]),
        ),
        problems(
            Stage("a", enter=[Rule("X", where={"k": [1, 2]})]),
            Stage("b", enter=[Rule("X", where={"k": [2, 3]})]),
        ),
        problems(
            Stage("a", enter=["X", Rule("Y", after="X")]),
            Stage("b", enter=[Rule("Y", after="Z"), "W"]),
        ),
        problems(entry=["Look"], exits=[Exit("Look", where={"last": True})]),
        problems(goal=Goal("Paid"), exits=[Exit("Paid", where={"amount": 0}), Exit("Left")]),
        problems(LOOK, BUY, Stage("back", enter=["Look 2", "Left"]), exits=[Exit("Left")]),
        problems(Stage("look", enter=["Look"], stall=HOUR), BUY, timeout=DAY),
        problems(reentry=ReEntry(allow=False)),
        problems(reentry=ReEntry(wait=HOUR, max=1), late=timedelta(0)),
        problems(publish={"migrate": {"old": "buy"}}),
        problems(skip="forbid", loop="forbid", regress="ignore"),
    ],
)
def test_what_may_be_meant_is_no_mistake(sound: list[str]) -> None:
    """Rules that some event can tell apart, and ends that some event can miss, are accepted."""
    assert sound == []
