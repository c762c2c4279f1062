"""The contract of pain-point rules: tests that every rule passes, and how they are run."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from journeykit.assembly import rules_by_name
from journeykit.config.settings import Consent, ConsentMode, Core, Settings
from journeykit.hookspecs import hookimpl
from journeykit.journeys.rulebook import GuardedRule
from journeykit.kit import JourneyKit
from journeykit.model import jsonbytes
from journeykit.model.rule import EventView, Found, PainPointRule, Stepped
from journeykit.plugins import Plugin, Plugins
from journeykit.testing.clock import Clock
from journeykit.testing.events import make_entry
from journeykit.testing.recording import RecordingSink
from journeykit.testing.strategies import properties

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hypothesis.strategies import SearchStrategy

    from journeykit.model.event import Entry

_DAY = 86_400

#: More often than any rule has reason to wake between two events.
_MOST_WAKES = 100

#: A contract's properties are inherited, and ask for a fixture, which keeps nothing.
#: Few examples, because each of them is a whole sequence of events.
given_events = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[
        HealthCheck.differing_executors,
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],
)


class Happening(NamedTuple):
    """An event of a rule's: its name, the seconds after noon, and its properties."""

    name: str
    at: float = 0.0
    properties: dict[str, Any] = {}  # noqa: RUF012 - nobody writes to it

    def entry(self) -> Entry:
        """Return it as the Log has it."""
        return make_entry(self.name, self.properties, at=self.at)


class RuleRun:
    """
    What *rule* finds in the events of one customer, as the projector asks it.

    Whatever the rule does wrong is raised.
    """

    def __init__(self, rule: PainPointRule) -> None:
        plugins = Plugins(installed=False, strict=True)
        self._rule = GuardedRule(rule, Plugin(rule.code, "app"), plugins)
        #: Target → what is remembered of it, and when that wakes.
        self.memories: dict[str, tuple[Any, int | None]] = {}
        self.found: list[tuple[str, Found]] = []

    def see(self, entries: Iterable[Entry]) -> RuleRun:
        """Hand the rule *entries*, each when its time has come."""
        for entry in entries:
            self.wait(entry.occurred_at)
            view = EventView(
                entry, entry.name, entry.occurred_at, jsonbytes.loads(entry.body)["properties"]
            )
            for target in self._targets(view):
                memory, _ = self.memories.get(target, (None, None))
                if memory is not None or entry.name not in self._rule.ends:
                    self._note(target, self._rule.step(memory, view))
        return self

    def wait(self, until: int) -> RuleRun:
        """Let time pass up to *until*, in microseconds."""
        for _ in range(_MOST_WAKES):
            due = [
                (wake, target)
                for target, (_, wake) in self.memories.items()
                if wake is not None and wake <= until
            ]
            if not due:
                return self
            at, target = min(due)
            memory, _ = self.memories[target]
            stepped = self._rule.wake(memory, at)
            assert stepped.wake_at is None or stepped.wake_at > at, "it wakes for ever"
            self._note(target, stepped)
        pytest.fail(f"the rule wakes more than {_MOST_WAKES} times")

    def _targets(self, view: EventView) -> list[str]:
        target = self._rule.key(view)
        if target == PainPointRule.EVERY:
            return list(self.memories)
        return [] if target is None else [target]

    def _note(self, target: str, stepped: Stepped) -> None:
        self.found += [(target, each) for each in stepped.findings]
        if stepped.memory is None:
            self.memories.pop(target, None)
        else:
            self.memories[target] = stepped.memory, stepped.wake_at


class RuleContract:
    """
    What every pain-point rule keeps; a test class of yours derives from it.

    It needs one fixture, `rule`.
    Give `hurts` and `harmless` too: one that never finds anything keeps the rest of the contract.
    """

    #: Sequences of happenings, in each of which the rule finds something.
    hurts: ClassVar[Sequence[Sequence[Happening]]] = ()
    #: Sequences in none of which it does.
    harmless: ClassVar[Sequence[Sequence[Happening]]] = ()

    @pytest.fixture
    def rule(self) -> PainPointRule:
        """Return the rule under test; yours replaces this."""
        pytest.fail(f"{type(self).__name__} has no fixture `rule`")

    def happenings(self, rule: PainPointRule) -> SearchStrategy[list[Happening]]:
        """Return a strategy for what may happen; replace it where properties must fit together."""
        names = st.sampled_from(sorted({*rule.on, *rule.also}))
        seconds = st.integers(0, 40 * _DAY).map(float)
        drawn = st.lists(st.builds(Happening, names, seconds, properties()), max_size=8)
        return drawn.map(lambda each: sorted(each, key=lambda happening: happening.at))

    def test_contract_rule_can_be_registered(self, rule: PainPointRule) -> None:
        """Its code, its names and its severity are right, and its code is not taken."""
        plugins = Plugins([_plugin(rule)], installed=False)
        assert rule in rules_by_name(plugins).values()

    @given(data=st.data())
    @given_events
    def test_contract_any_event_is_understood(
        self, rule: PainPointRule, data: st.DataObject
    ) -> None:
        """Whatever properties its events have, it raises nothing and stays within its bounds."""
        entries = [each.entry() for each in data.draw(self.happenings(rule))]
        RuleRun(rule).see(entries).wait(2**62)

    @given(data=st.data())
    @given_events
    def test_contract_the_same_events_lead_to_the_same(
        self, rule: PainPointRule, data: st.DataObject
    ) -> None:
        """It keeps nothing of its own: asked again, it remembers and finds the same."""
        entries = [each.entry() for each in data.draw(self.happenings(rule))]
        first, second = (RuleRun(rule).see(entries).wait(2**62) for _ in range(2))

        assert first.memories == second.memories
        assert first.found == second.found

    @given(data=st.data())
    @given_events
    def test_contract_what_it_is_handed_stays_as_it_was(
        self, rule: PainPointRule, data: st.DataObject
    ) -> None:
        """It changes neither the memory nor the event: both are looked at again."""
        run = RuleRun(rule)
        for happening in data.draw(self.happenings(rule)):
            entry = happening.entry()
            view = EventView(entry, entry.name, entry.occurred_at, dict(happening.properties))
            target = rule.key(view)
            memory, _ = run.memories.get(target or "", (None, None))
            before = copy.deepcopy((memory, view.properties))
            rule.step(memory, view)
            assert (memory, view.properties) == before
            run.see([entry])

    def test_contract_it_finds_what_hurts(self, rule: PainPointRule) -> None:
        """In each sequence that hurts it finds something, and in a real kit as well."""
        if not self.hurts:
            pytest.skip("give `hurts`, sequences of Happening in which the rule finds something")
        for happenings in self.hurts:
            run = RuleRun(rule).see(each.entry() for each in happenings).wait(2**62)
            assert run.found, happenings
            assert _in_a_kit(rule, happenings), happenings

    def test_contract_it_finds_nothing_harmless(self, rule: PainPointRule) -> None:
        """In no harmless sequence does it find anything."""
        if not self.harmless:
            pytest.skip("give `harmless`, sequences of Happening in which the rule finds nothing")
        for happenings in self.harmless:
            run = RuleRun(rule).see(each.entry() for each in happenings).wait(2**62)
            assert not run.found, happenings


def _plugin(rule: PainPointRule) -> object:
    class UnderTest:
        name = "rule-under-test"

        @hookimpl
        def register_rules(self) -> list[PainPointRule]:
            return [rule]

    return UnderTest()


def _in_a_kit(rule: PainPointRule, happenings: Iterable[Happening]) -> list[Any]:
    """Return the pain points of *rule* that a real kit has derived, after a long time."""
    sink, clock = RecordingSink(), Clock()
    settings = Settings(
        consent=Consent(ConsentMode.OPT_OUT), core=Core(store="memory://", strict=True)
    )
    start = clock()
    # The plugin that the rule belongs to is likely to be installed, and would bring it once more.
    alone = Plugins([_plugin(rule)], installed=False, strict=True)
    with JourneyKit(settings, plugins=alone, sinks=[sink], now=clock) as kit:
        for happening in happenings:
            clock.micros = max(clock.micros, start + round(happening.at * 1_000_000))
            kit.track(happening.name, happening.properties, customer="u1")
            assert kit.flush()
        clock.advance(400 * _DAY)
        kit.track("Page Viewed", customer="u1")
        assert kit.flush()
    found = sink.named("pain_point.detected")
    return [event for event in found if event.properties["code"] == rule.code]
