"""Publishes what is declared, and finds out where a published version was changed in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import attrs

from journeykit.exceptions import VersionChanged
from journeykit.journeys.plan import Plan, compile_plan
from journeykit.journeys.published import (
    Publication,
    Version,
    differences,
    publication_fact,
    publications,
)
from journeykit.model.journey import Migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from journeykit.journeys.declared import Declared
    from journeykit.model.event import Stored
    from journeykit.plugins import Plugins
    from journeykit.store.projector import Fold
    from journeykit.store.protocol import Position, Store

#: Counts up when the folds of a new journeykit make another State of the same Log.
FOLD_VERSION: Final = 9

#: The hooks that have a say in State.
_HOOKS: Final = ("detect_stage", "detect_pain_points", "register_rules")

#: Those that have one where cases are opened.
_CASE_HOOKS: Final = ("read_answer", "route_case")

#: What is the same, of what State was made by, or State is made again.
_SAME: Final = ("folds", "hooks", "rules", "prompts", "case_fold")

#: What earlier versions of journeykit have made State by, and did not say.
_ABSENT: Final = {"case_fold": 0}

#: How many differing key paths a mistake names.
_MOST_NAMED: Final = 5


class Prepared(NamedTuple):
    """What a projector runs: the folds, what they were declared by, and whether State fits."""

    folds: Sequence[Fold]
    declaration: Any
    continues: bool


class Dated(Protocol):
    """What is declared besides, and is in force from the instant on at which it was published."""

    #: What makes another State of the same Log; 0 if nothing is declared.
    version: int

    def publish(self, store: Store, known: Any, cursor: Position, now: int) -> Any:
        """Publish it, if it is not what was published last; returns all of it as JSON values."""

    def is_last(self, known: Any) -> bool:
        """Return whether it was published last of *known*, which `publish` has returned."""


class Undated:
    """Nothing is declared besides."""

    version = 0

    def publish(self, *_: Any) -> Any:
        """Publish nothing."""
        return []

    def is_last(self, _: Any) -> bool:
        """Return True."""
        return True


class Publisher:
    """
    Compares what is *declared* with what the Log says was published.

    Args:
        fold: Makes the folds of plans.

        drafts: Whether a version may change in place; it is published anew then.

        rules: What tells the pain-point rules apart from others; empty if there are none.

        prompts: Likewise for the prompts.

        cases: The case rules; where there are any, *fold* gets what was published of them, too.
    """

    def __init__(  # noqa: PLR0913 - what has a say in State
        self,
        declared: Declared,
        plugins: Plugins,
        *,
        fold: Callable[..., Sequence[Fold]],
        drafts: bool = False,
        rules: str = "",
        prompts: str = "",
        cases: Dated | None = None,
    ) -> None:
        self._fold = fold
        self._rules = rules
        self._prompts = prompts
        self._cases: Dated = cases if cases is not None else Undated()
        self._drafts = drafts
        hooks = (*_HOOKS, *(_CASE_HOOKS if self._cases.version else ()))
        self._hooks = [hook for hook in hooks if plugins.implements(hook)]
        self._declared = Version.all_of(declared)
        self._newest: dict[str, Version] = {}
        for version in self._declared:
            known = self._newest.get(version.journey.key)
            if known is None or known.journey.version < version.journey.version:
                self._newest[version.journey.key] = version

    @property
    def has_folds(self) -> bool:
        """Whether anything is declared that folds."""
        return (
            bool(self._declared or self._rules or self._prompts or self._cases.version)
            or "detect_pain_points" in self._hooks
        )

    # Mistakes

    def problems(self, facts: Sequence[Stored]) -> list[str]:
        """Return one line for each declaration that does not go with what was published."""
        if not self._declared:
            return []
        known = publications(facts)
        found = [] if self._drafts else list(self._changed(known))
        for version in self._newest.values():
            found += _gaps(version, _of_key(known, version))
        return found

    def _changed(self, known: Mapping[str, Publication]) -> Iterator[str]:
        for version in self._declared:
            made = known.get(version.label)
            if made is None or not version.changes(made.version):
                continue
            highest = max(each.number for each in _of_key(known, version))
            yield (
                f"journeys.{version.journey.key}: version {version.journey.version} was published "
                f"with another content ({_named(differences(made.version, version))}); put that "
                f"back, or write version = {highest + 1}. While you try things out, write "
                f"drafts = true in [journeykit]"
            )

    # Publishing

    def due(self, facts: Sequence[Stored], *, only_first: bool = False) -> list[Version]:
        """Return what is to be published; or only what is of no journey that was published."""
        known, found = publications(facts), []
        for version in self._declared:
            made = known.get(version.label)
            if made is not None and self._drafts and version.changes(made.version):
                found.append(version)
        for version in self._newest.values():
            others = _of_key(known, version)
            highest = max((made.number for made in others), default=0)
            if version.journey.version > highest and not (only_first and others):
                found.append(version)
        return found

    def prepare(self, store: Store, known: Any, cursor: Position, now: int) -> Prepared:
        """
        Publish what is due, and return what to run.

        Args:
            known: What State was made by.

            cursor: How far it is.

        Raises:
            VersionChanged: A published version was changed in place.
        """
        facts = store.published()
        problems = self.problems(facts)
        if problems:
            msg = f"store {store.name}: nothing is folded; {'; '.join(problems)}"
            raise VersionChanged(msg)
        for version in self.due(facts):
            fact = publication_fact(version, self._reason(version, facts), facts, now)
            facts = [*facts, store.publish(fact, now)]
        dated = self._cases.publish(store, _cases_of(known), cursor, now)
        declaration = {**self.declaration(facts), "cases": dated}
        continues = _continues(known, declaration, self._of_declared(facts), cursor)
        plans = self.plans(facts)
        folds = self._fold(plans, dated) if self._cases.version else self._fold(plans)
        return Prepared(folds, declaration, continues)

    def _reason(self, version: Version, facts: Sequence[Stored]) -> str:
        known = publications(facts)
        if version.label in known:
            return "a draft has changed"
        return "a new version" if _of_key(known, version) else "a new journey"

    # What was published

    def plans(self, facts: Sequence[Stored]) -> tuple[Plan, ...]:
        """Return the plans of the declared journeys: every published version, in order."""
        known = self._of_declared(facts)
        found = []
        for key, newest in self._newest.items():
            made = [each for each in known.values() if each.key == key]
            found += [self._plan(each) for each in made]
            if not made:
                found.append(compile_plan(newest.journey, newest.vocabulary))
        return tuple(found)

    def _plan(self, made: Publication) -> Plan:
        journey, vocabulary = made.version.journey, made.version.vocabulary
        for version in self._declared:
            if version.label == made.version.label and version.hash == made.hash:
                # What people read is the file's, what becomes of runs was settled then.
                journey = attrs.evolve(version.journey, publish=made.policy)
        return compile_plan(journey, vocabulary, made)

    def declaration(self, facts: Sequence[Stored]) -> dict[str, Any]:
        """Return what changes when the same Log would fold to another State."""
        known = self._of_declared(facts)
        return {
            "folds": FOLD_VERSION,
            "hooks": self._hooks,
            "rules": self._rules,
            "prompts": self._prompts,
            "case_fold": self._cases.version,
            "journeys": {label: made.hash for label, made in known.items()},
        }

    def may_look(self, facts: Sequence[Stored], known: Any) -> bool:
        """Return whether one who only looks may fold: State has our hooks, and nothing is new."""
        if not self.knows_hooks_of(known):
            return False
        cases = _cases_of(known)
        if cases and not self._cases.is_last(cases):
            # Other rules are in force; whoever runs the shop brings ours.
            return False
        return len(self.due(facts)) == len(self.due(facts, only_first=True))

    def has_made(self, facts: Sequence[Stored], known: Any) -> bool:
        """Return whether State, made by *known*, is what these declarations make of the Log."""
        if not isinstance(known, dict) or not self._cases.is_last(known.get("cases")):
            return False
        return {**known, "cases": None} == {**self.declaration(facts), "cases": None}

    def knows_hooks_of(self, made_by: Any) -> bool:
        """Return whether State was made with our hooks, as far as it says so."""
        return not isinstance(made_by, dict) or made_by.get("hooks") == self._hooks

    def _of_declared(self, facts: Sequence[Stored]) -> dict[str, Publication]:
        found = publications(facts)
        return {label: made for label, made in found.items() if made.key in self._newest}


def _cases_of(known: Any) -> Any:
    """Return what was published of case rules, as far as State says so."""
    return known.get("cases") if isinstance(known, dict) else None


def _of_key(known: Mapping[str, Publication], version: Version) -> list[Publication]:
    return [made for made in known.values() if made.key == version.journey.key]


def _gaps(version: Version, others: Sequence[Publication]) -> Iterator[str]:
    """Name what a new version has against the published ones of its journey."""
    journey, numbers = version.journey, [made.number for made in others]
    where = f"journeys.{journey.key}"
    if not others or journey.version in numbers:
        return
    if journey.version < max(numbers):
        yield (
            f"{where}: version {journey.version} was never published, and version {max(numbers)} "
            f"was; write version = {max(numbers) + 1}"
        )
        return
    if not isinstance(journey.publish, Migrate):
        return
    if all(made.version.journey.instance_by != journey.instance_by for made in others):
        yield (
            f"{where}.publish.migrate: instance_by has changed, so no run can go on as it is; "
            f'write publish = "drain" or "close"'
        )
    stages = dict.fromkeys(stage.key for made in others for stage in made.version.journey.stages)
    for old in journey.publish.migrate:
        if old not in stages:
            known = ", ".join(repr(stage) for stage in stages)
            yield (
                f"{where}.publish.migrate.{old}: no earlier version has this stage; they have "
                f"{known}"
            )


def _named(paths: Sequence[str]) -> str:
    shown = ", ".join(paths[:_MOST_NAMED])
    rest = len(paths) - _MOST_NAMED
    return f"{shown} and {rest} more" if rest > 0 else shown or "the order of its rules"


def _continues(
    known: Any, declaration: Mapping[str, Any], made: Mapping[str, Publication], cursor: Position
) -> bool:
    """
    Return whether State, made by *known*, is what *declaration* makes of the Log up to *cursor*.

    A later version of a journey that was folded already begins behind the cursor, so nothing that
    was folded would fold otherwise.
    """
    if not isinstance(known, dict):
        return False
    if any(known.get(name, _ABSENT.get(name)) != declaration[name] for name in _SAME):
        return False
    folded, declared = known["journeys"], declaration["journeys"]
    if any(label not in declared for label in folded):
        # What nobody folds any more must not stay: it has ids of customers.
        return False
    keys = {label.partition("@")[0] for label in folded}
    for label, digest in declared.items():
        if label in folded:
            if folded[label] != digest:
                return False
        elif made[label].key not in keys or not (cursor is None or made[label].position > cursor):
            return False
    return True
