"""Pain-point rules: objects that read a customer's events in the order in which they occurred."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from journeykit.model.customer import Customer
from journeykit.model.pain_point import Severity, is_code
from journeykit.model.times import to_datetime

if TYPE_CHECKING:
    from datetime import datetime

    from journeykit.model.event import Entry

#: What `PainPointRule.key` returns for an event that concerns every target that the rule remembers.
EVERY: Final = "\x1fevery"

#: The most that a rule may remember of one target, in bytes of JSON.
MEMORY_BYTES: Final = 2048

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class EventView:
    """
    An event as rules see it: light, and decoded no further than somebody looks.

    `name` is the name as the rule's `on` or `also` has it, whatever the shop calls the event.
    `at` is when it occurred, in microseconds.
    """

    __slots__ = ("_entry", "_wire", "at", "id", "name", "properties")

    def __init__(self, entry: Entry, name: str, at: int, properties: Mapping[str, Any]) -> None:
        self._entry = entry
        self._wire: dict[str, Any] | None = None
        self.name = name
        self.at = at
        self.id = entry.id
        self.properties = properties

    @property
    def occurred_at(self) -> datetime:
        """When it occurred, in UTC."""
        return to_datetime(self.at)

    @property
    def customer(self) -> Customer:
        """The customer as the event saw them."""
        return Customer(self._entry.user_id, self._entry.anonymous_id, self._entry.session_id)

    @property
    def channel(self) -> str | None:
        """Where it happened."""
        channel: str | None = self._decoded().get("channel")
        return channel

    @property
    def context(self) -> Mapping[str, Any]:
        """What the capture knew around it."""
        context: Mapping[str, Any] = self._decoded().get("context") or {}
        return context

    def _decoded(self) -> dict[str, Any]:
        if self._wire is None:
            from journeykit.model import jsonbytes

            self._wire = jsonbytes.loads(self._entry.body)
        return self._wire or {}


class Found(NamedTuple):
    """
    One time that it hurt, as a rule's step returns it.

    `evidence` are ids of events, the newest last; empty for the event at hand.
    `severity` is the rule's own where it is None, `value` the money at stake.
    `properties` are what else the derived event tells; JSON values only.
    """

    evidence: tuple[str, ...] = ()
    severity: Severity | None = None
    value: float | None = None
    properties: Mapping[str, Any] = _NOTHING


class Stepped(NamedTuple):
    """
    What a step of a rule returns.

    `memory` is what to remember of the target, None for nothing: JSON values, 2 KB at most.
    `wake_at` is when time alone changes it, in microseconds; each step says it anew.
    `recovered` says that what was found about the target before has come to a good end.
    """

    memory: Any = None
    findings: Iterable[Found] = ()
    wake_at: int | None = None
    recovered: bool = False


class PainPointRule:
    """
    Finds one kind of friction; the base of every rule, and its defaults.

    A rule keeps nothing of its own: what it knows of a target is the memory that it is handed, so
    that the same events lead to the same findings in whatever order they arrive.

    Args:
        code: Dotted, lower case: `"cart.abandoned"`.

        on: Names of the events that it is about.

        also: Names of further events that it reads: those that end what the others have begun.

        ends: Those of `also` that can only end a memory, or say that it has recovered.
            They are left out where nothing is remembered, which saves most of their cost; what one
            would have prevented is not told, in whatever order they arrive.
            Only for rules that find the same and more where one is missing.

        severity: How much it hurts, where a finding says nothing else.

        lasts: How long a memory is kept that nothing has touched and that waits for nothing; None
            for as long as there is room.
    """

    code: str = ""
    on: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    severity: Severity = Severity.MEDIUM
    lasts: timedelta | None = None

    #: What `key` returns for an event that concerns every target that the rule remembers.
    EVERY: ClassVar[str] = EVERY

    @property
    def name(self) -> str:
        """What `[pain_points.NAME]` calls it: the code with underscores."""
        return self.code.replace(".", "_")

    def key(self, event: EventView) -> str | None:
        """
        Return what of the customer's the event is about, such as the id of a cart.

        "" where the rule is about the customer as such, None for an event that means nothing to it,
        `EVERY` for one that concerns every target that it remembers.
        """
        return ""

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Return what is remembered of the target behind *event*, and what was found."""
        raise NotImplementedError

    def wake(self, memory: Any, at: int) -> Stepped:
        """Return what has come of the target at the instant that a step has named as `wake_at`."""
        return Stepped(memory)


def rule_problem(rule: PainPointRule) -> str | None:
    """Return what keeps *rule* from being run, or None."""
    where = f"its rule {type(rule).__name__}"
    if rule.lasts is not None and not (isinstance(rule.lasts, timedelta) and rule.lasts):
        return f"{where} has lasts = {rule.lasts!r}; expected a duration longer than zero"
    if rule.severity not in tuple(Severity):
        return f"{where} has the severity {rule.severity!r}; expected one of {', '.join(Severity)}"
    if not is_code(rule.code):
        return f"{where} has the code {rule.code!r}; write it dotted and lower case, as in 'a.b'"
    return _names_problem(rule, where)


def _names_problem(rule: PainPointRule, where: str) -> str | None:
    for field in ("on", "also", "ends"):
        names = getattr(rule, field)
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            return f"{where} has {field} = {names!r}; expected a tuple of event names"
    if not set(rule.ends) <= set(rule.also):
        return f"{where} has ends = {rule.ends!r}, which also does not name"
    return None if rule.on else f"{where} reads no event; name them in on"
