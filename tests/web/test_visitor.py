from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from journeykit.web.visitor import VISIT_SECONDS, Visitor, read_visitor, seen_with

NOW = 1_772_452_800

HOSTILE = st.text(max_size=80) | st.from_regex(r"[0-9a-fA-F]{30,34}\.[0-9a-f]{14,18}\.[0-9]{0,14}")


def test_without_a_cookie_there_is_a_new_visitor() -> None:
    """Every visitor without a cookie is another one, whose cookie must be written."""
    one, other = read_visitor(None, NOW), read_visitor("", NOW)

    assert one.is_stale
    assert one.active_at == NOW
    assert one.anonymous_id != other.anonymous_id
    assert one.session_id != other.session_id


@given(st.integers(0, 10 * VISIT_SECONDS))
def test_a_visit_ends_after_half_an_hour_without_an_event(idle: int) -> None:
    """The visitor stays the same; the visit is a new one when half an hour has passed."""
    before = read_visitor(None, NOW)

    after = read_visitor(before.cookie, NOW + idle)

    assert after.anonymous_id == before.anonymous_id
    assert (after.session_id == before.session_id) is (idle <= VISIT_SECONDS)
    assert after.is_stale is (idle > 60)
    assert NOW + idle - after.active_at <= 60


@given(st.lists(st.integers(0, VISIT_SECONDS - 60), min_size=1, max_size=30))
def test_a_visit_lasts_as_long_as_something_happens(gaps: list[int]) -> None:
    """However long a visit, it is one while no gap between its events is half an hour."""
    first = visitor = read_visitor(None, NOW)
    now = NOW
    for gap in gaps:
        now += gap
        visitor = read_visitor(visitor.cookie, now)

    assert (visitor.anonymous_id, visitor.session_id) == (first.anonymous_id, first.session_id)


@given(HOSTILE, st.integers(0, 10**12 - 1))
def test_a_cookie_is_believed_only_as_far_as_its_form_goes(cookie: str, now: int) -> None:
    """Whatever a cookie holds, the ids are hexadecimal digits of the right length."""
    visitor = read_visitor(cookie, now)

    assert read_visitor(visitor.cookie, now) == Visitor(
        visitor.anonymous_id, visitor.session_id, visitor.active_at, is_stale=False
    )
    if visitor.anonymous_id not in cookie:
        assert visitor.is_stale


def test_a_cookie_of_the_future_begins_a_new_visit() -> None:
    """A clock that was wrong, or a forged time, cannot keep a visit alive for ever."""
    future = Visitor("a" * 32, "b" * 16, NOW + 10**6, is_stale=False)

    visitor = read_visitor(future.cookie, NOW)

    assert visitor.anonymous_id == "a" * 32
    assert visitor.session_id != "b" * 16
    assert (visitor.active_at, visitor.is_stale) == (NOW, True)


def test_a_visitor_stays_the_same_while_one_person_signs_in() -> None:
    """Who signs in, lets the session end and comes back is one visitor with one cookie."""
    new = read_visitor(None, NOW)
    signed_in = seen_with(new, "ada", NOW)
    assert (signed_in.anonymous_id, signed_in.is_stale) == (new.anonymous_id, True)
    assert "ada" not in signed_in.cookie

    later = read_visitor(signed_in.cookie, NOW + 30)

    assert seen_with(later, "ada", NOW + 30) == later
    assert seen_with(later, None, NOW + 30) == later
    assert not later.is_stale
    back = read_visitor(signed_in.cookie, NOW + 10 * VISIT_SECONDS)
    assert seen_with(back, "ada", back.active_at).anonymous_id == new.anonymous_id


def test_another_person_is_another_visitor() -> None:
    """Where somebody else signs in without a sign-out before, the cookie is replaced."""
    ada = seen_with(read_visitor(None, NOW), "ada", NOW)

    bob = seen_with(read_visitor(ada.cookie, NOW), "bob", NOW)

    assert bob.is_stale
    assert bob.anonymous_id != ada.anonymous_id
    assert bob.session_id != ada.session_id
    assert seen_with(read_visitor(bob.cookie, NOW), "bob", NOW).anonymous_id == bob.anonymous_id


def test_the_mark_of_a_person_names_nobody() -> None:
    """The mark in the cookie differs from browser to browser, and many people share it."""
    one, other = read_visitor(None, NOW), read_visitor(None, NOW)
    marks = {seen_with(one, f"u{number}", NOW).mark for number in range(2000)}

    assert len(marks) < 2000
    assert any(
        seen_with(one, f"u{n}", NOW).mark != seen_with(other, f"u{n}", NOW).mark for n in range(3)
    )


def test_a_cookie_of_zeros_is_nobody() -> None:
    """An id of nothing but zeros would make one visitor of all who send it."""
    forged = Visitor("0" * 32, "b" * 16, NOW, is_stale=False)

    assert read_visitor(forged.cookie, NOW).anonymous_id != "0" * 32
