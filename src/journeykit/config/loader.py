"""
`journeykit.toml` → `Settings`, strictly, with every mistake named.

A text is not a number, `"false"` is not a boolean, and a key that nobody reads is a mistake.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from journeykit.config.settings import (
    Consent,
    Core,
    DeclaredPainPoint,
    DeclaredSink,
    DeclaredSource,
    FeedbackSettings,
    Insight,
    PainPointOptions,
    PluginSettings,
    Redaction,
    Settings,
    Web,
)
from journeykit.exceptions import ConfigError
from journeykit.model.extension import SinkOptions
from journeykit.model.journey import Journey, Touchpoint
from journeykit.model.prompt import Prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from journeykit.config.structure import Structurer
    from journeykit.model.extension import SinkType, SourceType
    from journeykit.model.rule import PainPointRule

_T = TypeVar("_T")

CONSENT_HINT = (
    'write [consent] with mode = "opt_out" (record everybody who has not objected) '
    'or mode = "opt_in" (record only who has agreed)'
)

_TABLES = (
    "journeykit",
    "consent",
    "redaction",
    "insight",
    "plugins",
    "names",
    "feedback",
    "web",
    "sinks",
    "sources",
    "pain_points",
)
_LISTS = ("journeys", "touchpoints", "prompts")


@attrs.frozen
class Document:
    """A parsed `journeykit.toml` and where it lies."""

    raw: Mapping[str, Any]
    path: Path

    @property
    def disabled(self) -> tuple[str, ...]:
        """The plugins to leave out: known before any plugin is."""
        return tuple(self._plugins("disabled"))

    @property
    def plugin_files(self) -> tuple[Path, ...]:
        """The files that are plugins: known before anything that they may provide."""
        return tuple(self.path.parent / name for name in self._plugins("files"))

    def _plugins(self, key: str) -> list[str]:
        table = self.raw.get("plugins")
        names = table.get(key) if isinstance(table, dict) else None
        return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def parse(path: str | Path) -> Document:
    """
    Read the TOML file at *path*.

    Raises:
        ConfigError: There is none, it cannot be read, or it is not TOML.
    """
    path = Path(path).absolute()
    try:
        return Document(tomllib.loads(path.read_text(encoding="utf-8")), path)
    except FileNotFoundError:
        problem = "there is no such file; name another one, or run this where it lies"
    except tomllib.TOMLDecodeError as error:
        problem = f"it is not valid TOML: {error}"
    except UnicodeDecodeError as error:
        problem = f"it is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}"
    except OSError as error:
        problem = f"it cannot be read: {error.strerror}"
    raise ConfigError([problem], source=str(path))


def structure(
    document: Document,
    sink_types: Mapping[str, SinkType],
    source_types: Mapping[str, SourceType],
    rules: Mapping[str, PainPointRule] = MappingProxyType({}),
) -> tuple[Settings, list[str]]:
    """
    Return the settings in *document* and one line for each mistake.

    What has a mistake is left out of the settings, so that the rest can be checked too.

    Args:
        rules: Every rule that there is, by its name.
    """
    # cattrs costs 50 ms to import, and a kit declared in Python never needs it.
    from journeykit.config.structure import Structurer

    read = Structurer(document.path.parent)
    raw = document.raw
    tables = {name: _table(read, raw, name) for name in _TABLES}
    for name in sorted(raw.keys() - {*_TABLES, *_LISTS}):
        read.problem(name, f"is not known; the tables are {', '.join((*_TABLES, *_LISTS))}")
    settings = Settings(
        consent=_consent(read, raw),
        core=read.one(tables["journeykit"], Core, "journeykit") or Core(),
        journeys=_many(read, raw, "journeys", Journey),
        touchpoints=_many(read, raw, "touchpoints", Touchpoint),
        prompts=_many(read, raw, "prompts", Prompt),
        feedback=read.one(tables["feedback"], FeedbackSettings, "feedback") or FeedbackSettings(),
        names=read.one(tables["names"], dict[str, str], "names") or {},
        sinks=_declared(read, tables["sinks"], "sinks", sink_types, DeclaredSink, SinkOptions),
        sources=_declared(read, tables["sources"], "sources", source_types, DeclaredSource),
        pain_points=_pain_points(read, tables["pain_points"], rules),
        plugins=read.one(tables["plugins"], PluginSettings, "plugins") or PluginSettings(),
        redaction=_redaction(read, tables["redaction"]),
        insight=read.one(tables["insight"], Insight, "insight") or Insight(),
        web=read.one(tables["web"], Web, "web") or Web(),
        base=document.path.parent,
        origin=str(document.path),
    )
    return settings, read.problems


def _table(read: Structurer, raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = raw.get(name, {})
    if isinstance(value, dict):
        return value
    read.problem(name, f"expected a table, got {value!r}")
    return {}


def _consent(read: Structurer, raw: Mapping[str, Any]) -> Consent:
    table = raw.get("consent")
    mode = table.get("mode") if isinstance(table, dict) else None
    if mode is None or not isinstance(table, dict):
        read.problem("consent.mode", f"is missing; {CONSENT_HINT}")
        table = {}
    elif mode not in ("opt_out", "opt_in"):
        read.problem("consent.mode", f"is {mode!r}; {CONSENT_HINT}")
        table = {key: value for key, value in table.items() if key != "mode"}
    # Strict until told otherwise: these settings are only looked at, never run.
    return read.one({"mode": "opt_in", **table}, Consent, "consent") or Consent("opt_in")


def _redaction(read: Structurer, table: dict[str, Any]) -> Redaction:
    if table.get("patterns") is False:
        table = {**table, "patterns": []}
    return read.one(table, Redaction, "redaction") or Redaction()


def _many(read: Structurer, raw: Mapping[str, Any], name: str, kind: type[_T]) -> tuple[_T, ...]:
    value = raw.get(name, [])
    if not isinstance(value, list):
        read.problem(name, f"expected a list of tables; write [[{name}]], not [{name}]")
        return ()
    found = (read.one(item, kind, f"{name}[{index}]") for index, item in enumerate(value))
    return tuple(item for item in found if item is not None)


def _pain_points(
    read: Structurer, tables: Mapping[str, Any], rules: Mapping[str, PainPointRule]
) -> dict[str, DeclaredPainPoint]:
    declared = {}
    common = tuple(attrs.fields_dict(PainPointOptions))
    for name, table in tables.items():
        path = f"pain_points.{name}"
        rule = rules.get(name)
        if rule is None:
            read.problem(path, f"there is no such rule; there are {', '.join(sorted(rules))}")
            continue
        if not isinstance(table, dict):
            read.problem(path, f"expected a table, got {table!r}; write [{path}]")
            continue
        own = {key: value for key, value in table.items() if key not in common}
        shared = {key: value for key, value in table.items() if key in common}
        options = read.one(shared, PainPointOptions, path)
        changed = _changed(read, rule, own, path, common) if own else rule
        if options is not None and changed is not None:
            declared[name] = DeclaredPainPoint(rule=changed, options=options)
    return declared


def _changed(
    read: Structurer,
    rule: PainPointRule,
    table: Mapping[str, Any],
    path: str,
    common: tuple[str, ...],
) -> PainPointRule | None:
    """Return *rule* with the parameters of *table*."""
    if not attrs.has(type(rule)):
        for key in sorted(table):
            read.problem(f"{path}.{key}", f"is not known; the keys here are {', '.join(common)}")
        return None
    # Only what the table names changes: a plugin's rule may have other values than its defaults.
    structured = read.one(dict(table), type(rule), path, beside=common)
    if structured is None:
        return None
    changed: PainPointRule = attrs.evolve(
        structured, **{field: getattr(rule, field) for field in _fields(rule) if field not in table}
    )
    return changed


def _fields(rule: Any) -> list[str]:
    return [field.name for field in attrs.fields(type(rule)) if field.init]


def _declared(
    read: Structurer,
    tables: Mapping[str, Any],
    where: str,
    types: Mapping[str, Any],
    declare: Callable[..., Any],
    options: type | None = None,
) -> dict[str, Any]:
    declared = {}
    common = tuple(attrs.fields_dict(options)) if options else ()
    for name, table in tables.items():
        path = f"{where}.{name}"
        if not isinstance(table, dict):
            read.problem(path, f"expected a table, got {table!r}; write [{path}]")
            continue
        kind = table.get("type")
        if not isinstance(kind, str) or kind not in types:
            got = "is missing" if kind is None else f"is {kind!r}, which no plugin provides"
            known = ", ".join(f'"{name}"' for name in sorted(types)) or "none"
            read.problem(f"{path}.type", f"{got}; expected one of {known}")
            continue
        rest = {key: value for key, value in table.items() if key not in ("type", *common)}
        parts = [read.one(rest, types[kind].settings, path, beside=common)]
        if options:
            shared = {key: value for key, value in table.items() if key in common}
            parts.append(read.one(shared, options, path))
        if None not in parts:
            declared[name] = declare(types[kind], *parts)
    return declared
