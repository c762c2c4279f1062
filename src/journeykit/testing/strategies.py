"""Hypothesis strategies for what plugins are handed, and for what they may declare."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st

from journeykit.model.customer import Customer
from journeykit.model.event import Entry, Event, Kind, Stored
from journeykit.model.journey import Exit, Goal, Journey, Rule, Stage
from journeykit.model.vocabulary import STANDARD_NAMES
from journeykit.testing.events import make_batch, make_entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import SearchStrategy

    from journeykit.delivery.sink import Batch

#: Properties that shops send with their events, and rules and sinks look for.
USUAL_PROPERTIES: Final = (
    "cart_id",
    "checkout_id",
    "code",
    "coupon_id",
    "currency",
    "email",
    "error",
    "order_id",
    "price",
    "product_id",
    "products",
    "quantity",
    "query",
    "results",
    "revenue",
    "url",
    "value",
)

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_printable = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _text
)


def json_values() -> SearchStrategy[Any]:
    """Values as they come out of JSON, two levels deep."""
    keys = _text.filter(bool)
    inside = _scalars | st.lists(_scalars, max_size=2)
    return _scalars | st.lists(inside, max_size=3) | st.dictionaries(keys, inside, max_size=3)


def properties() -> SearchStrategy[dict[str, Any]]:
    """Properties of an event: names that shops use and names that nobody does, with any value."""
    names = st.sampled_from(USUAL_PROPERTIES) | _text.filter(bool)
    return st.dictionaries(names, json_values(), max_size=5)


def customers() -> SearchStrategy[Customer]:
    """Customers that are known, anonymous, or both."""
    ids = st.sampled_from(["u1", "u2"]) | _printable
    both = st.builds(Customer, ids, st.none() | ids, st.none() | _printable)
    return both | st.builds(Customer, st.none(), ids, st.none() | _printable)


def event_names() -> SearchStrategy[str]:
    """Standard names, and names of a shop's own."""
    return st.sampled_from(sorted(STANDARD_NAMES)) | _printable


@st.composite
def entries(
    draw: st.DrawFn,
    names: SearchStrategy[str] | None = None,
    kinds: Sequence[Kind] = tuple(Kind),
) -> Entry:
    """Events as `track` and the projector write them."""
    kind = draw(st.sampled_from(kinds))
    who = draw(customers())
    more: dict[str, Any] = {}
    if kind is Kind.FACT:
        more = {"actor": draw(st.sampled_from(["app", "operator"])), "reason": draw(_text)}
    elif kind is Kind.DERIVED:
        more = {"journey": "shop", "version": 1, "stage": draw(_printable), "instance": ""}
    return make_entry(
        draw(names or event_names()),
        draw(properties()),
        user_id=who.user_id,
        anonymous_id=who.anonymous_id,
        session_id=who.session_id,
        at=draw(st.integers(-(10**8), 10**8)) / 1000,
        kind=kind,
        channel=draw(st.none() | st.sampled_from(["web", "store", "phone"])),
        **more,
    )


@st.composite
def events(
    draw: st.DrawFn,
    names: SearchStrategy[str] | None = None,
    kinds: Sequence[Kind] = tuple(Kind),
) -> Event:
    """Events as plugins see them."""
    entry = draw(entries(names, kinds))
    return Stored(1, entry.occurred_at, entry).event()


def batches(
    names: SearchStrategy[str] | None = None,
    kinds: Sequence[Kind] = tuple(Kind),
    *,
    max_size: int = 10,
) -> SearchStrategy[Batch]:
    """Batches as sinks are handed them."""
    drawn = st.lists(entries(names, kinds), max_size=max_size)
    return drawn.map(lambda each: make_batch(*each))


@st.composite
def journeys(draw: st.DrawFn) -> Journey:
    """Journeys of one to five stages, by standard names, with and without goal and exits."""
    names = draw(
        st.lists(st.sampled_from(sorted(STANDARD_NAMES)), min_size=3, max_size=7, unique=True)
    )
    *entering, goal, leaving = names
    stages = [
        Stage(f"stage_{number}", enter=[Rule(name)], expected=draw(_durations))
        for number, name in enumerate(entering)
    ]
    return Journey(
        key=draw(st.sampled_from(["shop", "returns", "club"])),
        version=draw(st.integers(1, 9)),
        stages=stages,
        instance_by=draw(st.none() | st.just("cart_id")),
        goal=draw(st.none() | st.just(Goal(goal))),
        exits=draw(st.just(()) | st.just((Exit(leaving),))),
    )


_durations = st.none() | st.integers(1, 10**6).map(lambda seconds: timedelta(seconds=seconds))
