"""The rules in force: which of them read an event of a name, and how a plugin's are asked."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from journeykit.model import jsonbytes
from journeykit.model.pain_point import Severity
from journeykit.model.rule import MEMORY_BYTES, Found, PainPointRule, Stepped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from journeykit.model.rule import EventView
    from journeykit.model.vocabulary import Vocabulary
    from journeykit.plugins import Plugin, Plugins

#: A rule that finds more in one step never ends, or would fill the Log.
_MOST_FINDINGS: Final = 100

_FOR_EVER: Final = 2**63


class Route(NamedTuple):
    """A rule that reads an event: its number, the rule, its name for it, and if it only ends."""

    number: int
    rule: PainPointRule
    name: str
    ends: bool


@attrs.frozen
class Rulebook:
    """
    The rules in force.

    Args:
        rules: In their order; State names them by their place, so another order is another State.

        routes: An event's name → the rules that read it.

        lasting: For each rule, how long it keeps a memory that nothing touches, in microseconds.
    """

    rules: tuple[PainPointRule, ...]
    routes: dict[str, tuple[Route, ...]]
    lasting: tuple[int, ...]

    @classmethod
    def of(cls, rules: Sequence[PainPointRule], vocabulary: Vocabulary) -> Rulebook:
        """Return *rules* with the names by which shops call what they read."""
        routes: dict[str, list[Route]] = {}
        for number, rule in enumerate(rules):
            taken: set[str] = set()
            for name in (*rule.on, *rule.also):
                for other in vocabulary.same(name):
                    if other not in taken:
                        taken.add(other)
                        routes.setdefault(other, []).append(
                            Route(number, rule, name, ends=name in rule.ends)
                        )
        lasting = [
            _FOR_EVER if rule.lasts is None else rule.lasts // timedelta(microseconds=1)
            for rule in rules
        ]
        every = {name: tuple(found) for name, found in routes.items()}
        return cls(tuple(rules), every, tuple(lasting))


class GuardedRule(PainPointRule):
    """
    A plugin's rule, asked so that it harms nobody: timed, and checked.

    Where it fails, the event is none to it; where it hangs, its plugin is tripped.
    """

    def __init__(self, rule: PainPointRule, plugin: Plugin, plugins: Plugins) -> None:
        self.code, self.on, self.also = rule.code, tuple(rule.on), tuple(rule.also)
        self.ends, self.lasts = tuple(rule.ends), rule.lasts
        self.severity = Severity(rule.severity)
        self._rule = rule
        self._plugin = plugin
        self._plugins = plugins

    def __repr__(self) -> str:
        own = repr(self._rule) if attrs.has(type(self._rule)) else type(self._rule).__qualname__
        told = self.code, self.on, self.also, self.ends, self.severity, self.lasts
        return f"{own}{told}"

    def key(self, event: EventView) -> str | None:
        """Return what the event is about; None where the rule fails."""
        return self._ask(_check_key, self._rule.key, event)  # type: ignore[no-any-return]

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Return what the rule does; the memory as it was where it fails."""
        found = self._ask(_check_stepped, self._rule.step, memory, event)
        return Stepped(memory) if found is None else found

    def wake(self, memory: Any, at: int) -> Stepped:
        """Return what the rule does; the memory as it was where it fails."""
        found = self._ask(_check_stepped, self._rule.wake, memory, at)
        return Stepped(memory) if found is None else found

    def _ask(self, check: Callable[[Any], Any], function: Callable[..., Any], *given: Any) -> Any:
        return self._plugins.ask_rule(self._plugin, self.code, check, function, *given)


def _check_key(answer: Any) -> str | None:
    if answer is None or isinstance(answer, str):
        return answer
    msg = f"expected text or None as key, got {type(answer).__name__}"
    raise TypeError(msg)


def _check_stepped(answer: Any) -> Stepped:
    if not isinstance(answer, Stepped):
        msg = f"expected Stepped, got {type(answer).__name__}"
        raise TypeError(msg)
    memory, findings, wake_at, recovered = answer
    data = jsonbytes.dumps(memory)
    if len(data) > MEMORY_BYTES:
        msg = f"a memory of {len(data)} bytes; {MEMORY_BYTES} is the most"
        raise ValueError(msg)
    if wake_at is not None and type(wake_at) is not int:
        msg = f"expected microseconds or None as wake_at, got {type(wake_at).__name__}"
        raise TypeError(msg)
    found = [_check_found(one) for one in itertools.islice(findings, _MOST_FINDINGS + 1)]
    if len(found) > _MOST_FINDINGS:
        msg = f"more than {_MOST_FINDINGS} findings in one step"
        raise ValueError(msg)
    # As it will be read again, so that a rule never sees a tuple once and a list the next time.
    return Stepped(jsonbytes.loads(data), found, wake_at, bool(recovered))


def _check_found(one: Any) -> Found:
    if not isinstance(one, Found):
        msg = f"expected Found, got {type(one).__name__}"
        raise TypeError(msg)
    evidence = tuple(map(str, one.evidence))
    severity = None if one.severity is None else Severity(one.severity)
    value = None if one.value is None else float(one.value)
    properties = jsonbytes.loads(jsonbytes.dumps(dict(one.properties)))
    return Found(evidence, severity, value, properties)
