from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit.model import Customer
from journeykit.model.customer import JUNK_IDS, customer_key, is_junk

ids = st.none() | st.text(max_size=5)


@given(ids, ids)
def test_a_customer_is_somebody_with_an_id(user_id: str | None, anonymous_id: str | None) -> None:
    """A customer with neither a user id nor an anonymous id is nobody, whatever the session."""
    customer = Customer(user_id, anonymous_id, "session")
    assert bool(customer) == bool(user_id or anonymous_id)


@given(ids, ids)
def test_the_known_person_comes_first(user_id: str | None, anonymous_id: str | None) -> None:
    """State is kept under the user id if there is one, else under the anonymous id."""
    key = Customer(user_id, anonymous_id).key
    assert key == (f"u:{user_id}" if user_id else f"a:{anonymous_id}")
    assert key == customer_key(user_id, anonymous_id)


@given(st.text(min_size=1))
def test_known_and_anonymous_never_share_a_key(text: str) -> None:
    """A visitor whose cookie equals somebody's user id is still another customer."""
    assert Customer(user_id=text).key != Customer(anonymous_id=text).key


@pytest.mark.parametrize(("value", "user_id"), [("u1", "u1"), (17, "17"), ("", ""), (0, "0")])
def test_an_id_becomes_a_customer(value: Any, user_id: str) -> None:
    """A text or a number is the user id of a known person."""
    assert Customer.of(value) == Customer(user_id=user_id)


def test_a_customer_stays_what_it_is() -> None:
    """A `Customer` is returned unchanged."""
    customer = Customer(anonymous_id="a1", session_id="s1")
    assert Customer.of(customer) is customer


def test_no_id_is_nobody() -> None:
    """None is nobody, and never a person of the name "None"."""
    assert not Customer.of(None)


_JUNK = ["null", "None", "NaN", "UNDEFINED", "[object Object]", "0", "true", "False", "guest"]


@pytest.mark.parametrize(
    "value", [*_JUNK, *JUNK_IDS, "", " ", " \t", '"null"', "'undefined'", " Anonymous "]
)
def test_what_programs_write_for_no_id_is_junk(value: str) -> None:
    """It is known in any case, in quotes, and with blanks around it."""
    assert is_junk(value.replace("\t", " "))


@pytest.mark.parametrize(
    "value", ["1", "00", "0-0", "nullius", "id7", "guest-17", "anonymous@example.com", "Nan Goldin"]
)
def test_an_id_that_looks_like_junk_is_somebody(value: str) -> None:
    """Only the whole id counts: what merely begins like junk is a person."""
    assert not is_junk(value)
