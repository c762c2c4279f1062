"""The contract of hooks: tests that every plugin passes, whatever it implements."""

from __future__ import annotations

import copy
import logging
import threading
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pytest
from hypothesis import given

from journeykit.config.settings import Consent, ConsentMode, Core, Settings
from journeykit.delivery import builtin
from journeykit.feedback.selecting import PATIENCE
from journeykit.journeys.templates import ECOMMERCE
from journeykit.kit import JourneyKit
from journeykit.model.event import Event, Kind
from journeykit.model.impression import Candidate, Page
from journeykit.model.journey import Instance, Journey
from journeykit.model.prompt import Prompt, When
from journeykit.model.times import to_datetime
from journeykit.plugins import Plugins
from journeykit.testing.clock import NOON
from journeykit.testing.complaints import answer_to, case_after
from journeykit.testing.events import make_event
from journeykit.testing.recording import RecordingSink
from journeykit.testing.rules import given_events
from journeykit.testing.sinks import PERSONAL
from journeykit.testing.strategies import events

if TYPE_CHECKING:
    from collections.abc import Callable

_JOURNEY: Final = Journey(key="shop", version=1, stages=ECOMMERCE.stages)

_PROMPTS: Final = (
    Prompt(key="nps", kind="nps", text="How likely is it?", when=When(page="/*")),
    Prompt(
        key="search_trouble",
        kind="text",
        text={"en": "What were you looking for?", "de": "Was haben Sie gesucht?"},
        when=When(page="/*"),
    ),
    Prompt(key="delivery", kind="csat", text="How was the delivery?", when=When(page="/*")),
)

#: What may be shown, for `select_prompt` to choose among.
_CANDIDATES: Final = tuple(
    Candidate(key=prompt.key, prompt=prompt, armed_at=to_datetime(NOON)) for prompt in _PROMPTS
)

#: Hook → what it is asked about, where an event, or the page on which it happens, is all there is.
_ASKED: Final[dict[str, Callable[[Event], tuple[Any, ...]]]] = {
    "enrich_event": lambda event: (event,),
    "accept_event": lambda event: (event,),
    "detect_stage": lambda event: (event, _JOURNEY, _instance(event)),
    "detect_pain_points": lambda event: (event, event.customer),
    "event_parked": lambda event: (event, "crm", "HTTP 400"),
    "read_answer": lambda event: (answer_to(event),),
    "route_case": lambda event: (case_after(event),),
    "select_prompt": lambda event: (_CANDIDATES, event.customer, _page(event)),
}

#: Hooks for whose answer somebody waits: how long, in seconds; for the others it is `patience`.
_WAITED_FOR: Final = {"select_prompt": PATIENCE}

#: How often a hook that somebody waits for is asked: other programs on the machine may be busy.
_TRIES: Final = 5

#: Names that plugins may look for, and one that tells of somebody.
_NAMES: Final = ("Order Completed", "Signed In", "Coupon Denied", f"Said {PERSONAL[1]}")

#: Hooks that answer from their arguments alone, since they may be asked again.
_PURE: Final = frozenset(_ASKED) - {"event_parked"}


class HookContract:
    """
    What every plugin keeps; a test class of yours derives from it.

    It needs one fixture, `plugin`: the module, or the object, with the `@hookimpl` functions.
    """

    #: What must not stand in a log: give the secrets of your fixture.
    secrets: ClassVar[tuple[str, ...]] = ()

    #: How long one answer may take, in seconds: `plugin_timeout`, after which a plugin is tripped.
    patience: ClassVar[float] = 2.0

    @pytest.fixture
    def plugin(self) -> Any:
        """Return the plugin under test; yours replaces this."""
        pytest.fail(f"{type(self).__name__} has no fixture `plugin`")

    def settings(self) -> Settings:
        """Return what the kit of these tests is built from."""
        return Settings(
            consent=Consent(ConsentMode.OPT_OUT),
            core=Core(store="memory://", strict=True),
            journeys=[_JOURNEY],
        )

    def test_contract_plugin_can_be_loaded(self, plugin: Any) -> None:
        """It implements hooks that journeykit has, with arguments that they have."""
        loaded, _ = _alone(plugin)
        assert loaded.hooks

    def test_contract_a_kit_starts_with_it(self, plugin: Any) -> None:
        """A kit with this plugin is built, and whatever it registers is of the right kind."""
        with JourneyKit(self.settings(), plugins=_alone(plugin)) as kit:
            assert kit.plugins.register_sinks() is not None
            assert kit.plugins.register_sources() is not None

    def test_contract_its_commands_can_be_added(self, plugin: Any) -> None:
        """Its commands, if it has any, join the command line."""
        click = pytest.importorskip("click")
        assert _alone(plugin).register_commands(click.Group("journeykit")) == []

    @given(event=events())
    @given_events
    def test_contract_any_event_is_understood(self, plugin: Any, event: Event) -> None:
        """Whatever the event, it raises nothing, and answers what the hook asks for."""
        plugins = _alone(plugin)
        for hook in _asked(plugins):
            _ask(plugins, hook, event)

    @given(event=events())
    @given_events
    def test_contract_the_same_event_leads_to_the_same(self, plugin: Any, event: Event) -> None:
        """It answers from its arguments alone: an event may be asked about more than once."""
        plugins = _alone(plugin)
        for hook in _asked(plugins):
            if hook in _PURE:
                assert _ask(plugins, hook, event) == _ask(plugins, hook, event), hook

    @given(event=events())
    @given_events
    def test_contract_events_stay_as_they_were(self, plugin: Any, event: Event) -> None:
        """It changes nothing about event, answer or case, which others are asked about too."""
        plugins = _alone(plugin)
        for hook in _asked(plugins):
            given = _ASKED[hook](event)
            before = copy.deepcopy(given)
            getattr(plugins, hook)(*given)
            assert given == before, hook

    def test_contract_answers_come_in_time(self, plugin: Any) -> None:
        """No answer takes so long that the plugin would be tripped."""
        plugins = _alone(plugin)
        for hook in _asked(plugins):
            patience = _WAITED_FOR.get(hook, self.patience)
            tries = _TRIES if hook in _WAITED_FOR else 1
            in_time = any(_answers(plugins, hook, patience) for _ in range(tries))
            assert in_time, f"{hook} took longer than {patience} s"

    def test_contract_nothing_private_is_logged(
        self, plugin: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Neither secrets nor people are in what it logs."""
        plugins = _alone(plugin)
        about = {"email": PERSONAL[1], "phone": PERSONAL[2]}
        with caplog.at_level(logging.DEBUG):
            for name in _NAMES * 8:
                event = make_event(name, about, user_id=PERSONAL[0], anonymous_id=PERSONAL[3])
                for hook in _asked(plugins):
                    _ask(plugins, hook, event)

        seen = "\n".join(record.getMessage() + str(vars(record)) for record in caplog.records)
        for private in (*self.secrets, *PERSONAL):
            assert private not in seen

    def test_contract_events_pass_it(self, plugin: Any) -> None:
        """In a real kit, events get past this plugin to the sinks, or are withheld and counted."""
        sink = RecordingSink()
        with JourneyKit(self.settings(), plugins=_alone(plugin), sinks=[sink]) as kit:
            receipts = [kit.track(name, customer="u1") for name in ("Product Viewed", "Said hello")]
            assert all(receipts)
            assert kit.flush()
            counters = kit.status()["counters"]
        arrived = [event for event in sink.events if event.kind is Kind.TOUCHPOINT]
        withheld = sum(count for name, count in counters.items() if name.startswith("withheld:"))
        assert len(arrived) + withheld == len(receipts)


def _alone(plugin: Any) -> Plugins:
    """Return the plugin and the core's own: it may be installed, and others beside it."""
    return Plugins([plugin], builtin=[builtin], installed=False, strict=True)


def _asked(plugins: Plugins) -> list[str]:
    return [hook for hook in _ASKED if plugins.implements(hook)]


def _ask(plugins: Plugins, hook: str, event: Event) -> Any:
    return getattr(plugins, hook)(*_ASKED[hook](event))


def _answers(plugins: Plugins, hook: str, seconds: float) -> bool:
    asking = threading.Thread(target=_ask, args=(plugins, hook, make_event()), daemon=True)
    asking.start()
    asking.join(seconds)
    return not asking.is_alive()


def _page(event: Event) -> Page:
    """Return the page on which *event* may have happened; the same one whenever asked."""
    drawn = sum(event.id.encode())
    return Page(
        path=f"/{event.name}",
        languages=((), ("de-AT", "en"), ("fr",))[drawn % 3],
        device=(None, "desktop", "phone", "tablet")[drawn % 4],
        session_id=event.customer.session_id,
        bot=drawn % 5 == 0,
    )


def _instance(event: Event) -> Instance:
    return Instance(journey=_JOURNEY.key, version=_JOURNEY.version, customer=event.customer)
