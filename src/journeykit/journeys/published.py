"""
Published versions: declarations as the Log keeps them, and what tells one from another.

A publication is a fact in the Log, with the whole declaration, so that runs can finish on a version
that no file declares any more.
"""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import attrs

from journeykit.capture.encode import encode
from journeykit.capture.ids import hashed_id
from journeykit.model import jsonbytes
from journeykit.model.event import PUBLICATION, PUBLISHED, WIRE_VERSION, Entry, Kind
from journeykit.model.journey import Exit, Goal, Journey, Migrate, Publish, ReEntry, Rule, Stage
from journeykit.model.times import to_rfc3339
from journeykit.model.vocabulary import ALIASES, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from journeykit.journeys.declared import Declared
    from journeykit.model.event import Stored
    from journeykit.store.protocol import Position

#: What only people read: it may change at any time.
_FOR_PEOPLE: Final = frozenset(("title", "owner", "personas", "expected"))

#: What is told elsewhere, or has done its work.
_ASIDE: Final = frozenset(("key", "version", "extends", "publish"))


@attrs.frozen
class Version:
    """
    One version of a journey, complete: with all that decides how events fold into it.

    Args:
        names: Of the shop's own names, those that mean an event of this journey.

        own: Names that the shop declared as touchpoints, which would mean such an event otherwise.

        source: A hash of what the shop itself has written, where the rest is a template's.
    """

    journey: Journey
    names: Mapping[str, str] = attrs.field(factory=dict)
    own: tuple[str, ...] = ()
    source: str | None = None

    @property
    def label(self) -> str:
        """Key and version: `"shop@1"`."""
        return self.journey.label

    @property
    def vocabulary(self) -> Vocabulary:
        """Which names mean the same to this version."""
        return Vocabulary(self.names, self.own)

    @classmethod
    def all_of(cls, declared: Declared) -> list[Version]:
        """Return the versions that are declared."""
        pairs = zip(declared.given, declared.journeys, strict=True)
        return [cls._of(given, journey, declared) for given, journey in pairs]

    @classmethod
    def _of(cls, given: Journey, journey: Journey, declared: Declared) -> Version:
        vocabulary = declared.vocabulary
        meant = {vocabulary.standard(event) for event in _events(journey)}
        names = {own: name for own, name in sorted(declared.names.items()) if name in meant}
        own = sorted(name for name in declared.channels if ALIASES.get(name) in meant)
        source = None
        if given.extends is not None:
            keys = {stage.key for stage in journey.stages}
            joined = [
                (point.name, point.stage) for point in declared.touchpoints if point.stage in keys
            ]
            written = Version(given, names, tuple(own)).rules()
            source = _digest([given.extends, written, sorted(joined)])
        return cls(journey, names, tuple(own), source)

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Version:
        """Return what `to_wire` has written."""
        return cls(_journey(wire["journey"]), wire["names"], tuple(wire["own"]), wire["source"])

    def to_wire(self) -> dict[str, Any]:
        """Return this version as JSON values."""
        return {
            "journey": _plain(self.journey),
            "names": dict(self.names),
            "own": list(self.own),
            "source": self.source,
        }

    def changes(self, published: Version) -> bool:
        """
        Return whether this is another version than the *published* one of this number.

        A template that a new journeykit has changed is no change of the shop's: what was published
        stays as it was.
        """
        if self.hash == published.hash:
            return False
        return self.source is None or self.source != published.source

    def rules(self) -> dict[str, Any]:
        """
        Return by key path what decides how events fold.

        Keys that have their default are left out: a later journeykit may know more of them.
        """
        found = {
            path: value
            for path, value in _plain(self.journey).items()
            if path not in _ASIDE | _FOR_PEOPLE | {"stages"}
        }
        found["entry"] = sorted(found.get("entry", ()), key=_text)
        found["stages"] = [stage.key for stage in self.journey.stages]
        for stage in self.journey.stages:
            for name, value in _plain(stage).items():
                if name not in _FOR_PEOPLE | {"key"}:
                    path = f"stages.{stage.key}.{name}"
                    found[path] = sorted(value, key=_text) if name == "enter" else value
        found["names"], found["touchpoints"] = dict(self.names), list(self.own)
        return {path: value for path, value in found.items() if value not in ([], {})}

    @property
    def hash(self) -> str:
        """The content hash: the same as long as events fold in the same way."""
        return _digest(self.rules())


def differences(old: Version, new: Version) -> list[str]:
    """Return the key paths at which events fold differently."""
    was, now = old.rules(), new.rules()
    return [path for path in {**was, **now} if was.get(path) != now.get(path)]


def _events(journey: Journey) -> Iterator[str]:
    rules = [*journey.entry, *(rule for stage in journey.stages for rule in stage.enter)]
    for rule in rules:
        yield rule.event
        if rule.after is not None:
            yield rule.after
    yield from (each.event for each in journey.exits)
    if journey.goal is not None:
        yield journey.goal.event


def _digest(value: Any) -> str:
    return hashlib.blake2b(_text(value).encode(), digest_size=16).hexdigest()


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)


def _plain(declared: Any) -> dict[str, Any]:
    """Return a declaration as JSON values, without what has its default."""
    return {
        field.name: _value(getattr(declared, field.name))
        for field in attrs.fields(type(declared))
        if field.name == "title" or getattr(declared, field.name) != _default(field)
    }


def _default(field: attrs.Attribute[Any]) -> Any:
    default: Any = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return None if default.takes_self else default.factory()
    return default


def _value(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if attrs.has(type(value)):
        return _plain(value)
    if isinstance(value, tuple):
        return [_value(each) for each in value]
    return value if value is None or isinstance(value, dict | bool | int) else str(value)


def _journey(wire: Mapping[str, Any]) -> Journey:
    fields = dict(wire)
    fields["stages"] = tuple(_stage(stage) for stage in fields.get("stages", ()))
    fields["entry"] = tuple(Rule(**rule) for rule in fields.get("entry", ()))
    fields["exits"] = tuple(Exit(**each) for each in fields.get("exits", ()))
    if "goal" in fields:
        fields["goal"] = Goal(**_lasting(fields["goal"], "within"))
    if "reentry" in fields:
        fields["reentry"] = ReEntry(**_lasting(fields["reentry"], "wait"))
    return Journey(**_lasting(fields, "timeout", "late"))


def _stage(wire: Mapping[str, Any]) -> Stage:
    rules = [Rule(**rule) for rule in wire.get("enter", ())]
    return Stage(**{**_lasting(wire, "expected", "stall"), "enter": rules})


def _lasting(wire: Mapping[str, Any], *names: str) -> dict[str, Any]:
    spans = {name: timedelta(seconds=wire[name]) for name in names if wire.get(name) is not None}
    return {**wire, **spans}


# In the Log


@attrs.frozen
class Publication:
    """
    A version and when it was published.

    Args:
        position: Its place in the Log: what is recorded behind it begins with this version.

        at: When that was, in microseconds of Log time.

        id: The fact's id.

        hash: The content hash that was told then.
    """

    version: Version
    position: Position
    at: int
    id: str
    hash: str

    @property
    def key(self) -> str:
        """The journey's key."""
        return self.version.journey.key

    @property
    def number(self) -> int:
        """The version's number."""
        return self.version.journey.version

    @property
    def policy(self) -> Publish | Migrate:
        """What becomes of runs of earlier versions."""
        return self.version.journey.publish


def publications(facts: Iterable[Stored]) -> dict[str, Publication]:
    """
    Return what *facts* of the Log have published, by label, in the order of the Log.

    A draft that was published anew keeps its place.
    """
    found: dict[str, Publication] = {}
    for stored in facts:
        properties = jsonbytes.loads(stored.entry.body)["properties"]
        version = Version.from_wire(properties["declaration"])
        made = Publication(
            version, stored.position, stored.recorded_at, stored.id, properties["hash"]
        )
        first = found.get(version.label)
        if first is not None:
            made = attrs.evolve(made, position=first.position, at=first.at, id=first.id)
        found[version.label] = made
    return found


def publication_fact(version: Version, reason: str, facts: Sequence[Stored], now: int) -> Entry:
    """Return the fact that *version* is published, behind other such *facts*."""
    event_id = hashed_id(now, PUBLISHED, version.label, version.hash, len(facts))
    customer = {"user_id": None, "anonymous_id": None, "session_id": None}
    properties = {
        "journey": version.journey.key,
        "version": version.journey.version,
        "hash": version.hash,
        "publish": _value(version.journey.publish),
        "declaration": version.to_wire(),
    }
    wire = {
        "id": event_id,
        "kind": Kind.FACT.value,
        "name": PUBLISHED,
        "customer": customer,
        "context": {},
        "occurred_at": to_rfc3339(now),
        "channel": None,
        "properties": properties,
        "source": {"app": "journeykit"},
        "actor": "configuration",
        "reason": reason,
        "v": WIRE_VERSION,
    }
    ids = None, None, None
    return Entry(event_id, Kind.FACT, PUBLISHED, *ids, now, PUBLICATION, encode(wire))
