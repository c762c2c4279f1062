"""Builds the parts that a kit joins out of what is declared, or names every mistake."""

from __future__ import annotations

import functools
import hashlib
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs

from journeykit.capture import MemoryTail, Spool, Tail, Tracker
from journeykit.capture.redaction import Redactor
from journeykit.config import loader
from journeykit.config.settings import ConsentMode, Core, DeclaredPainPoint, Settings, WhenFull
from journeykit.delivery import builtin
from journeykit.delivery.gate import Gate
from journeykit.exceptions import ConfigError, PluginError
from journeykit.feedback import case_checks, checks
from journeykit.feedback.asking import Asking
from journeykit.feedback.facts import ANSWERED
from journeykit.insight.steps import Steps
from journeykit.insight.watch import Watch
from journeykit.journeys import Declared, Publisher, Rulebook, declare, folds, plans
from journeykit.journeys.catalogue import CATALOGUE, POPULATION
from journeykit.journeys.catalogue.population import RateAnomaly
from journeykit.journeys.rulebook import GuardedPopulationRule, GuardedRule
from journeykit.model.extension import SinkOptions
from journeykit.model.population import PopulationRule
from journeykit.model.vocabulary import FRICTION_NAMES, STANDARD_NAMES
from journeykit.pipeline import Parts
from journeykit.plugins import Plugin, Plugins, load_file
from journeykit.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from journeykit.delivery.sink import Sink
    from journeykit.journeys.plan import Plan
    from journeykit.model.extension import Endpoint
    from journeykit.model.journey import Journey
    from journeykit.model.rule import PainPointRule
    from journeykit.model.vocabulary import Vocabulary
    from journeykit.store.projector import Fold
    from journeykit.store.protocol import Store


@attrs.frozen
class Assembly:
    """What a kit is made of."""

    parts: Parts
    tracker: Tracker
    journeys: tuple[Journey, ...]
    watch: Callable[[Sequence[Plan]], Watch]
    rules: tuple[PainPointRule, ...]
    unfed: list[PainPointRule]
    endpoints: list[Endpoint]
    asks: Asking


def assemble(  # noqa: PLR0913 - what a kit is declared by
    settings: Settings,
    *,
    plugins: Plugins | Iterable[object],
    sinks: Iterable[Sink],
    store: Store | None,
    now: Callable[[], int],
    problems: Sequence[str],
    kit: object = None,
) -> Assembly:
    """
    Return the parts of *kit*; the arguments are those of `JourneyKit`.

    Raises:
        ConfigError: The declarations have mistakes; it names all of them.

        PluginError: A plugin failed while it was asked what it adds.
    """
    plugins = _plugins(settings, plugins)
    journeys = (*settings.journeys, *plugins.register_journeys())
    declared, mistakes = declare(journeys, settings.touchpoints, settings.names)
    rules, wrong = rules_in_force(settings, plugins, declared.vocabulary)
    built, unbuilt = _sinks(settings, sinks)
    store, unopened = _store(settings, store)
    # What is not declared does not run: neither journeys nor pain points, no projector.
    wanted = rules if _wants_rules(settings, plugins, journeys) else []
    population = [rule for rule in wanted if isinstance(rule, PopulationRule)]
    wanted = [rule for rule in wanted if not isinstance(rule, PopulationRule)]
    book = Rulebook.of(wanted, declared.vocabulary)
    asks = Asking.of(settings, declared.vocabulary, declared.journeys)
    publisher = _publisher(declared, settings, plugins, book, asks)
    changed = _changed(publisher, store) if declared.journeys else []
    redactor = Redactor(settings.redaction)
    wrong += _unseen(settings, redactor)
    wrong += checks.problems(settings, plans(declared), declared.vocabulary)
    wrong += case_checks.problems(settings, [rule.code for rule in rules])
    found = [*problems, *mistakes, *wrong, *changed, *unbuilt, *unopened]
    if found or store is None:
        raise ConfigError(found, source=settings.origin)
    core = settings.core
    opt_in = settings.consent.mode is ConsentMode.OPT_IN
    watch = functools.partial(_watch, settings, declared.vocabulary, population)
    options = {name: declared.options for name, declared in settings.sinks.items()}
    parts = Parts(
        store=store,
        tail=_tail(store, core),
        plugins=plugins,
        publisher=publisher if publisher.has_folds else None,
        sinks=built,
        plugin_timeout=core.plugin_timeout.total_seconds(),
        now=now,
        options=options,
        gates=_gates(built, options, opt_in=opt_in),
        redactor=redactor,
        watch=_watched(publisher, store, watch) if _watches(settings, population) else None,
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
    endpoints = plugins.register_endpoints(settings, kit)
    lacking = unfed(settings, declared, book)
    every = (*book.rules, *population)
    return Assembly(parts, tracker, declared.journeys, watch, every, lacking, endpoints, asks)


def declared_in(path: str | Path) -> tuple[Settings, Declared]:
    """
    Return what the file at *path* declares, without a look at any store.

    Raises:
        ConfigError: The file has mistakes; it names all of them.
    """
    document = loader.parse(path)
    loaded = load_plugins((), document.plugin_files, document.disabled)
    settings, problems = loader.structure(
        document, loaded.register_sinks(), loaded.register_sources()
    )
    journeys = (*settings.journeys, *loaded.register_journeys())
    declared, mistakes = declare(journeys, settings.touchpoints, settings.names)
    if problems or mistakes:
        raise ConfigError([*problems, *mistakes], source=settings.origin)
    return settings, declared


def _watches(settings: Settings, population: Sequence[PopulationRule]) -> bool:
    """Return whether anything is to be watched by the day: what is not declared does not run."""
    own = {rule.name for rule in POPULATION if rule.on} - settings.pain_points.keys()
    return bool(settings.insight.segments) or any(
        rule.on and rule.name not in own for rule in population
    )


def _watch(
    settings: Settings,
    vocabulary: Vocabulary,
    population: Sequence[PopulationRule],
    plans: Sequence[Plan],
) -> Watch:
    """Return what a report has to know; of the versions of a journey, the newest is watched."""
    insight = settings.insight
    newest = {plan.journey.key: plan for plan in plans}
    return Watch(
        steps=Steps(tuple(newest.values()), vocabulary, insight.failures),
        segments=insight.segments,
        effort=insight.effort,
        anomalies=any(isinstance(rule, RateAnomaly) for rule in population),
        book=Rulebook.of(population, vocabulary),
    )


def _watched(
    publisher: Publisher, store: Store, watch: Callable[[Sequence[Plan]], Watch]
) -> Callable[[], Watch]:
    return lambda: watch(publisher.plans(store.published()))


def _unseen(settings: Settings, redactor: Redactor) -> list[str]:
    """Return what is wrong with segments that no event can ever show."""
    return [
        f"insight.segments: {name!r} is redacted, so that no event has it; name another property, "
        f"or write [redaction] keep = [{name!r}]"
        for name in settings.insight.segments
        if redactor.is_secret(name)
    ]


def load_plugins(app: Iterable[object], files: Iterable[Path], disabled: Iterable[str]) -> Plugins:
    """Return the plugins of an app, of files, of what is installed, and of journeykit itself."""
    return Plugins([*app, *map(load_file, files)], builtin=[builtin], disabled=disabled)


def _plugins(settings: Settings, plugins: Plugins | Iterable[object]) -> Plugins:
    if not isinstance(plugins, Plugins):
        plugins = load_plugins(plugins, settings.plugins.files, settings.plugins.disabled)
    plugins.strict = settings.core.strict
    return plugins


def rules_by_name(plugins: Plugins) -> dict[str, PainPointRule]:
    """
    Return every rule that there is, as it is without settings.

    Raises:
        PluginError: A plugin's rule has the code of a built-in one.
    """
    known: dict[str, PainPointRule] = {rule.name: rule for rule in (*CATALOGUE, *POPULATION)}
    for plugin, rule in plugins.register_rules():
        if rule.name in known:
            problem = f"{rule.code!r} is a rule of journeykit's own; choose another code"
            raise PluginError(plugin.name, "register_rules", problem)
        known[rule.name] = rule
    return known


def rules_in_force(
    settings: Settings, plugins: Plugins, vocabulary: Vocabulary
) -> tuple[list[PainPointRule], list[str]]:
    """Return the rules to run, in their order, and one line for each mistake in them."""
    owners = {rule.name: plugin for plugin, rule in plugins.register_rules()}
    known, rules, problems = rules_by_name(plugins), [], []
    for name in sorted(settings.pain_points.keys() - known.keys()):
        listed = ", ".join(sorted(known))
        problems.append(f"pain_points.{name}: there is no such rule; there are {listed}")
    for name, default in known.items():
        declared = settings.pain_points.get(name, DeclaredPainPoint())
        rule = declared.rule or default
        if declared.options.off:
            continue
        if rule.code != default.code:
            problems.append(f"pain_points.{name}: its rule has the code {rule.code!r}")
        problems += [
            f"pain_points.{name}.on: {event!r} may mean {', '.join(meanings)}; write which"
            for event in (*rule.on, *rule.also)
            if (meanings := vocabulary.doubt(event))
        ]
        owner = owners.get(name)
        rules.append(rule if owner is None else _guarded(rule, owner, plugins))
    return rules, problems


def _guarded(rule: PainPointRule, owner: Plugin, plugins: Plugins) -> PainPointRule:
    if isinstance(rule, PopulationRule):
        return GuardedPopulationRule(rule, owner, plugins)
    return GuardedRule(rule, owner, plugins)


def _wants_rules(settings: Settings, plugins: Plugins, journeys: Sequence[Journey]) -> bool:
    asked = plugins.register_rules() or plugins.implements("detect_pain_points")
    case_of_pain = any(rule.when.pain_point for rule in settings.cases.rules)
    return bool(journeys or settings.pain_points or asked or case_of_pain)


def unfed(settings: Settings, declared: Declared, book: Rulebook) -> list[PainPointRule]:
    """
    Return the rules that no declared event reaches, as far as that can be told.

    Standard names need no declaration; but a shop that declares touchpoints is taken to have listed
    what it records.
    What a rule is told to read, in its own table, is declared by that.
    """
    names = {point.name for point in settings.touchpoints}
    known = names | settings.names.keys() | (set() if names else STANDARD_NAMES)
    known |= {ANSWERED} if settings.prompts else set()
    known |= FRICTION_NAMES if settings.web.friction else set()
    for journey in declared.journeys:
        ways = (*journey.entry, *journey.exits, *((journey.goal and (journey.goal,)) or ()))
        stages = (rule for stage in journey.stages for rule in stage.enter)
        known |= {way.event for way in (*ways, *stages)}
    own = {name: each.rule for name, each in settings.pain_points.items()}
    default = {rule.name: rule.on for rule in CATALOGUE}
    return [
        rule
        for rule in book.rules
        if (rule.name not in own or rule.on == default.get(rule.name))
        and not any(each in known for name in rule.on for each in declared.vocabulary.same(name))
    ]


def _publisher(
    declared: Declared, settings: Settings, plugins: Plugins, book: Rulebook, asks: Asking
) -> Publisher:
    def fold(plans: tuple[Plan, ...], dated: Sequence[Any] = ()) -> Sequence[Fold]:
        others = functools.partial(asks.folds, plugins=plugins, dated=dated)
        segments = settings.insight.segments
        return folds(plans, plugins, book, segments=segments, others=others)

    drafts, rules = settings.core.drafts, _digest(settings, book)
    prompts = asks.fingerprint(plans(declared))
    return Publisher(
        declared,
        plugins,
        fold=fold,
        drafts=drafts,
        rules=rules,
        prompts=prompts,
        cases=asks.case_rules,
    )


def _digest(settings: Settings, book: Rulebook) -> str:
    """Return what tells the rules apart from others; empty if there are none."""
    if not book.rules:
        return ""
    # What was found names the customer's segments.
    segments = settings.insight.segments
    told = (book.rules, sorted(settings.names.items()), *((segments,) if segments else ()))
    return hashlib.blake2b(repr(told).encode(), digest_size=16).hexdigest()


def _changed(publisher: Publisher, store: Store | None) -> list[str]:
    """Return what was changed in place of what the store is known to have."""
    return publisher.problems(store.peek_published()) if store is not None else []


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
