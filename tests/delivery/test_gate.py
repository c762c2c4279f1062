from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from journeykit.delivery.gate import Gate
from journeykit.model import Entry
from journeykit.model.consent import Stamp
from journeykit.model.extension import SinkOptions

MakeEntry = Callable[..., Entry]


def stamped(
    make_entry: MakeEntry, granted: list[str] | None, denied: list[str], **page: Any
) -> Entry:
    """Return an event that was stamped with this."""
    stamp = Stamp(None if granted is None else frozenset(granted), frozenset(denied))
    return make_entry(
        flags=stamp.flags, context={"library": "journeykit", **stamp.to_context(), **page}
    )


def passes(gate: Gate, entry: Entry) -> bool:
    """Return whether the event goes through, at first sight and when it is known."""
    (first, second) = (not gate.stops(entry), not gate.stops(entry))
    assert first is second
    return first


@pytest.mark.parametrize("third_party", [True, False])
@pytest.mark.parametrize("opt_in", [True, False])
def test_a_sink_without_a_purpose_gets_what_was_captured(
    make_entry: MakeEntry, third_party: bool, opt_in: bool
) -> None:
    """Without a purpose, only a denied export keeps an event from a third party's sink."""
    gate = Gate("crm", None, third_party=third_party, opt_in=opt_in)

    assert passes(gate, stamped(make_entry, None, []))
    assert passes(gate, stamped(make_entry, ["analytics"], []))
    assert passes(gate, stamped(make_entry, [], ["marketing", "export:other"]))
    for denied in ("export:*", "export:crm", "*"):
        assert passes(gate, stamped(make_entry, None, [denied])) is not third_party
        assert (
            passes(gate, stamped(make_entry, ["analytics", "export:crm"], [denied]))
            is not third_party
        )


@pytest.mark.parametrize("opt_in", [True, False])
def test_a_sink_with_a_purpose_gets_what_was_agreed_to(make_entry: MakeEntry, opt_in: bool) -> None:
    """A purpose must be granted; where nobody was asked, the mode decides."""
    gate = Gate("crm", "marketing", third_party=False, opt_in=opt_in)

    assert passes(gate, stamped(make_entry, ["analytics", "marketing"], []))
    assert passes(gate, stamped(make_entry, ["marketing"], ["export:*"]))
    assert not passes(gate, stamped(make_entry, ["analytics"], []))
    assert not passes(gate, stamped(make_entry, None, ["marketing"]))
    assert passes(gate, stamped(make_entry, None, [])) is not opt_in
    assert passes(gate, stamped(make_entry, None, ["export:*"])) is not opt_in


def test_a_third_party_needs_both(make_entry: MakeEntry) -> None:
    """A third party's sink with a purpose gets what was granted and not denied to be exported."""
    gate = Gate("crm", "marketing", third_party=True, opt_in=False)

    assert passes(gate, stamped(make_entry, ["marketing"], []))
    assert not passes(gate, stamped(make_entry, ["marketing"], ["export:*"]))


def test_contexts_that_begin_alike_are_told_apart(make_entry: MakeEntry) -> None:
    """What is remembered of one page is not taken for another's."""
    gate = Gate("crm", "marketing", third_party=True, opt_in=False)
    page = {"page": {"a": 1, "occurred_at": "x"}}

    assert passes(gate, stamped(make_entry, ["analytics", "marketing"], [], **page))
    assert not passes(gate, stamped(make_entry, ["analytics"], [], **page))
    for number in range(100):
        trace = {"trace_id": f"{number:032x}", "span_id": "0" * 16}
        assert passes(gate, stamped(make_entry, ["marketing"], [], page="p", trace=trace))
        assert not passes(gate, stamped(make_entry, ["feedback"], [], page="p", trace=trace))


@pytest.mark.parametrize(
    ("said", "configured", "expected"),
    [
        ({}, None, True),
        ({"third_party": False}, None, False),
        ({"third_party": False}, True, True),
        ({}, False, False),
    ],
)
def test_a_sink_is_a_third_partys_unless_somebody_says_otherwise(
    said: dict[str, bool], configured: bool | None, expected: bool
) -> None:
    """The configuration counts more than what the sink says, and that more than the default."""
    sink = type("Sink", (), {"name": "crm", **said})()
    gate = Gate.of(sink, SinkOptions(third_party=configured, purpose="marketing"), opt_in=False)

    assert (gate.third_party, gate.purpose) == (expected, "marketing")


def test_a_sink_built_in_python_has_a_purpose_of_its_own() -> None:
    """A sink that no configuration names says itself what it is for."""
    sink = type("Sink", (), {"name": "crm", "purpose": "feedback"})()

    assert Gate.of(sink, SinkOptions(), opt_in=False).purpose == "feedback"
    assert Gate.of(sink, SinkOptions(purpose="marketing"), opt_in=False).purpose == "marketing"
