"""Case rules that change count from then on, and a rebuild knows when that was."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from journeykit import Case, JourneyKit, hookimpl
from journeykit.config import Settings
from journeykit.feedback.case_rules import DECLARED, CaseRules
from journeykit.feedback.casebook import hash_of, to_wire
from journeykit.model import (
    CaseRule,
    Cases,
    CaseWhen,
    Journey,
    Kind,
    Prompt,
    Stage,
    Touchpoint,
    When,
    jsonbytes,
)
from journeykit.model.event import ABOUT_NOBODY
from journeykit.model.vocabulary import Vocabulary
from journeykit.store.memory import MemoryStore
from journeykit.store.sqlite import SQLiteStore

PROMPT = Prompt(key="q", kind="csat", text="How?", when=When(event="Order Completed"))
WORST = Cases(rules=[CaseRule(key="worst", when=CaseWhen(prompt="q", at_most=1))])
BAD = Cases(rules=[CaseRule(key="bad", when=CaseWhen(prompt="q", at_most=3))])

Run = Callable[..., JourneyKit]
WaitUntil = Callable[..., None]


@pytest.fixture(params=["memory", "sqlite"])
def run(
    request: pytest.FixtureRequest, make_settings: Callable[..., Settings], tmp_path: Path
) -> Iterator[Run]:
    """Return a function that starts a shop with case rules, on the same store each time."""
    memory, kits = MemoryStore(), list[JourneyKit]()

    def run(cases: Cases, *, prompts: Any = (PROMPT,), **more: Any) -> JourneyKit:
        for kit in kits:
            kit.close()
        store = memory if request.param == "memory" else SQLiteStore(tmp_path / "cases.db")
        plugins = more.pop("plugins", ())
        settings = make_settings(prompts=prompts, cases=cases, **more)
        kits.append(JourneyKit(settings, store=store, plugins=plugins))
        return kits[-1]

    yield run
    for kit in kits:
        kit.close()


def answer(kit: JourneyKit, customer: str, score: int, impression: str | None = None) -> None:
    """Record an answer, as a page does."""
    properties = {
        "impression": impression or f"i-{customer}-{score}",
        "prompt": "q",
        "kind": "csat",
        "seq": 0,
        "answers": {"score": score},
        "score": score,
        "scale": [1, 5],
    }
    fact = {"kind": Kind.FACT, "actor": "customer", "reason": "x"}
    assert kit._record("prompt.answered", properties, customer, **fact)
    assert kit.flush()


def in_force(kit: JourneyKit, wait_until: WaitUntil) -> JourneyKit:
    """Wait until the rules of *kit* are published: what occurs before is judged by those before."""
    projector = kit.start().projector
    wait_until(lambda: projector._known)
    return kit


def found(kit: JourneyKit) -> list[tuple[str, str | None]]:
    """Return the rule and the customer of each case."""
    cases = kit.cases.list(everything=True)
    return sorted((case.rule, case.customer.user_id) for case in cases)


def declared(kit: JourneyKit) -> list[Any]:
    """Return what the Log says was declared."""
    entries = [each.entry for each in kit.store.read(None, 1000)]
    return [entry for entry in entries if entry.name == DECLARED]


def test_the_first_complaint_counts(run: Run) -> None:
    """What was recorded before anybody folded is judged by the first rules."""
    kit = run(WORST)
    answer(kit, "ada", 1)
    assert found(kit) == [("worst", "ada")]
    (fact,) = declared(kit)
    assert fact.flags & ABOUT_NOBODY
    assert jsonbytes.loads(fact.body)["properties"]["since"] == 0


def test_other_rules_count_from_then_on(run: Run, wait_until: WaitUntil) -> None:
    """A new rule makes no case of an old answer, and one that is gone takes none along."""
    kit = run(WORST)
    answer(kit, "ada", 1)
    answer(kit, "eve", 3)
    kit = in_force(run(BAD), wait_until)
    answer(kit, "ivy", 3)
    assert found(kit) == [("bad", "ivy"), ("worst", "ada")]
    assert len(declared(kit)) == 2
    assert len(kit.store.read(None, 1000)) == len({e.entry.id for e in kit.store.read(None, 1000)})


def test_a_rebuild_knows_when_which_rules_were_in_force(run: Run, wait_until: WaitUntil) -> None:
    """Folded again, the Log makes the same cases, though its rules have changed since."""
    kit = run(WORST)
    answer(kit, "ada", 1)
    answer(kit, "eve", 3)
    kit = in_force(run(BAD), wait_until)
    answer(kit, "ivy", 3)
    kit.close()
    kit = run(BAD)
    before = {key: list(kit.store.scan(key)) for key in ("case", "case_file", "timer")}
    rows = len(kit.store.read(None, 1000))
    assert kit.rebuild()
    assert {key: list(kit.store.scan(key)) for key in before} == before
    assert len(kit.store.read(None, 1000)) == rows


def test_rules_that_come_back_find_their_cases(run: Run, wait_until: WaitUntil) -> None:
    """Without any rule nobody follows up; declared again, the cases of then are there."""
    kit = run(WORST)
    answer(kit, "ada", 1)
    kit = in_force(run(Cases()), wait_until)
    answer(kit, "eve", 1)
    assert found(kit) == []
    kit = in_force(run(WORST), wait_until)
    answer(kit, "ivy", 1)
    assert found(kit) == [("worst", "ada"), ("worst", "ivy")]
    # That there were none in between stays in the Log.
    assert len(declared(kit)) == 3


def test_the_same_rules_are_declared_once(run: Run) -> None:
    """A start with the same rules writes nothing."""
    for _ in range(3):
        kit = run(WORST)
        answer(kit, "ada", 1, str(time.monotonic_ns()))
    assert len(declared(kit)) == 1


def test_who_only_looks_declares_nothing(run: Run) -> None:
    """A command with other rules than the shop that runs changes none, and says so."""
    kit = run(WORST)
    answer(kit, "ada", 1)
    kit = run(BAD)
    assert not kit.catch_up()
    assert len(declared(kit)) == 1
    kit = run(WORST)
    assert kit.catch_up()


def test_what_a_crash_left_behind_is_found() -> None:
    """Rules that were published by a process that ended before it folded are in force from then on."""
    wire = to_wire(WORST, [PROMPT], [], [], Vocabulary({}, ()))
    other = to_wire(BAD, [PROMPT], [], [], Vocabulary({}, ()))
    store = MemoryStore()
    first = CaseRules(wire).publish(store, None, None, 100)
    assert [since for since, _ in first] == [0]
    cursor = store.read(None, 1)[0].position
    published = CaseRules(other).publish(store, first, cursor, 200)
    again = CaseRules(other).publish(store, first, cursor, 300)
    assert [since for since, _ in again] == [since for since, _ in published] == [0, 200]
    assert CaseRules(other).publish(store, None, "lost", 400) == again


def test_the_whole_declaration_is_told_apart() -> None:
    """Whatever changes whose a case is, or when it is due, makes other rules; texts for prompts not."""
    names = Vocabulary({}, ())

    def told(cases: Cases = BAD, **more: Any) -> str:
        parts: dict[str, Any] = {"prompts": [PROMPT], "journeys": [], "touchpoints": [], **more}
        wire = to_wire(cases, parts["prompts"], parts["journeys"], parts["touchpoints"], names)
        assert wire is not None
        assert to_wire(Cases(), [PROMPT], [], [], names) is None
        return hash_of(wire)

    stages = [Stage("cart", owner="carts")]
    other = [
        told(Cases(rules=BAD.rules, owner="desk")),
        told(Cases(rules=BAD.rules, zone="Europe/Vienna")),
        told(Cases(rules=BAD.rules, hours=["mon 09:00-10:00"])),
        told(Cases(rules=BAD.rules, resolution=timedelta(days=1))),
        told(touchpoints=[Touchpoint("Call", owner="tills")]),
        told(journeys=[Journey(key="shop", version=1, stages=stages)]),
    ]
    assert len({*other, told()}) == len(other) + 1
    renamed = Prompt(key="q", kind="csat", text="Other?", when=When(event="Order Completed"))
    assert told(prompts=[renamed]) == told()


class Hangs:
    """A plugin that never comes to an end."""

    name = "hangs"

    @hookimpl
    def route_case(self, case: Case) -> str | None:
        """Wait for much longer than anybody does."""
        time.sleep(2 if case.customer.user_id == "ada" else 0)
        return "nobody"


def test_a_plugin_that_hangs_is_given_up(run: Run) -> None:
    """A plugin that hangs over a case is tripped, and the case has its declared owner."""
    cases = Cases(rules=WORST.rules, owner="desk")
    core = {"plugin_timeout": timedelta(seconds=0.2), "strict": False}
    kit = run(cases, plugins=[Hangs()], core=core)
    answer(kit, "ada", 1)
    assert kit.flush(10)
    assert kit.cases.list()[0].owner == "desk"
    assert kit.status()["tripped"][0]["hook"] == "route_case"
