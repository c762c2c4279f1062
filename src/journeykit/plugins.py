"""
Finds plugins, puts them in order, and keeps each from harming the others.

Every hook is one typed method of `Plugins`; the rest of journeykit never touches pluggy.
Order: the app's plugins as listed, then installed ones by name, then the built-in ones;
`tryfirst` and `trylast` are honoured.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import pluggy

from journeykit import hookspecs
from journeykit.costs import Costs
from journeykit.exceptions import PluginError
from journeykit.model.extension import Endpoint, SinkType, SourceType
from journeykit.model.impression import Candidate
from journeykit.model.journey import Journey
from journeykit.model.pain_point import PainPoint
from journeykit.model.rule import PainPointRule, rule_problem
from journeykit.runtime import Call, watched

if TYPE_CHECKING:
    from pathlib import Path

    from journeykit.model.casework import Answer, Case
    from journeykit.model.customer import Customer
    from journeykit.model.event import Event
    from journeykit.model.impression import Page
    from journeykit.model.journey import Instance

_log = logging.getLogger("journeykit")

#: A plugin that finds more in one event never ends, or would fill the Log.
_MOST_FINDINGS = 100

#: The longest name of an owner.
_OWNER_LENGTH = 200

#: Names of plugins to leave out, separated by commas.
DISABLED_VARIABLE = "JOURNEYKIT_DISABLED_PLUGINS"


@attrs.define
class Plugin:
    """
    One loaded plugin, and what it has cost.

    Args:
        name: Its entry point's name, its module's, or its `name` attribute.

        origin: `"app"`, `"built-in"`, or the distribution and version that it came from.

        hooks: The hooks that it implements.

        calls, errors, seconds: How often it was asked, failed, and for how long it ran.

        tripped: The hook in which it hung; it is not asked again until the process restarts.
    """

    name: str
    origin: str
    hooks: tuple[str, ...] = ()
    calls: int = 0
    errors: int = 0
    seconds: float = 0.0
    tripped: str | None = None


@attrs.frozen
class _Implementation:
    plugin: Plugin
    function: Callable[..., Any]
    arguments: tuple[str, ...]


class PluginFailure(Exception):
    """A plugin failed inside a run-time hook; `plugin` is its name."""

    def __init__(self, plugin: str, reason: str) -> None:
        self.plugin = plugin
        super().__init__(reason)


class Plugins:
    """
    The plugins of one kit.

    Args:
        app: The app's own plugins: modules or objects.

        builtin: Plugins of journeykit itself, asked last.

        installed: Whether to look for installed plugins.

        strict: Whether run-time errors of plugins are raised instead of counted, for tests.

        disabled: Names of plugins to leave out, besides those in `JOURNEYKIT_DISABLED_PLUGINS`.

    Raises:
        PluginError: A plugin cannot be loaded, or implements no such hook.
    """

    def __init__(
        self,
        app: Iterable[object] = (),
        *,
        builtin: Iterable[object] = (),
        installed: bool = True,
        strict: bool = False,
        disabled: Iterable[str] = (),
    ) -> None:
        self.strict = strict
        #: What hooks that are asked at run time have cost in this process.
        self.costs = Costs()
        self._disabled = {*disabled, *_disabled_by_variable()}
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        # By identity: a plugin may be an object that has no hash.
        self._plugins: dict[int, Plugin] = {}
        self._rules: list[tuple[Plugin, PainPointRule]] | None = None
        found = [(_name_of(plugin), "app", plugin) for plugin in app]
        found += _installed(self._disabled) if installed else []
        found += [(_name_of(plugin), "built-in", plugin) for plugin in builtin]
        # pluggy asks the last registered first.
        for name, origin, plugin in reversed(found):
            self._register(name, origin, plugin)
        self._refuse_unknown_hooks()
        self._hooks = {name: self._implementations(name) for name in _hook_names()}

    def __iter__(self) -> Iterator[Plugin]:
        return iter(reversed(self._plugins.values()))

    def named(self, name: str) -> Plugin | None:
        """Return the plugin of this name."""
        return next((plugin for plugin in self._plugins.values() if plugin.name == name), None)

    def implements(self, hook: str) -> bool:
        """Return whether any plugin implements *hook*."""
        return bool(self._hooks[hook])

    # At start: a failure stops it.

    def register_sinks(self) -> dict[str, SinkType]:
        """Return the kinds of sinks by name."""
        return self._collect_by_name("register_sinks", SinkType)

    def register_sources(self) -> dict[str, SourceType]:
        """Return the kinds of sources by name."""
        return self._collect_by_name("register_sources", SourceType)

    def register_journeys(self) -> list[Journey]:
        """Return the journeys that plugins declare."""
        return [journey for _, journey in self._collect("register_journeys", Journey)]

    def register_endpoints(self, settings: object, kit: object = None) -> list[Endpoint]:
        """Return the endpoints that plugins add."""
        found = self._collect("register_endpoints", Endpoint, settings=settings, kit=kit)
        return [point for _, point in found]

    def register_rules(self) -> list[tuple[Plugin, PainPointRule]]:
        """Return the pain-point rules that plugins add, each with its plugin; asked once."""
        if self._rules is None:
            found = self._collect("register_rules", PainPointRule)
            owners: dict[str, str] = {}
            for plugin, rule in found:
                problem = rule_problem(rule)
                if problem is None and rule.code in owners:
                    problem = f"{rule.code!r} is registered by {owners[rule.code]!r} already"
                if problem is not None:
                    raise PluginError(plugin.name, "register_rules", problem)
                owners[rule.code] = plugin.name
            self._rules = found
        return self._rules

    def register_commands(self, cli: object) -> list[str]:
        """Let plugins add commands; returns one line for each plugin that could not."""
        problems = []
        for implementation in self._hooks["register_commands"]:
            try:
                implementation.function(*_pick(implementation, {"cli": cli}))
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the other commands stay
                problems.append(
                    f"plugin {implementation.plugin.name!r} failed in register_commands, so its "
                    f"commands are missing: {_describe(error)}"
                )
        return problems

    # At run time: a failure stays with its plugin.

    def enrich_event(self, event: Event) -> dict[str, Any]:
        """Return the properties that plugins add; the first to name one wins."""
        added: dict[str, Any] = {}
        for _, answer in self._ask("enrich_event", _mapping, event=event):
            for key, value in (answer or {}).items():
                added.setdefault(key, value)
        return {key: value for key, value in added.items() if key not in event.properties}

    def accept_event(self, event: Event) -> str | None:
        """
        Return the name of the plugin that withholds *event*, or None.

        Raises:
            PluginFailure: A plugin could not tell; nobody knows whether the event may be kept.
        """
        for implementation in self._hooks["accept_event"]:
            plugin = implementation.plugin
            if plugin.tripped is not None:
                raise PluginFailure(plugin.name, f"tripped in {plugin.tripped}")
            try:
                answer = self._call(implementation, "accept_event", _verdict, {"event": event})
            except _Failed as failed:
                raise PluginFailure(plugin.name, failed.reason) from None
            if answer is False:
                return plugin.name
        return None

    def detect_stage(self, event: Event, journey: Journey, instance: Instance) -> str | None:
        """Return the first stage that a plugin names."""
        keys = {stage.key for stage in journey.stages}

        def check(answer: str | None) -> str | None:
            if answer is None or answer in keys:
                return answer
            msg = f"{answer!r} is no stage of {journey.label}"
            raise ValueError(msg)

        answers = self._ask("detect_stage", check, event=event, journey=journey, instance=instance)
        return next((stage for _, stage in answers if stage is not None), None)

    def detect_pain_points(self, event: Event, customer: Customer) -> list[tuple[str, PainPoint]]:
        """Return what plugins find, each with the plugin's name."""
        return [
            (plugin.name, point)
            for plugin, points in self._ask(
                "detect_pain_points", _pain_points, event=event, customer=customer
            )
            for point in points
        ]

    def select_prompt(
        self, candidates: tuple[Candidate, ...], customer: Customer, page: Page
    ) -> str | None:
        """Return the key of the candidate that the first plugin with an opinion has chosen."""
        keys = {candidate.key for candidate in candidates}

        def check(answer: Any) -> str | None:
            key = answer.key if isinstance(answer, Candidate) else answer
            if key is None or key in keys:
                return key
            msg = f"{key!r} is none of the candidates"
            raise ValueError(msg)

        answers = self._ask(
            "select_prompt", check, candidates=candidates, customer=customer, page=page
        )
        return next((key for _, key in answers if key is not None), None)

    def read_answer(self, answer: Answer) -> dict[str, Any]:
        """Return what plugins read out of an answer; the first to name a key wins."""
        found: dict[str, Any] = {}
        for _, read in self._ask("read_answer", _reading, answer=answer):
            for key, value in read.items():
                found.setdefault(key, value)
        return found

    def route_case(self, case: Case) -> str | None:
        """Return the owner that the first plugin with an opinion names."""
        answers = self._ask("route_case", _owner, case=case)
        return next((owner for _, owner in answers if owner is not None), None)

    def event_parked(self, event: Event, sink: str, reason: str) -> None:
        """Tell plugins that *event* was set aside."""
        for _ in self._ask("event_parked", _anything, event=event, sink=sink, reason=reason):
            pass

    def ask_rule(
        self,
        plugin: Plugin,
        code: str,
        check: Callable[[Any], Any],
        function: Callable[..., Any],
        *given: Any,
    ) -> Any:
        """Return what a plugin's rule answers; None where it fails, or the plugin has hung."""
        if plugin.tripped is not None:
            return None
        asked = _Implementation(plugin, lambda: function(*given), ())
        try:
            return self._call(asked, f"rule {code}", check, {})
        except _Failed:
            return None

    # How a hook is asked.

    def _ask(
        self, hook: str, check: Callable[[Any], Any], **arguments: Any
    ) -> Iterable[tuple[Plugin, Any]]:
        for implementation in self._hooks[hook]:
            if implementation.plugin.tripped is None:
                try:
                    yield implementation.plugin, self._call(implementation, hook, check, arguments)
                except _Failed:
                    continue

    def _call(
        self,
        implementation: _Implementation,
        hook: str,
        check: Callable[[Any], Any],
        arguments: Mapping[str, Any],
    ) -> Any:
        plugin, watch, failed = implementation.plugin, watched(), False
        started = time.monotonic()
        if watch is not None:
            watch.call = Call(plugin.name, hook, started)
        try:
            return check(implementation.function(*_pick(implementation, arguments)))
        except BaseException as error:
            # Also what is no `Exception`: an exit, or a cancelled task of an event loop of its own.
            if self.strict or isinstance(error, KeyboardInterrupt):
                raise
            failed = True
            plugin.errors += 1
            if plugin.errors & (plugin.errors - 1) == 0:
                _log.warning(
                    "journeykit.plugin_failed",
                    extra={
                        "plugin": plugin.name,
                        "hook": hook,
                        "error": type(error).__name__,
                        "errors": plugin.errors,
                    },
                )
            raise _Failed(_describe(error)) from None
        finally:
            if watch is not None:
                watch.call = None
            seconds = time.monotonic() - started
            plugin.calls += 1
            plugin.seconds += seconds
            self.costs.note(plugin.name, hook, seconds, failed=failed)

    def _collect(self, hook: str, kind: type, **arguments: Any) -> list[tuple[Plugin, Any]]:
        collected = []
        for implementation in self._hooks[hook]:
            name = implementation.plugin.name
            try:
                answer = implementation.function(*_pick(implementation, arguments))
                items = list(answer if answer is not None else ())
            except (Exception, SystemExit) as error:
                raise PluginError(name, hook, _describe(error)) from error
            for item in items:
                if not isinstance(item, kind):
                    problem = f"it returned {item!r}, not a {kind.__name__}"
                    raise PluginError(name, hook, problem)
                collected.append((implementation.plugin, item))
        return collected

    def _collect_by_name(self, hook: str, kind: type) -> dict[str, Any]:
        types: dict[str, Any] = {}
        owners: dict[str, str] = {}
        for plugin, item in self._collect(hook, kind):
            if item.name in types:
                problem = f"{item.name!r} is registered by {owners[item.name]!r} already"
                raise PluginError(plugin.name, hook, problem)
            types[item.name], owners[item.name] = item, plugin.name
        return types

    # How plugins are found.

    def _register(self, name: str, origin: str, plugin: object) -> None:
        if name in self._disabled:
            return
        if inspect.isclass(plugin):
            problem = f"{name} is a class; pass an object of it, {name}()"
            raise PluginError(name, "loading", problem)
        if self.named(name) is not None:
            raise PluginError(name, "loading", "another plugin has this name already")
        try:
            self._manager.register(plugin, name)
        except (pluggy.PluginValidationError, ValueError) as error:
            raise PluginError(name, "loading", " ".join(str(error).split())) from None
        callers = self._manager.get_hookcallers(plugin) or []
        hooks = tuple(sorted(caller.name for caller in callers))
        if not hooks:
            problem = "it implements no hook; mark its functions with @hookimpl"
            raise PluginError(name, "loading", problem)
        self._plugins[id(plugin)] = Plugin(name, origin, hooks)

    def _refuse_unknown_hooks(self) -> None:
        known = set(_hook_names())
        for name, plugin in self._manager.list_name_plugin():
            for caller in self._manager.get_hookcallers(plugin) or []:
                if caller.name not in known and not _optional(caller, plugin):
                    problem = f"journeykit has no such hook; it has {', '.join(sorted(known))}"
                    raise PluginError(name, caller.name, problem)

    def _implementations(self, hook: str) -> tuple[_Implementation, ...]:
        caller = getattr(self._manager.hook, hook)
        implementations = []
        for implementation in reversed(caller.get_hookimpls()):
            plugin = self._plugins[id(implementation.plugin)]
            if implementation.hookwrapper or implementation.wrapper:
                problem = "wrappers are not allowed: one could keep the others from being asked"
                raise PluginError(plugin.name, hook, problem)
            implementations.append(
                _Implementation(plugin, implementation.function, tuple(implementation.argnames))
            )
        return tuple(implementations)


class _Failed(Exception):
    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def load_file(path: Path) -> object:
    """
    Return the Python file at *path* as a plugin, named after the file.

    Raises:
        PluginError: It is missing or cannot be run.
    """
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        problem = f"{path} is no Python file; its name must end in .py"
        raise PluginError(path.stem, "loading", problem)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise PluginError(path.stem, "loading", f"{path}: {_describe(error)}") from error
    return module


def _hook_names() -> list[str]:
    return [
        name
        for name, value in vars(hookspecs).items()
        if callable(value) and hasattr(value, f"{hookspecs.PROJECT}_spec")
    ]


def _optional(caller: pluggy.HookCaller, plugin: object) -> bool:
    return all(
        implementation.optionalhook
        for implementation in caller.get_hookimpls()
        if implementation.plugin is plugin
    )


def _name_of(plugin: object) -> str:
    if inspect.ismodule(plugin):
        return plugin.__name__
    if inspect.isclass(plugin):
        return plugin.__name__
    return str(getattr(plugin, "name", None) or type(plugin).__name__)


def _disabled_by_variable() -> set[str]:
    names = os.environ.get(DISABLED_VARIABLE, "").split(",")
    return {name.strip() for name in names} - {""}


def _installed(disabled: set[str]) -> list[tuple[str, str, object]]:
    found = []
    points = importlib.metadata.entry_points(group=hookspecs.PROJECT)
    for point in sorted(points, key=lambda point: point.name):
        if point.name in disabled:
            continue
        try:
            plugin = point.load()
        except (Exception, SystemExit) as error:
            hint = f"mend or uninstall it, or leave it out with {DISABLED_VARIABLE}={point.name}"
            problem = f"{_describe(error)}; {hint}"
            raise PluginError(point.name, "loading", problem) from error
        origin = f"{point.dist.name} {point.dist.version}" if point.dist else "entry point"
        found.append((point.name, origin, plugin))
    return found


def _pick(implementation: _Implementation, arguments: Mapping[str, Any]) -> list[Any]:
    return [arguments[name] for name in implementation.arguments]


def _describe(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _mapping(answer: Any) -> dict[str, Any] | None:
    if answer is None:
        return None
    if isinstance(answer, Mapping) and all(isinstance(key, str) for key in answer):
        return dict(answer)
    msg = f"expected a mapping of properties, got {type(answer).__name__}"
    raise TypeError(msg)


def _verdict(answer: object) -> bool | None:
    if answer is None or isinstance(answer, bool):
        return answer
    msg = f"expected True, False or None, got {type(answer).__name__}"
    raise TypeError(msg)


def _pain_points(answer: Any) -> list[PainPoint]:
    one = isinstance(answer, PainPoint)
    points = [answer] if one else list(itertools.islice(answer or (), _MOST_FINDINGS + 1))
    if len(points) > _MOST_FINDINGS:
        msg = f"more than {_MOST_FINDINGS} pain points in one event"
        raise ValueError(msg)
    for point in points:
        if not isinstance(point, PainPoint):
            msg = f"expected PainPoint, got {type(point).__name__}"
            raise TypeError(msg)
    return points


def _reading(answer: Any) -> dict[str, Any]:
    read = _mapping(answer) or {}
    unknown = sorted(read.keys() - {"sentiment", "themes", "root_cause"})
    if unknown:
        msg = f"expected sentiment, themes and root_cause, got {', '.join(unknown)}"
        raise ValueError(msg)
    sentiment, themes, cause = (read.get(key) for key in ("sentiment", "themes", "root_cause"))
    if not isinstance(sentiment, str | int | float | None) or isinstance(sentiment, bool):
        msg = f"expected a text or a number as sentiment, got {type(sentiment).__name__}"
        raise TypeError(msg)
    if isinstance(themes, str) or not all(isinstance(each, str) for each in themes or ()):
        msg = f"expected a list of texts as themes, got {themes!r}"
        raise TypeError(msg)
    if not isinstance(cause, str | None):
        msg = f"expected a text as root_cause, got {type(cause).__name__}"
        raise TypeError(msg)
    found = {"sentiment": sentiment, "themes": list(themes or ())[:20], "root_cause": cause}
    return {key: value for key, value in found.items() if read.get(key) is not None}


def _owner(answer: Any) -> str | None:
    if answer is None or (isinstance(answer, str) and 0 < len(answer) <= _OWNER_LENGTH):
        return answer
    msg = f"expected the name of an owner, 1 to {_OWNER_LENGTH} characters, or None; got {answer!r}"
    raise ValueError(msg)


def _anything(answer: object) -> object:
    return answer
