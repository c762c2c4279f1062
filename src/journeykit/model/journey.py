"""Declarations: journeys, their stages, touchpoints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import attrs

from journeykit.model.customer import Customer

if TYPE_CHECKING:
    from datetime import datetime


_KEY = re.compile(r"[a-z0-9][a-z0-9_-]*")


def _check_key(_: object, field: attrs.Attribute[str], value: str) -> None:
    if not isinstance(value, str) or not _KEY.fullmatch(value):
        msg = (
            f"{field.name} is {value!r}; write lower-case letters, digits, '-' and '_', "
            f"as in 'checkout'"
        )
        raise ValueError(msg)


def _check_positive(_: object, field: attrs.Attribute[int], value: int) -> None:
    if value < 1:
        msg = f"{field.name} is {value}; the first version is 1"
        raise ValueError(msg)


def _check_name(_: object, field: attrs.Attribute[str], value: str) -> None:
    problem = name_problem(value)
    if problem is not None:
        msg = f"{field.name} {problem}"
        raise ValueError(msg)


def name_problem(name: object) -> str | None:
    """Return what is wrong with an event's name, or None: 1 to 200 printable characters."""
    if not isinstance(name, str):
        return f"is {type(name).__name__}, not text"
    if not name or name != name.strip():
        return "is empty" if not name.strip() else "has white space around it"
    if len(name) > _NAME_LENGTH:
        return f"has {len(name)} characters; {_NAME_LENGTH} is the most"
    return None if name.isprintable() else "has a character that cannot be printed"


_NAME_LENGTH = 200


def _each(kind: type) -> Any:
    return attrs.validators.deep_iterable(attrs.validators.instance_of(kind))


@attrs.frozen
class Rule:
    """
    One way into a stage: an event of this name.

    Args:
        event: The event's name; names that mean the same count too.

        where: Property → the value that it must have, or a list of such values.

        after: The name of an event that must have come earlier in the same instance.
            A rule with `after` is tried before one without.
    """

    event: str = attrs.field(validator=_check_name)
    where: dict[str, Any] = attrs.field(factory=dict, kw_only=True)
    after: str | None = attrs.field(
        default=None, kw_only=True, validator=attrs.validators.optional(_check_name)
    )


class Skip(StrEnum):
    """What becomes of a move past a stage that was never entered."""

    #: It counts; the stage that was passed is inferred.
    ALLOW = "allow"
    #: It counts, and is a pain point, `journey.skipped`.
    FLAG = "flag"
    #: The customer stays.
    FORBID = "forbid"


class Loop(StrEnum):
    """What becomes of a return to a stage that was left."""

    #: The customer is there again, which is no visit of its own.
    ALLOW = "allow"
    #: It is another visit.
    COUNT = "count"
    #: The customer stays.
    FORBID = "forbid"


class Regress(StrEnum):
    """What becomes of a move to a lower stage."""

    #: It counts.
    ALLOW = "allow"
    #: It counts, and is a pain point, `journey.regressed`.
    FLAG = "flag"
    #: The customer stays.
    IGNORE = "ignore"


@attrs.frozen
class Exit:
    """
    What ends a run through a journey at once.

    Args:
        event: The event's name; names that mean the same count too.

        where: Property → the value that it must have, or a list of such values.

        outcome: What such an end is called.

        match_instance: Whether the event must name the instance that it ends.
            If not, one that names none ends all that the customer has.
    """

    event: str = attrs.field(validator=_check_name)
    where: dict[str, Any] = attrs.field(factory=dict, kw_only=True)
    outcome: str = attrs.field(default="abandoned", kw_only=True, validator=_check_key)
    match_instance: bool = attrs.field(default=True, kw_only=True)


@attrs.frozen(kw_only=True)
class ReEntry:
    """
    Whether somebody whose run has ended begins another.

    Args:
        allow: Whether at all.

        wait: How long after the end.

        max: The most runs of one instance; None for any number.
    """

    allow: bool = True
    wait: timedelta = timedelta(0)
    max: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.ge(1))
    )


class Publish(StrEnum):
    """What becomes of runs that are under way when a new version is published."""

    #: They finish on the version that they began.
    DRAIN = "drain"
    #: They end there and then, as `superseded`.
    CLOSE = "close"


@attrs.frozen
class Migrate:
    """
    Lets runs that are under way go on in the new version.

    Args:
        migrate: A stage of earlier versions → the stage of the new one to go on in.
            Runs in other stages finish on the version that they began.
    """

    migrate: dict[str, str]


def _to_publish(value: Any) -> Publish | Migrate:
    if isinstance(value, Migrate):
        return value
    if isinstance(value, Mapping) and set(value) == {"migrate"}:
        stages = value["migrate"]
        if isinstance(stages, Mapping) and all(
            isinstance(text, str) for pair in stages.items() for text in pair
        ):
            return Migrate(dict(stages))
    if isinstance(value, str) and value in tuple(Publish):
        return Publish(value)
    msg = f'publish is {value!r}; expected "drain", "close" or {{ migrate = {{ old = "new" }} }}'
    raise ValueError(msg)


def to_tuple(values: Iterable[Any]) -> tuple[Any, ...]:
    """Return *values* as a tuple; a text is no list of its letters."""
    if isinstance(values, str):
        msg = f"expected a list, got {values!r}"
        raise TypeError(msg)
    return tuple(values)


def _to_rules(values: Iterable[Rule | str]) -> tuple[Rule, ...]:
    rules = [Rule(value) if isinstance(value, str) else value for value in to_tuple(values)]
    if not all(isinstance(rule, Rule) for rule in rules):
        msg = f"expected a list of event names and rules, got {values!r}"
        raise TypeError(msg)
    return tuple(rules)


def _title(declared: Any) -> str:
    return str(declared.key).replace("_", " ").replace("-", " ").capitalize()


@attrs.frozen
class Stage:
    """
    One part of a journey.

    Args:
        key: Its name in figures and events.

        enter: The rules that bring a customer here; a plain event name is a rule.

        title: What people read; the key with a capital if not given.

        expected: How long customers should need here; shown beside the stage.

        stall: After so long here without another stage the run has stalled.

        owner: Who answers for this stage.
    """

    key: str = attrs.field(validator=_check_key)
    enter: tuple[Rule, ...] = attrs.field(default=(), kw_only=True, converter=_to_rules)
    title: str = attrs.field(
        kw_only=True,
        default=attrs.Factory(_title, takes_self=True),
    )
    expected: timedelta | None = attrs.field(default=None, kw_only=True)
    stall: timedelta | None = attrs.field(default=None, kw_only=True)
    owner: str | None = attrs.field(default=None, kw_only=True)


@attrs.frozen
class Goal:
    """
    What completes a journey.

    Args:
        event: The name of the event that completes it.

        value: The property that holds what the completion is worth.

        within: How soon after the instance began it must happen to count.
    """

    event: str = attrs.field(validator=_check_name)
    value: str | None = attrs.field(default=None, kw_only=True)
    within: timedelta | None = attrs.field(default=None, kw_only=True)


@attrs.frozen(kw_only=True)
class Journey:
    """
    A declared, versioned path.

    Args:
        key: Its name in figures and events.

        version: Counts up when the declaration changes.

        stages: In their order.
            With `extends`, a stage replaces the template's stage of the same key.

        extends: The name of a template, such as `"ecommerce"`.

        instance_by: The property that tells instances apart, such as `"cart_id"`.
            None: one instance a customer.

        entry: The rules that begin a run; empty where any stage does.

        goal: What completes an instance.

        exits: What ends a run.

        timeout: A run that was not completed so long after its begin has ended.

        reentry: Whether somebody whose run has ended begins another.

        skip, loop, regress: What becomes of moves out of the order.

        late: An event that is older than the newest of its instance by more than this changes
            nothing any more (7 days: phones come back from holidays).

        title, owner, personas: For people.

        publish: What becomes of runs of earlier versions when this version is published.
    """

    key: str = attrs.field(validator=_check_key)
    version: int = attrs.field(validator=_check_positive)
    stages: tuple[Stage, ...] = attrs.field(default=(), converter=to_tuple, validator=_each(Stage))
    extends: str | None = None
    instance_by: str | None = None
    entry: tuple[Rule, ...] = attrs.field(default=(), converter=_to_rules)
    goal: Goal | None = None
    exits: tuple[Exit, ...] = attrs.field(default=(), converter=to_tuple, validator=_each(Exit))
    timeout: timedelta | None = None
    reentry: ReEntry = attrs.field(factory=ReEntry)
    skip: Skip = attrs.field(default=Skip.ALLOW, converter=Skip)
    loop: Loop = attrs.field(default=Loop.COUNT, converter=Loop)
    regress: Regress = attrs.field(default=Regress.ALLOW, converter=Regress)
    late: timedelta = timedelta(days=7)
    title: str = attrs.field(default=attrs.Factory(_title, takes_self=True))
    owner: str | None = None
    personas: tuple[str, ...] = attrs.field(default=(), converter=to_tuple, validator=_each(str))
    publish: Publish | Migrate = attrs.field(default=Publish.DRAIN, converter=_to_publish)

    @property
    def label(self) -> str:
        """Key and version: `"shop@1"`."""
        return f"{self.key}@{self.version}"


@attrs.frozen
class Touchpoint:
    """
    A declared point of contact.

    Args:
        name: The name of the events that it gives rise to.

        channel: Where it takes place: `"web"`, `"email"`, `"store"`.
            Events of this name carry it.

        stage: The key of the stage that it belongs to, in every journey that has such a stage.

        owner: Who answers for it.
    """

    name: str = attrs.field(validator=_check_name)
    channel: str | None = attrs.field(default=None, kw_only=True)
    stage: str | None = attrs.field(default=None, kw_only=True)
    owner: str | None = attrs.field(default=None, kw_only=True)


@attrs.frozen(kw_only=True)
class Instance:
    """
    One customer's run through one journey, as plugins see it.

    Args:
        journey, version: Which journey.

        customer: The customer as the last event saw them.

        value: The value of the property that `instance_by` names; empty for one a customer.

        stage: The key of the current stage; None before the first.

        furthest: The key of the highest stage reached.

        started_at: When its first event occurred.
    """

    journey: str
    version: int
    customer: Customer
    value: str = ""
    stage: str | None = None
    furthest: str | None = None
    started_at: datetime | None = None
