from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit.model.vocabulary import (
    ALIASES,
    AMBIGUOUS,
    MEANINGS,
    PAGE_VIEWED,
    STANDARD_NAMES,
    Vocabulary,
)

FACTS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "data" / "vocabulary.json").read_text(encoding="utf-8")
)
CLEAR = {alias: names[0] for alias, names in FACTS["meanings"].items() if len(names) == 1}
UNCLEAR = {alias: names for alias, names in FACTS["meanings"].items() if len(names) > 1}

names = st.sampled_from(sorted({*STANDARD_NAMES, *MEANINGS, "Own Name", "Other Name"}))
own_names = st.dictionaries(st.sampled_from(["Own Name", "Other Name", "share"]), names, max_size=3)


def test_the_standard_names_are_those_of_segment() -> None:
    """The built-in names are all of Segment's specifications, and the page view."""
    expected = {name for group in FACTS["standard"].values() for name in group}
    assert expected | {PAGE_VIEWED} == STANDARD_NAMES


@pytest.mark.parametrize(("alias", "name"), sorted(CLEAR.items()))
def test_a_clear_name_means_one_standard_name(alias: str, name: str) -> None:
    """A name of GA4 or Snowplow with one meaning is accepted as that."""
    assert ALIASES[alias] == name
    assert Vocabulary().standard(alias) == name
    assert Vocabulary().doubt(alias) == ()


@pytest.mark.parametrize(("alias", "meant"), sorted(UNCLEAR.items()))
def test_an_unclear_name_is_ambiguous(alias: str, meant: list[str]) -> None:
    """A name of GA4 or Snowplow with several meanings is no alias; all its meanings are told."""
    assert alias not in ALIASES
    assert sorted(AMBIGUOUS[alias]) == meant
    assert sorted(Vocabulary().doubt(alias)) == meant
    assert Vocabulary().standard(alias) == alias


def test_there_are_unclear_names() -> None:
    """The facts hold names of both sorts, so that the tests above look at something."""
    assert set(UNCLEAR) == {"checkout_step", "list_view", "share"}
    assert len(CLEAR) > 20


def test_older_segment_names_are_accepted() -> None:
    """What older Segment versions called an event still means it."""
    for alias, name in FACTS["older"].items():
        assert ALIASES[alias] == name


def test_every_alias_has_a_source() -> None:
    """No alias was made up: each is in the facts, or is Segment's own page call."""
    assert set(MEANINGS) - {"page"} == {*FACTS["meanings"], *FACTS["older"]}


def test_every_meaning_is_a_standard_name() -> None:
    """An alias leads to a name that exists, and no standard name is itself an alias."""
    assert {name for meant in MEANINGS.values() for name in meant} <= STANDARD_NAMES
    assert not STANDARD_NAMES & set(MEANINGS)


def test_tables_cannot_be_changed() -> None:
    """The tables are read-only, so that one shop in a process cannot change another's names."""
    for table in (MEANINGS, ALIASES, AMBIGUOUS):
        with pytest.raises(TypeError):
            table["new"] = "Order Completed"  # type: ignore[index]


def test_own_names_mean_what_the_shop_says() -> None:
    """A shop's own name counts as the standard name that it declared."""
    vocabulary = Vocabulary({"Basket Filled": "Product Added"})
    assert vocabulary.standard("Basket Filled") == "Product Added"
    assert set(vocabulary.same("Product Added")) == {
        "Product Added",
        "add_to_cart",
        "Basket Filled",
    }


def test_a_declared_name_means_itself() -> None:
    """A touchpoint called like an alias is the shop's own event, clear or not."""
    vocabulary = Vocabulary(declared=["search", "share"])
    assert vocabulary.standard("search") == "search"
    assert vocabulary.same("Products Searched") == ("Products Searched", "view_search_results")
    assert vocabulary.doubt("share") == ()


def test_own_meaning_ends_the_doubt() -> None:
    """A shop that says what an unclear name means there is not asked again."""
    vocabulary = Vocabulary({"share": "Product Shared"})
    assert vocabulary.doubt("share") == ()
    assert vocabulary.standard("share") == "Product Shared"


@given(own_names, names)
def test_same_is_what_has_the_same_standard(own: dict[str, str], name: str) -> None:
    """`same` gives each name once, the asked one first, and only names of one meaning."""
    vocabulary = Vocabulary(own)
    same = vocabulary.same(name)
    assert same[0] == name
    assert len(set(same)) == len(same)
    standard = vocabulary.standard(name)
    assert all(vocabulary.standard(other) == standard for other in same if other != standard)
    assert standard in same
