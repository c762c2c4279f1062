"""Builds the parts that a kit joins out of what is declared, or names every mistake."""

from __future__ import annotations

import hashlib
import socket
from collections import Counter
from typing import TYPE_CHECKING

import attrs

from journeykit.capture import MemoryTail, Spool, Tail, Tracker
from journeykit.capture.redaction import Redactor
from journeykit.config.settings import ConsentMode, Core, Settings, WhenFull
from journeykit.delivery import builtin
from journeykit.delivery.gate import Gate
from journeykit.exceptions import ConfigError
from journeykit.feedback import checks
from journeykit.feedback.prompts import PromptFold
from journeykit.feedback.routes import compile_routes
from journeykit.journeys import FOLD_VERSION, Declared, Plan, declare, folds, plans
from journeykit.model.extension import SinkOptions
from journeykit.pipeline import Parts
from journeykit.plugins import Plugins, load_file
from journeykit.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from journeykit.delivery.sink import Sink
    from journeykit.feedback.routes import Routes
    from journeykit.model.extension import Endpoint
    from journeykit.store.protocol import Store


@attrs.frozen
class Assembly:
    """What a kit is made of."""

    parts: Parts
    tracker: Tracker
    plans: tuple[Plan, ...]
    endpoints: list[Endpoint]
    routes: Routes | None


def assemble(
    settings: Settings,
    *,
    plugins: Plugins | Iterable[object],
    sinks: Iterable[Sink],
    store: Store | None,
    now: Callable[[], int],
    problems: Sequence[str],
) -> Assembly:
    """
    Return the parts of a kit; the arguments are those of `JourneyKit`.

    Raises:
        ConfigError: The declarations have mistakes; it names all of them.

        PluginError: A plugin failed while it was asked what it adds.
    """
    plugins = _plugins(settings, plugins)
    journeys = (*settings.journeys, *plugins.register_journeys())
    declared, mistakes = declare(journeys, settings.touchpoints, settings.names)
    built, unbuilt = _sinks(settings, sinks)
    store, unopened = _store(settings, store)
    compiled = plans(declared)
    unasked = checks.problems(settings, compiled, declared.vocabulary)
    found = [*problems, *mistakes, *unasked, *unbuilt, *unopened]
    if found or store is None:
        raise ConfigError(found, source=settings.origin)
    core, routes = settings.core, _routes(settings, compiled, declared)
    opt_in = settings.consent.mode is ConsentMode.OPT_IN
    options = {name: declared.options for name, declared in settings.sinks.items()}
    redactor = Redactor(settings.redaction)
    parts = Parts(
        store=store,
        tail=_tail(store, core),
        plugins=plugins,
        folds=folds(compiled, plugins, [PromptFold(routes)] if routes is not None else []),
        declaration=_fingerprint(declared, settings, plugins, routes),
        sinks=built,
        plugin_timeout=core.plugin_timeout.total_seconds(),
        now=now,
        options=options,
        gates=_gates(built, options, opt_in=opt_in),
        redactor=redactor,
    )
    tracker = Tracker(
        parts.tail,
        source={"app": core.app or settings.base.name, "host": socket.gethostname()},
        channels=declared.channels,
        opt_in=opt_in,
        redactor=redactor,
        strict=core.strict,
        patience=core.block_for.total_seconds() if core.when_full is WhenFull.BLOCK else 0.0,
        now=now,
    )
    return Assembly(parts, tracker, compiled, plugins.register_endpoints(settings), routes)


def load_plugins(app: Iterable[object], files: Iterable[Path], disabled: Iterable[str]) -> Plugins:
    """Return the plugins of an app, of files, of what is installed, and of journeykit itself."""
    return Plugins([*app, *map(load_file, files)], builtin=[builtin], disabled=disabled)


def _plugins(settings: Settings, plugins: Plugins | Iterable[object]) -> Plugins:
    if not isinstance(plugins, Plugins):
        plugins = load_plugins(plugins, settings.plugins.files, settings.plugins.disabled)
    plugins.strict = settings.core.strict
    plugins.register_rules()
    return plugins


def _store(settings: Settings, store: Store | None) -> tuple[Store | None, list[str]]:
    if store is not None:
        return store, []
    try:
        return open_store(settings.core.store, str(settings.base)), []
    except ConfigError as error:
        return None, list(error.problems)


def _tail(store: Store, core: Core) -> Tail:
    limit, drop_old = core.buffer_bytes, core.when_full is WhenFull.DROP_OLD
    if store.spool is None:
        return MemoryTail(limit, drop_old=drop_old)
    return Spool(store.spool, limit, drop_old=drop_old)


def _sinks(settings: Settings, given: Iterable[Sink]) -> tuple[list[Sink], list[str]]:
    sinks, problems = list(given), []
    for name, declared in settings.sinks.items():
        try:
            sinks.append(declared.type.build(name, declared.settings))
        except Exception as error:  # noqa: BLE001 - a plugin's own code; told with its key path
            problems.append(f"sinks.{name}: {type(error).__name__}: {error}")
    problems += [
        f"sinks: {sink!r} is no sink; it needs a name and deliver(batch)"
        for sink in sinks
        if not isinstance(getattr(sink, "name", None), str) or not hasattr(sink, "deliver")
    ]
    for name, count in Counter(getattr(sink, "name", "") for sink in sinks).items():
        if count > 1:
            problems.append(f"sinks: {name!r} is declared {count} times; give each its own name")
    return sinks, problems


def _gates(
    sinks: Iterable[Sink], options: Mapping[str, SinkOptions], *, opt_in: bool
) -> dict[str, Gate]:
    return {
        sink.name: Gate.of(sink, options.get(sink.name, SinkOptions()), opt_in=opt_in)
        for sink in sinks
    }


def _routes(settings: Settings, compiled: Sequence[Plan], declared: Declared) -> Routes | None:
    """Return what events mean to prompts; None without any."""
    if not settings.prompts:
        return None
    return compile_routes(settings.prompts, settings.feedback, compiled, declared.vocabulary)


def _fingerprint(
    declared: Declared, settings: Settings, plugins: Plugins, routes: Routes | None
) -> str:
    """Return what changes when the same Log would fold to another State: a hash, and the hooks."""
    asked = [] if routes is None else [routes.fingerprint]
    parts = repr((FOLD_VERSION, declared.journeys, sorted(settings.names.items()), *asked))
    digest = hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()
    hooks = [hook for hook in ("detect_stage", "detect_pain_points") if plugins.implements(hook)]
    return f"{digest}:{','.join(hooks)}"


def hooks_of(fingerprint: str) -> str:
    """Return the hooks that a fingerprint names."""
    return fingerprint.partition(":")[2]
