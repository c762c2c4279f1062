from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit import (
    Endpoint,
    Event,
    Instance,
    Journey,
    PainPoint,
    PainPointRule,
    PluginError,
    SinkType,
    SourceType,
    Stage,
    hookimpl,
    runtime,
)
from journeykit.model import Answer, Candidate, Case, Customer, Entry, Page, Prompt, When
from journeykit.plugins import DISABLED_VARIABLE, PluginFailure, Plugins, load_file

SHOP = Journey(key="shop", version=1, stages=[Stage("cart"), Stage("payment")])
CUSTOMER = Customer("u1")
INSTANCE = Instance(journey="shop", version=1, customer=CUSTOMER)


@attrs.frozen
class Settings:
    """Settings of a made-up sink."""


def plugin(name: str, /, **hooks: Any) -> object:
    """Return a plugin with these hooks: functions, or values to return."""
    module = types.ModuleType(name)
    for hook, answer in (hooks or {"register_journeys": None}).items():
        function = answer if callable(answer) else _returning(answer)
        setattr(module, hook, hookimpl(function))
    return module


def _returning(answer: object) -> Callable[[], object]:
    return lambda: answer


def raising(error: BaseException) -> Callable[[], Any]:
    """Return a function that raises *error*."""

    def fail() -> Any:
        raise error

    return fail


def load(*plugins: object, **more: Any) -> Plugins:
    """Return these plugins as the app's, without installed ones."""
    return Plugins(plugins, installed=False, **more)


@pytest.fixture(scope="session")
def event(make_entry: Callable[..., Entry]) -> Event:
    """Return an ordinary event."""
    return make_entry("Coupon Denied", {"code": "X"}).event()


def names(plugins: Plugins) -> list[str]:
    """Return the names of plugins in their order."""
    return [loaded.name for loaded in plugins]


# Order.


class Distributions:
    """Makes installed distributions out of thin air."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, distribution: str, version: str = "1.0", **modules: str) -> None:
        """Install *distribution*: entry point → the source of its module."""
        info = self.path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        (info / "METADATA").write_text(metadata, encoding="utf-8")
        points = ["[journeykit]"]
        for name, source in modules.items():
            (self.path / f"fake_{name}.py").write_text(source, encoding="utf-8")
            points.append(f"{name} = fake_{name}")
        (info / "entry_points.txt").write_text("\n".join(points) + "\n", encoding="utf-8")


HEALTHY = """
from journeykit import PainPoint, hookimpl

@hookimpl
def detect_pain_points():
    return [PainPoint(__name__)]
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Distributions]:
    """Return a place to install distributions in, on the path of this test only."""
    monkeypatch.syspath_prepend(tmp_path)
    yield Distributions(tmp_path)
    for name in [name for name in sys.modules if name.startswith("fake_")]:
        del sys.modules[name]


def test_app_then_installed_then_builtin(installed: Distributions, event: Event) -> None:
    """The app's plugins come first as listed, then installed ones by name, then the built-in."""
    installed.add("journeykit-two", b_second=HEALTHY, d_fourth=HEALTHY)
    installed.add("journeykit-one", c_third=HEALTHY, a_first=HEALTHY)
    finding = {"detect_pain_points": lambda: [PainPoint("own")]}
    plugins = Plugins(
        [plugin("zebra", **finding), plugin("ant", **finding)],
        builtin=[plugin("core", **finding)],
    )
    expected = ["zebra", "ant", "a_first", "b_second", "c_third", "d_fourth", "core"]
    assert names(plugins) == expected
    assert [name for name, _ in plugins.detect_pain_points(event, CUSTOMER)] == expected


def test_origins_are_told(installed: Distributions) -> None:
    """A plugin says whether it is the app's, built in, or of which distribution and version."""
    installed.add("journeykit-coupons", "2.5", coupons=HEALTHY)
    plugins = Plugins([plugin("own")], builtin=[plugin("core")])
    assert [(loaded.name, loaded.origin) for loaded in plugins] == [
        ("own", "app"),
        ("coupons", "journeykit-coupons 2.5"),
        ("core", "built-in"),
    ]


def test_installed_plugins_can_be_left_alone(installed: Distributions) -> None:
    """With `installed=False` no entry point is looked at."""
    installed.add("journeykit-broken", broken="raise RuntimeError")
    assert names(load(plugin("own"))) == ["own"]


def test_tryfirst_and_trylast(event: Event) -> None:
    """`tryfirst` goes before all others and `trylast` behind, the built-in ones too."""

    def one(name: str, **options: bool) -> object:
        module = types.ModuleType(name)
        module.detect_pain_points = hookimpl(**options)(lambda: [PainPoint("p")])  # type: ignore[attr-defined]
        return module

    plugins = load(
        one("last", trylast=True),
        one("a"),
        one("b"),
        one("first", tryfirst=True),
        builtin=[one("core")],
    )
    asked = [name for name, _ in plugins.detect_pain_points(event, CUSTOMER)]
    assert asked == ["first", "a", "b", "core", "last"]


# Loading.


def test_a_class_is_refused() -> None:
    """A class in place of its object is refused, with what to write."""

    class Mine:
        pass

    with pytest.raises(PluginError, match=r"Mine is a class; pass an object of it, Mine\(\)"):
        load(Mine)


def test_a_plugin_without_hooks_is_refused() -> None:
    """An object whose functions nobody marked is a mistake, and not silently nothing."""

    class Mine:
        def detect_pain_points(self, event: Event) -> None:
            """Forgotten: @hookimpl."""

    with pytest.raises(PluginError, match=r"'Mine' .* implements no hook"):
        load(Mine())


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (plugin("shop.plugin"), "shop.plugin"),
        (types.SimpleNamespace(name="crm", register_journeys=hookimpl(_returning([]))), "crm"),
        (types.SimpleNamespace(register_journeys=hookimpl(_returning([]))), "SimpleNamespace"),
    ],
)
def test_names(made: object, name: str) -> None:
    """A plugin is called after its module, its `name`, or its class."""
    assert names(load(made)) == [name]


def test_any_object_is_a_plugin(event: Event) -> None:
    """An object that has no hash is a plugin like others."""

    @attrs.define
    class Mine:
        name: str

        @hookimpl
        def detect_pain_points(self) -> list[PainPoint]:
            return [PainPoint("own")]

    plugins = load(Mine("a"), Mine("b"))
    assert [name for name, _ in plugins.detect_pain_points(event, CUSTOMER)] == ["a", "b"]


def test_an_unknown_hook_is_refused() -> None:
    """A hook that does not exist, a typing mistake perhaps, is refused with those that do."""
    with pytest.raises(PluginError, match=r"no such hook; it has .*detect_pain_points") as caught:
        load(plugin("typo", detect_pain_point=lambda: None))
    assert (caught.value.plugin, caught.value.hook) == ("typo", "detect_pain_point")


def test_an_optional_hook_may_be_unknown() -> None:
    """A hook marked optional may belong to another version."""
    module = types.ModuleType("newer")
    module.from_the_future = hookimpl(optionalhook=True)(lambda: None)  # type: ignore[attr-defined]
    assert names(load(module)) == ["newer"]


def test_an_unknown_argument_is_refused() -> None:
    """A hook that asks for an argument that does not exist is refused by name."""
    with pytest.raises(PluginError, match="evnet") as caught:
        load(plugin("typo", detect_pain_points=lambda evnet: []))
    assert caught.value.plugin == "typo"


@pytest.mark.parametrize("option", ["wrapper", "hookwrapper"])
def test_wrappers_are_refused(option: str) -> None:
    """A wrapper, which could keep other plugins from being asked, is refused."""
    module = types.ModuleType("around")

    def around() -> Any:
        return (yield)

    module.detect_pain_points = hookimpl(**{option: True})(around)  # type: ignore[attr-defined]
    with pytest.raises(PluginError, match="wrappers are not allowed") as caught:
        load(module)
    assert caught.value.plugin == "around"


def test_names_are_unique(installed: Distributions) -> None:
    """Two plugins of one name are refused, wherever they come from."""
    with pytest.raises(PluginError, match="another plugin has this name"):
        load(plugin("one"), plugin("one"))
    installed.add("journeykit-one", one=HEALTHY)
    with pytest.raises(PluginError, match="another plugin has this name"):
        Plugins([plugin("one")])


def test_the_same_plugin_twice_is_refused() -> None:
    """A plugin that is listed twice is refused."""
    one = plugin("one")
    with pytest.raises(PluginError, match="another plugin has this name"):
        load(one, one)


def test_disabled_plugins_are_left_out(
    installed: Distributions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin can be disabled by argument or variable; a broken one is then not even imported."""
    installed.add("journeykit-broken", broken="raise RuntimeError", fine=HEALTHY)
    assert names(Plugins([plugin("own")], disabled=["broken", "own"])) == ["fine"]
    others = os.environ[DISABLED_VARIABLE]
    monkeypatch.setenv(DISABLED_VARIABLE, f"broken, fine,{others}")
    assert names(Plugins([plugin("own")])) == ["own"]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import no_such_module", "no_such_module"),
        ("def broken(", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_broken_installed_plugin_is_named(
    installed: Distributions, source: str, problem: str
) -> None:
    """An installed plugin that cannot be imported stops the start: name, reason, way out."""
    installed.add("journeykit-broken", broken=source)
    with pytest.raises(PluginError, match=problem) as caught:
        Plugins()
    assert caught.value.plugin == "broken"
    assert f"leave it out with {DISABLED_VARIABLE}=broken" in str(caught.value)


def test_a_file_is_a_plugin(tmp_path: Path, event: Event) -> None:
    """A Python file is a plugin named after the file."""
    (tmp_path / "mine.py").write_text(HEALTHY, encoding="utf-8")
    plugins = load(load_file(tmp_path / "mine.py"))
    assert plugins.detect_pain_points(event, CUSTOMER) == [("mine", PainPoint("mine"))]


@pytest.mark.parametrize(
    ("name", "source", "problem"),
    [
        ("mine.py", "raise KeyError('x')", "KeyError"),
        ("mine.py", "raise SystemExit", "SystemExit"),
        ("mine.txt", "", "must end in .py"),
        ("mine.py", None, "FileNotFoundError"),
    ],
)
def test_a_broken_file_is_named(
    tmp_path: Path, name: str, source: str | None, problem: str
) -> None:
    """A file that is missing or cannot be run stops the start with its name."""
    if source is not None:
        (tmp_path / name).write_text(source, encoding="utf-8")
    with pytest.raises(PluginError, match=problem) as caught:
        load_file(tmp_path / name)
    assert caught.value.plugin == "mine"


def test_plugins_know_what_they_implement() -> None:
    """A plugin's hooks are listed, and a hook that nobody implements is known to be idle."""
    plugins = load(plugin("a", enrich_event=lambda: None, accept_event=lambda: True))
    assert plugins.named("a").hooks == ("accept_event", "enrich_event")  # type: ignore[union-attr]
    assert plugins.named("b") is None
    assert plugins.implements("accept_event")
    assert not plugins.implements("detect_stage")


# Hooks at start: a failure stops it.


def build(*_: object) -> None:
    """Stand for a plugin's builder."""


SINK = SinkType("crm", Settings, build)
SOURCE = SourceType("feed", Settings, build)
ENDPOINT = Endpoint("hook", ["POST"], build)


def ask_at_start(plugins: Plugins, hook: str) -> Any:
    """Ask *hook* as the kit does at start."""
    method = getattr(plugins, hook)
    return method(object()) if hook == "register_endpoints" else method()


def test_hook_register_sinks() -> None:
    """Kinds of sinks are collected by name; a name that is taken names both plugins."""
    other = SinkType("file", Settings, build)
    plugins = load(plugin("a", register_sinks=[SINK]), plugin("b", register_sinks=[other]))
    assert plugins.register_sinks() == {"crm": SINK, "file": other}
    twice = load(plugin("a", register_sinks=[SINK]), plugin("b", register_sinks=[SINK]))
    with pytest.raises(PluginError, match="'crm' is registered by 'a' already") as caught:
        twice.register_sinks()
    assert caught.value.plugin == "b"


def test_hook_register_sources() -> None:
    """Kinds of sources are collected by name; a name that is taken names both plugins."""
    assert load(plugin("a", register_sources=[SOURCE])).register_sources() == {"feed": SOURCE}
    twice = load(plugin("a", register_sources=[SOURCE]), plugin("b", register_sources=[SOURCE]))
    with pytest.raises(PluginError, match="'feed' is registered by 'a' already"):
        twice.register_sources()


def test_hook_register_journeys() -> None:
    """Journeys of plugins are collected in the plugins' order."""
    other = attrs.evolve(SHOP, key="other")
    plugins = load(plugin("a", register_journeys=[SHOP]), plugin("b", register_journeys=[other]))
    assert plugins.register_journeys() == [SHOP, other]


def test_hook_register_rules() -> None:
    """Rules are collected once; a second of one code, or one that cannot run, stops the start."""
    asked = []
    plugins = load(plugin("a", register_rules=lambda: asked.append(1) or [Refused()]))
    assert [rule.code for _, rule in plugins.register_rules()] == ["coupon.refused"]
    assert plugins.register_rules() is plugins.register_rules()
    assert asked == [1]

    twice = load(plugin("a", register_rules=[Refused()]), plugin("b", register_rules=[Refused()]))
    with pytest.raises(PluginError, match="registered by 'a' already") as caught:
        twice.register_rules()
    assert (caught.value.plugin, caught.value.hook) == ("b", "register_rules")


class Refused(PainPointRule):
    """Finds nothing."""

    code, on = "coupon.refused", ("Coupon Denied",)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("code", "Coupon", "lower case"),
        ("on", (), "reads no event"),
        ("on", "Coupon Denied", "expected a tuple"),
        ("also", (7,), "expected a tuple"),
        ("ends", ("Order Completed",), "also does not name"),
        ("severity", "awful", "expected one of low"),
        ("lasts", 3, "longer than zero"),
    ],
)
def test_a_rule_that_cannot_run_stops_the_start(field: str, value: object, problem: str) -> None:
    """What is wrong with a rule is named, with its plugin and its class."""
    rule = Refused()
    setattr(rule, field, value)
    with pytest.raises(PluginError, match=problem) as caught:
        load(plugin("a", register_rules=[rule])).register_rules()
    assert caught.value.plugin == "a"
    assert "Refused" in str(caught.value)


def test_hook_register_endpoints() -> None:
    """Endpoints are collected, and their plugins are handed the settings and the kit."""
    seen = []
    plugins = load(
        plugin("a", register_endpoints=lambda settings: seen.append(settings) or [ENDPOINT]),
        plugin("b", register_endpoints=lambda kit: seen.append(kit) or []),
    )
    assert plugins.register_endpoints("the settings", "the kit") == [ENDPOINT]
    assert seen == ["the settings", "the kit"]


def test_hook_register_commands() -> None:
    """A plugin that cannot add its commands is told in a line; the others' commands stay."""
    commands: list[str] = []
    plugins = load(
        plugin("a", register_commands=raising(ValueError("no"))),
        plugin("b", register_commands=raising(SystemExit(2))),
        plugin("c", register_commands=lambda cli: cli.append("mine")),
    )
    problems = plugins.register_commands(commands)
    assert commands == ["mine"]
    assert [problem.split("'")[1] for problem in problems] == ["a", "b"]
    assert "ValueError: no" in problems[0]


COLLECTED = [
    "register_sinks",
    "register_sources",
    "register_journeys",
    "register_rules",
    "register_endpoints",
]


@pytest.mark.parametrize("hook", COLLECTED)
@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), RecursionError()])
def test_a_start_hook_that_raises_stops_the_start(hook: str, error: BaseException) -> None:
    """A plugin that raises at start is named, with its hook and its error, strict or not."""
    healthy = plugin("healthy", **{hook: []})
    for strict in (False, True):
        plugins = load(healthy, plugin("bad", **{hook: raising(error)}), strict=strict)
        with pytest.raises(PluginError, match=type(error).__name__) as caught:
            ask_at_start(plugins, hook)
        assert (caught.value.plugin, caught.value.hook) == ("bad", hook)
        assert caught.value.__cause__ is error


@pytest.mark.parametrize("hook", COLLECTED)
def test_a_start_hook_that_raises_midway_stops_the_start(hook: str) -> None:
    """A generator that raises after its first item stops the start as well."""
    items = {
        "register_sinks": SINK,
        "register_sources": SOURCE,
        "register_journeys": SHOP,
        "register_rules": Refused(),
        "register_endpoints": ENDPOINT,
    }

    def half() -> Iterator[Any]:
        yield items[hook]
        raise ValueError("midway")

    with pytest.raises(PluginError, match="midway"):
        ask_at_start(load(plugin("bad", **{hook: half})), hook)


@pytest.mark.parametrize("hook", COLLECTED)
@pytest.mark.parametrize("rubbish", [7, "text", [7], [None], object(), {"a": 1}])
def test_a_start_hook_that_returns_rubbish_stops_the_start(hook: str, rubbish: Any) -> None:
    """What is not of the right kind stops the start and names the plugin."""
    with pytest.raises(PluginError) as caught:
        ask_at_start(load(plugin("bad", **{hook: rubbish})), hook)
    assert (caught.value.plugin, caught.value.hook) == ("bad", hook)


@pytest.mark.parametrize("hook", COLLECTED)
def test_a_start_hook_may_return_nothing(hook: str) -> None:
    """None is as good as an empty list."""
    assert not ask_at_start(load(plugin("idle", **{hook: lambda: None})), hook)


# Hooks at run time: a failure stays with its plugin.


def test_hook_enrich_event(event: Event) -> None:
    """Added properties are merged: the app's own stay, and the first plugin to name one wins."""
    plugins = load(
        plugin("a", enrich_event={"shelf": 1, "code": "other"}),
        plugin("b", enrich_event=lambda event: {"shelf": 2, "name": event.name}),
        plugin("c", enrich_event=lambda: None),
    )
    assert plugins.enrich_event(event) == {"shelf": 1, "name": "Coupon Denied"}


def test_hook_accept_event(event: Event) -> None:
    """The first plugin that says False withholds the event; True and None are no objection."""
    plugins = load(plugin("a", accept_event=lambda: True), plugin("b", accept_event=lambda: None))
    assert plugins.accept_event(event) is None
    plugins = load(
        plugin("a", accept_event=lambda: None),
        plugin("b", accept_event=lambda: False),
        plugin("c", accept_event=raising(ValueError())),
    )
    assert plugins.accept_event(event) == "b"


@pytest.mark.parametrize("answer", [0, "no", [], object()])
def test_an_unclear_verdict_is_a_failure(event: Event, answer: Any) -> None:
    """A verdict that is none of True, False and None lets nobody know, and names its plugin."""
    with pytest.raises(PluginFailure, match="expected True, False or None") as caught:
        load(plugin("a", accept_event=lambda: answer)).accept_event(event)
    assert caught.value.plugin == "a"


def test_a_verdict_that_raises_is_a_failure(event: Event) -> None:
    """A plugin that raises, or was tripped, cannot accept: the caller is told whose event it is."""
    plugins = load(plugin("a", accept_event=raising(KeyError("x"))))
    with pytest.raises(PluginFailure, match="KeyError") as caught:
        plugins.accept_event(event)
    assert caught.value.plugin == "a"
    plugins.named("a").tripped = "accept_event"  # type: ignore[union-attr]
    with pytest.raises(PluginFailure, match="tripped in accept_event"):
        plugins.accept_event(event)
    assert plugins.named("a").calls == 1  # type: ignore[union-attr]


def test_hook_detect_stage(event: Event) -> None:
    """The first opinion wins; whoever raises or names no stage of the journey is passed over."""
    plugins = load(
        plugin("a", detect_stage=raising(ValueError())),
        plugin("b", detect_stage=lambda: "no-such-stage"),
        plugin("c", detect_stage=lambda: ["cart"]),
        plugin("d", detect_stage=lambda: None),
        plugin("e", detect_stage=lambda journey, instance, event: journey.stages[1].key),
        plugin("f", detect_stage=lambda: "cart"),
    )
    assert plugins.detect_stage(event, SHOP, INSTANCE) == "payment"
    assert [loaded.errors for loaded in plugins] == [1, 1, 1, 0, 0, 0]
    assert plugins.named("f").calls == 0  # type: ignore[union-attr]


def test_hook_detect_pain_points(event: Event) -> None:
    """Findings may be returned, yielded or a single one; each comes with its plugin's name."""

    def yielding(event: Event, customer: Customer) -> Iterator[PainPoint]:
        yield PainPoint("b.one", properties={"who": customer.user_id})
        yield PainPoint("b.two", evidence=(event.id,))

    plugins = load(
        plugin("a", detect_pain_points=lambda: PainPoint("a")),
        plugin("b", detect_pain_points=yielding),
        plugin("c", detect_pain_points=lambda: None),
        plugin("d", detect_pain_points=lambda: (PainPoint("d"),)),
    )
    assert plugins.detect_pain_points(event, CUSTOMER) == [
        ("a", PainPoint("a")),
        ("b", PainPoint("b.one", properties={"who": "u1"})),
        ("b", PainPoint("b.two", evidence=(event.id,))),
        ("d", PainPoint("d")),
    ]


def test_hook_event_parked(event: Event) -> None:
    """Everybody hears of a parked event, also behind somebody who raises."""
    heard: list[Any] = []
    plugins = load(
        plugin("a", event_parked=raising(OSError("disk"))),
        plugin("b", event_parked=lambda event, sink, reason: heard.append((event, sink, reason))),
    )
    plugins.event_parked(event, "crm", "410 Gone")
    assert heard == [(event, "crm", "410 Gone")]


def test_hook_select_prompt() -> None:
    """The first plugin with an opinion wins; one that raises, or names none of them, has none."""
    prompts = [Prompt(key=key, kind="text", text="?", when=When(page="/*")) for key in "ab"]
    found = tuple(
        Candidate(key=prompt.key, prompt=prompt, armed_at=datetime(2026, 3, 2, tzinfo=UTC))
        for prompt in prompts
    )
    plugins = load(
        plugin("broken", select_prompt=raising(OSError("disk"))),
        plugin("wrong", select_prompt=lambda: "c"),
        plugin("silent", select_prompt=lambda customer: None),
        plugin("sure", select_prompt=lambda candidates, page: candidates[1]),
        plugin("late", select_prompt=lambda: "a"),
    )
    assert plugins.select_prompt(found, CUSTOMER, Page()) == "b"
    assert (
        load(plugin("sure", select_prompt=lambda: None)).select_prompt(found, CUSTOMER, Page())
        is None
    )


def test_hook_read_answer() -> None:
    """What plugins read is put together, the first to name a key wins; rubbish counts for nothing."""
    answer = Answer(
        prompt="q",
        kind="nps",
        customer=CUSTOMER,
        at=datetime(2026, 3, 2, tzinfo=UTC),
        answers={"more": "late and cold"},
    )
    plugins = load(
        plugin("broken", read_answer=raising(OSError("disk"))),
        plugin("unknown", read_answer={"sentiment": "sad", "mood": "blue"}),
        plugin("letters", read_answer={"themes": "late"}),
        plugin("wrong", read_answer={"sentiment": answer}),
        plugin("list", read_answer=["sad"]),
        plugin("causes", read_answer={"root_cause": ["carrier"]}),
        plugin("silent", read_answer=None),
        plugin("first", read_answer=lambda answer: {"themes": answer.answers["more"].split()}),
        plugin("second", read_answer={"themes": ["x"], "sentiment": -0.5, "root_cause": "carrier"}),
    )
    assert plugins.read_answer(answer) == {
        "themes": ["late", "and", "cold"],
        "sentiment": -0.5,
        "root_cause": "carrier",
    }
    failed = [loaded.name for loaded in plugins if loaded.errors]
    assert failed == ["broken", "unknown", "letters", "wrong", "list", "causes"]


def test_hook_route_case() -> None:
    """The first plugin with an opinion wins; one that raises or names nobody has none."""
    case = Case(
        id="c", rule="r", title="R", customer=CUSTOMER, opened_at=datetime(2026, 3, 2, tzinfo=UTC)
    )
    plugins = load(
        plugin("broken", route_case=raising(OSError("disk"))),
        plugin("wrong", route_case=lambda: 7),
        plugin("empty", route_case=lambda: ""),
        plugin("long", route_case=lambda: "x" * 201),
        plugin("silent", route_case=lambda case: None),
        plugin("sure", route_case=lambda case: f"{case.rule}-desk"),
        plugin("late", route_case=lambda: "other"),
    )
    assert plugins.route_case(case) == "r-desk"
    assert load(plugin("silent", route_case=lambda: None)).route_case(case) is None


# Isolation.


class Hostile(Mapping[str, Any]):
    """A mapping that breaks when its values are looked at."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("no value")

    def __iter__(self) -> Iterator[str]:
        yield "key"

    def __len__(self) -> int:
        return 1


def midway() -> Iterator[PainPoint]:
    """Find one thing, and then fail."""
    yield PainPoint("lost")
    raise RuntimeError("midway")


def exits() -> Iterator[PainPoint]:
    """Find one thing, and then try to end the process."""
    yield PainPoint("lost")
    raise SystemExit(1)


class Truthless:
    """An object that cannot even be asked whether it is true."""

    def __bool__(self) -> bool:
        raise RuntimeError("neither")


def truthless() -> object:
    """Return what breaks when it is looked at."""
    return Truthless()


BAD = {
    "raises": raising(ValueError("no")),
    "raises without text": raising(KeyError()),
    "midway": midway,
    "exits": raising(SystemExit(1)),
    "exits midway": exits,
    "cancelled": raising(asyncio.CancelledError()),
    "recursion": raising(RecursionError()),
    "number": lambda: 7,
    "text": lambda: "coupon.denied",
    "texts": lambda: ["coupon.denied"],
    "none inside": lambda: [PainPoint("lost"), None],
    "mapping": lambda: {"code": "coupon.denied"},
    "truthless": truthless,
    "bad code": lambda: [PainPoint("Not A Code")],
}


@given(mix=st.lists(st.sampled_from(["healthy", *BAD]), max_size=7))
def test_healthy_findings_survive(event: Event, mix: list[str]) -> None:
    """Among any bad plugins, exactly the healthy ones' findings survive, in their fixed order."""
    made = [
        plugin(
            f"p{index}",
            detect_pain_points=(lambda index=index: [PainPoint(f"found.{index}")])
            if kind == "healthy"
            else BAD[kind],
        )
        for index, kind in enumerate(mix)
    ]
    plugins = load(*made)
    healthy = [index for index, kind in enumerate(mix) if kind == "healthy"]
    assert plugins.detect_pain_points(event, CUSTOMER) == [
        (f"p{index}", PainPoint(f"found.{index}")) for index in healthy
    ]
    assert [loaded.errors for loaded in plugins] == [int(kind != "healthy") for kind in mix]
    assert all(loaded.calls == 1 for loaded in plugins)


RUBBISH: dict[str, list[Any]] = {
    "enrich_event": [7, "text", [1], {1: 2}, object(), Hostile()],
    "detect_stage": [7, "no-such-stage", ["cart"], {}, True, object()],
    "detect_pain_points": [7, "text", [1], {"a": 1}, object(), PainPoint],
}


def ask(plugins: Plugins, hook: str, event: Event) -> Any:
    """Ask a run-time hook as the stages do."""
    return {
        "enrich_event": lambda: plugins.enrich_event(event),
        "accept_event": lambda: plugins.accept_event(event),
        "detect_stage": lambda: plugins.detect_stage(event, SHOP, INSTANCE),
        "detect_pain_points": lambda: plugins.detect_pain_points(event, CUSTOMER),
        "event_parked": lambda: plugins.event_parked(event, "crm", "gone"),
    }[hook]()


@pytest.mark.parametrize(
    ("hook", "rubbish"), [(hook, item) for hook, items in RUBBISH.items() for item in items]
)
def test_rubbish_is_counted_and_dropped(event: Event, hook: str, rubbish: Any) -> None:
    """What is not of the right kind counts as a failure of its plugin, and nothing comes of it."""
    plugins = load(plugin("bad", **{hook: lambda: rubbish}))
    assert not ask(plugins, hook, event)
    assert plugins.named("bad").errors == 1  # type: ignore[union-attr]


@pytest.mark.parametrize("hook", [*RUBBISH, "event_parked", "accept_event"])
@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), asyncio.CancelledError()])
def test_strict_raises_what_the_plugin_raised(
    event: Event, hook: str, error: BaseException
) -> None:
    """In strict mode the plugin's own error comes out, for its author's tests."""
    plugins = load(plugin("bad", **{hook: raising(error)}), strict=True)
    with pytest.raises(type(error)) as caught:
        ask(plugins, hook, event)
    assert caught.value is error


def test_an_interrupt_is_not_a_plugins(event: Event) -> None:
    """A Ctrl-C that arrives while a plugin runs is the person's, and goes on its way."""
    plugins = load(plugin("a", detect_pain_points=raising(KeyboardInterrupt())))
    with pytest.raises(KeyboardInterrupt):
        plugins.detect_pain_points(event, CUSTOMER)


def test_failures_are_logged_ever_less(event: Event, caplog: pytest.LogCaptureFixture) -> None:
    """The 1st, 2nd, 4th, 8th … failure is logged, by name and kind, without any of the event."""
    caplog.set_level(logging.WARNING, "journeykit")
    plugins = load(plugin("bad", detect_pain_points=raising(ValueError("u1 bought X"))))
    for _ in range(10):
        plugins.detect_pain_points(event, CUSTOMER)
    assert [record.errors for record in caplog.records] == [1, 2, 4, 8]
    assert {record.message for record in caplog.records} == {"journeykit.plugin_failed"}
    record = caplog.records[0]
    assert (record.plugin, record.hook, record.error) == ("bad", "detect_pain_points", "ValueError")
    assert "bought" not in str([vars(record) for record in caplog.records])


def test_a_tripped_plugin_is_not_asked(event: Event) -> None:
    """A plugin that hung once is left out, and the others go on."""
    plugins = load(
        plugin("hung", detect_pain_points=lambda: PainPoint("a")),
        plugin("fine", detect_pain_points=lambda: PainPoint("b")),
    )
    plugins.named("hung").tripped = "detect_pain_points"  # type: ignore[union-attr]
    assert plugins.detect_pain_points(event, CUSTOMER) == [("fine", PainPoint("b"))]
    assert plugins.named("hung").calls == 0  # type: ignore[union-attr]


@pytest.mark.parametrize("fails", [False, True])
def test_a_call_can_be_watched(event: Event, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    """While a plugin runs in a worker's thread, the ticker sees whose call it is; not after."""
    watch = runtime.Watched()
    monkeypatch.setattr(runtime._thread, "watched", watch, raising=False)
    seen: list[Any] = []

    def look() -> None:
        seen.append(watch.call)
        if fails:
            raise ValueError

    load(plugin("slow", detect_pain_points=look)).detect_pain_points(event, CUSTOMER)
    (call,) = seen
    assert (call.plugin, call.hook) == ("slow", "detect_pain_points")
    assert 0 <= time.monotonic() - call.since < 60
    assert watch.call is None


def test_costs_are_counted(event: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls and the seconds that they took are counted for each plugin."""
    ticks = iter([10.0, 10.25, 20.0, 20.5])
    monkeypatch.setattr("journeykit.plugins.time.monotonic", lambda: next(ticks))
    plugins = load(plugin("a", detect_pain_points=lambda: None))
    plugins.detect_pain_points(event, CUSTOMER)
    plugins.detect_pain_points(event, CUSTOMER)
    loaded = plugins.named("a")
    assert loaded is not None
    assert (loaded.calls, loaded.errors, loaded.seconds) == (2, 0, 0.75)


def test_a_plugin_that_never_ends_is_an_error(event: Event) -> None:
    """A plugin that finds more in one event than there can be is left out, and ends."""

    def detect_pain_points(event: Event) -> Iterator[PainPoint]:
        while True:
            yield PainPoint("again")

    plugins = load(plugin("endless", detect_pain_points=detect_pain_points))
    assert plugins.detect_pain_points(event, event.customer) == []
    assert [loaded.errors for loaded in plugins] == [1]
