from __future__ import annotations

from collections.abc import Callable

import pytest

from journeykit.model import Entry
from journeykit.model.consent import UNASKED, Stamp, is_purpose, names, stamp_of
from journeykit.model.event import ASKED, DENIED

A, M, E = "analytics", "marketing", "export:crm"


def stamp(granted: set[str] | None, *denied: str) -> Stamp:
    """Return a stamp."""
    return Stamp(None if granted is None else frozenset(granted), frozenset(denied))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("analytics", True),
        ("contact_followup", True),
        ("export:crm", True),
        ("export:*", True),
        ("*", True),
        ("Marketing", False),
        ("", False),
        ("a b", False),
        ("export:", False),
        (None, False),
        (7, False),
    ],
)
def test_purposes_have_a_form(value: object, expected: bool) -> None:
    """A purpose is lower-case words, with the name of a sink behind a colon if need be."""
    assert is_purpose(value) is expected


@pytest.mark.parametrize(
    ("purposes", "purpose", "expected"),
    [
        ({A}, A, True),
        ({A}, M, False),
        ({"*"}, A, True),
        ({"*"}, E, True),
        ({"export:*"}, E, True),
        ({"export:*"}, A, False),
        ({"export:*"}, "export", False),
        ({E}, "export:other", False),
        (set(), A, False),
    ],
)
def test_a_star_names_all(purposes: set[str], purpose: str, expected: bool) -> None:
    """A star names every purpose, or every one behind its colon."""
    assert names(purposes, purpose) is expected


@pytest.mark.parametrize("unasked", [True, False])
def test_three_answers_are_told_apart(unasked: bool) -> None:
    """What is granted is allowed, what is denied or not on the list is not, and else the mode decides."""
    assert stamp({M}).allows(M, unasked=unasked) is True
    assert stamp({A}).allows(M, unasked=unasked) is False
    assert stamp({M}, M).allows(M, unasked=unasked) is False
    assert stamp(None, M).allows(M, unasked=unasked) is False
    assert stamp(None, M).allows(A, unasked=unasked) is unasked
    assert UNASKED.allows(M, unasked=unasked) is unasked


@pytest.mark.parametrize(
    ("before", "granted", "denied", "opt_out", "opt_in"),
    [
        (stamp(None), {M}, set(), stamp({A, M}), stamp({M})),
        (stamp(None), {M}, {A}, stamp({M}, A), stamp({M}, A)),
        (stamp(None), set(), {M}, stamp(None, M), stamp(None, M)),
        (stamp(None, A), {M}, set(), stamp({M}, A), stamp({M}, A)),
        (stamp({A}), {M}, set(), stamp({A, M}), stamp({A, M})),
        (stamp({A, M}), set(), {M}, stamp({A}, M), stamp({A}, M)),
        (stamp({A}, M), {M}, set(), stamp({A, M}), stamp({A, M})),
        (stamp({A}, "export:*"), {E}, set(), stamp({A, E}, "export:*"), stamp({A, E}, "export:*")),
    ],
)
def test_a_choice_changes_what_it_names(
    before: Stamp, granted: set[str], denied: set[str], opt_out: Stamp, opt_in: Stamp
) -> None:
    """A choice adds and takes away; a customer of an opt-out shop who agrees to more stays recorded."""
    for unasked, expected in ((True, opt_out), (False, opt_in)):
        assert before.after(frozenset(granted), frozenset(denied), unasked=unasked) == expected


@pytest.mark.parametrize(
    ("known", "flags"),
    [
        (stamp(None), 0),
        (stamp(set()), ASKED),
        (stamp({A, M}), ASKED),
        (stamp(None, E), DENIED),
        (stamp({A}, E), ASKED | DENIED),
    ],
)
@pytest.mark.parametrize(
    "more", [{}, {"occurred_at": "x"}, {"page": {"n": 1, "occurred_at": "y", "purposes": ["z"]}}]
)
def test_the_stamp_is_read_back(
    make_entry: Callable[..., Entry], known: Stamp, flags: int, more: dict[str, object]
) -> None:
    """The stamp on an event is the one it was made with, whatever else its context has."""
    entry = make_entry(
        user_id='"context":{"purposes":["evil"]}',
        context={"library": "j", **known.to_context(), **more},
    )

    assert known.flags == flags
    assert stamp_of(flags, entry.body) == known


def test_an_event_without_flags_is_not_decoded() -> None:
    """Where nobody was asked, nothing is read."""
    assert stamp_of(3, b"no JSON") == UNASKED
