from __future__ import annotations

import random
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit.capture.ids import RandomIds, hashed_id, id_behind

#: From 1970 to the year 9999, where 48 bits of milliseconds do not end.
instants = st.integers(0, 253_402_300_799_999_999)
parts = st.lists(st.text(max_size=6) | st.integers() | st.none(), max_size=4)


@given(instants, st.integers())
def test_random_ids_are_uuids_of_version_7(micros: int, seed: int) -> None:
    """A random id is a UUID version 7 whose first 48 bits are the milliseconds."""
    text = RandomIds(random.Random(seed)).new(micros)
    parsed = UUID(text)
    assert str(parsed) == text
    assert (parsed.version, parsed.variant) == (7, RFC_4122)
    assert parsed.int >> 80 == micros // 1000


@given(instants, parts)
def test_hashed_ids_are_uuids_of_version_8(micros: int, of: list[object]) -> None:
    """A hashed id is a UUID version 8 whose first 48 bits are the milliseconds."""
    text = hashed_id(micros, *of)
    parsed = UUID(text)
    assert str(parsed) == text
    assert (parsed.version, parsed.variant) == (8, RFC_4122)
    assert parsed.int >> 80 == micros // 1000


@given(instants, instants, st.integers())
def test_ids_sort_by_time(one: int, other: int, seed: int) -> None:
    """The texts of ids from different milliseconds are in the order of time, whatever the kind."""
    source = RandomIds(random.Random(seed))
    early, late = sorted((one, other))
    if early // 1000 == late // 1000:
        return
    assert source.new(early) < source.new(late)
    assert hashed_id(early, "z") < source.new(late)
    assert source.new(early) < hashed_id(late, "a")


def test_random_ids_differ() -> None:
    """Ids of one instant differ, in all of their 74 random bits."""
    source = RandomIds(random.Random(7))
    ids = [UUID(source.new(0)).int for _ in range(2_000)]
    assert len(set(ids)) == len(ids)
    ever, always = 0, (1 << 128) - 1
    for number in ids:
        ever |= number
        always &= number
    assert (ever & ~always).bit_count() == 74


@given(instants, parts)
def test_hashed_ids_are_the_same_again(micros: int, of: list[object]) -> None:
    """The same parts at the same instant give the same id."""
    assert hashed_id(micros, *of) == hashed_id(micros, *of)


def test_hashed_ids_stay_the_same() -> None:
    """The hash is part of the promise that a rebuild writes nothing twice: it never changes."""
    assert hashed_id(1_772_452_800_000_000, "stage.entered", "c", "shop", 1) == (
        "019cae6b-6600-88e6-9d90-bac24efaa5f9"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [(("a",), ("b",)), (("a", "b"), ("b", "a")), (("ab", "c"), ("a", "bc")), (("a",), ("a", ""))],
)
def test_other_parts_give_another_id(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """What the parts are, and where each ends, both count."""
    assert hashed_id(0, *one) != hashed_id(0, *other)


@given(instants, st.integers())
def test_an_id_stands_behind_its_cause(micros: int, seed: int) -> None:
    """A derived id begins with the time of its cause, so that both stay together."""
    for cause in (RandomIds(random.Random(seed)).new(micros), hashed_id(micros, seed)):
        derived = id_behind(cause, 0, b"stage.entered")
        assert derived[:13] == cause[:13]
        assert derived == id_behind(cause, 99, b"stage.entered")


@pytest.mark.parametrize(
    "cause",
    [
        "order-1",
        "",
        "00000000-0000-4000-8000-000000000000",
        "zzzzzzzz-zzzz-7zzz-8zzz-zzzzzzzzzzzz",
        "a" * 36,
    ],
)
def test_a_cause_without_time_takes_the_fallback(cause: str) -> None:
    """An id of the shop's own, or of another UUID version, lends no time."""
    assert UUID(id_behind(cause, 5_000_000, b"x")).int >> 80 == 5_000


def test_before_1970_is_1970() -> None:
    """An id has no sign: an instant before the epoch counts as the epoch."""
    assert UUID(RandomIds(random.Random(1)).new(-5_000_000)).int >> 80 == 0
