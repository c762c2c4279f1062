from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit.model import Goal, Journey, Rule, Stage, Touchpoint
from journeykit.model.journey import name_problem

BAD_NAMES = ["", " ", " Cart", "Cart ", "a" * 201, "line\nbreak", "nul\x00", "\ud800", "\u200b"]


@pytest.mark.parametrize("key", ["a", "0", "checkout", "check-out", "check_out_2"])
def test_keys(key: str) -> None:
    """A key is lower-case letters, digits, '-' and '_'."""
    assert Stage(key).key == key
    assert Journey(key=key, version=1).key == key


@pytest.mark.parametrize(
    "key", ["", "Shop", "shop 1", "-shop", "_shop", "shöp", "shop\n", "a/b", 7, None, ["a"]]
)
def test_bad_keys_are_refused(key: Any) -> None:
    """Any other key is refused with an example of a good one."""
    with pytest.raises(ValueError, match="as in 'checkout'"):
        Stage(key)
    with pytest.raises(ValueError, match="as in 'checkout'"):
        Journey(key=key, version=1)


@pytest.mark.parametrize("version", [0, -1])
def test_versions_begin_at_one(version: int) -> None:
    """A version below 1 is refused."""
    with pytest.raises(ValueError, match="the first version is 1"):
        Journey(key="shop", version=version)


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("declare", [Rule, Goal, Touchpoint, lambda name: Rule("A", after=name)])
def test_bad_event_names_are_refused(declare: Any, name: str) -> None:
    """Wherever a declaration names an event, a name that `track()` would refuse is refused."""
    with pytest.raises(ValueError):
        declare(name)


@given(st.one_of(st.text(max_size=220), st.integers(), st.none(), st.binary(), st.lists(st.text())))
def test_a_name_is_good_or_has_a_problem(name: Any) -> None:
    """`name_problem` accepts exactly 1 to 200 printable characters without white space around."""
    good = (
        isinstance(name, str)
        and 1 <= len(name) <= 200
        and name.isprintable()
        and name == name.strip()
    )
    assert (name_problem(name) is None) == good


def test_a_plain_name_is_a_rule() -> None:
    """In a stage, an event's name stands for the rule without conditions."""
    stage = Stage("cart", enter=["Product Added", Rule("Cart Viewed", where={"full": True})])
    assert stage.enter == (Rule("Product Added"), Rule("Cart Viewed", where={"full": True}))


@pytest.mark.parametrize("enter", ["Purchase", "Product Added", [7], [None], 7])
def test_a_stage_takes_a_list_of_rules(enter: Any) -> None:
    """A text alone or a number is no list of rules and is refused, never taken apart."""
    with pytest.raises(TypeError, match=r"expected a list|not iterable"):
        Stage("cart", enter=enter)


@pytest.mark.parametrize("stages", ["cart", ["cart"], [None], [{"key": "cart"}]])
def test_a_journey_takes_stages(stages: Any) -> None:
    """What is no `Stage` is refused where it is declared."""
    with pytest.raises(TypeError, match=r"Stage|expected a list"):
        Journey(key="shop", version=1, stages=stages)


@pytest.mark.parametrize("personas", ["parents", [7]])
def test_personas_are_a_list_of_texts(personas: Any) -> None:
    """A single text is not taken for a list of its letters."""
    with pytest.raises(TypeError):
        Journey(key="shop", version=1, personas=personas)


def test_titles_come_from_keys() -> None:
    """Where no title is given, people read the key with a capital."""
    assert Stage("sign-up_form").title == "Sign up form"
    assert Stage("cart", title="Basket").title == "Basket"
    assert Journey(key="check_out", version=1).title == "Check out"


def test_a_journey_title_reads_like_a_stage_title() -> None:
    """Hyphens become spaces in the title of a journey, as they do in that of a stage."""
    assert Journey(key="check-out", version=1).title == Stage("check-out").title == "Check out"


def test_labels() -> None:
    """A journey's label is its key and version."""
    assert Journey(key="shop", version=3).label == "shop@3"


def test_declarations_are_values() -> None:
    """Declarations compare by content and cannot be changed."""
    one = Journey(
        key="shop",
        version=1,
        stages=[Stage("cart", enter=["Product Added"], expected=timedelta(minutes=5))],
        goal=Goal("Order Completed", value="revenue"),
    )
    other = Journey(
        key="shop",
        version=1,
        stages=(Stage("cart", enter=(Rule("Product Added"),), expected=timedelta(minutes=5)),),
        goal=Goal("Order Completed", value="revenue"),
    )
    assert one == other
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        one.version = 2  # type: ignore[misc]
