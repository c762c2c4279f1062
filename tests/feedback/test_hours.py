from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit.feedback.hours import Hours, find_zone, hours_of
from journeykit.model.hours import DAYS, parse_opening
from journeykit.model.times import to_datetime, to_micros

HOUR = 3_600_000_000
VIENNA, WEEK = "Europe/Vienna", ("mon-fri 09:00-17:00",)
ZONES = (VIENNA, "America/New_York", "Australia/Lord_Howe", "UTC", "America/Santiago")


def at(text: str, zone: str = VIENNA) -> int:
    """Return the instant that a clock on the wall shows."""
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)))


def wall(micros: int | None, zone: str = VIENNA) -> str:
    """Return what a clock on the wall shows."""
    assert micros is not None
    return f"{to_datetime(micros).astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("text", "days", "start", "end"),
    [
        ("mon-fri 09:00-17:00", {0, 1, 2, 3, 4}, 540, 1020),
        ("SAT 10:30-14:00", {5}, 630, 840),
        ("sat-mon 00:00-24:00", {5, 6, 0}, 0, 1440),
    ],
)
def test_hours_are_understood(text: str, days: set[int], start: int, end: int) -> None:
    """Hours name a day or some in a row, over the end of the week too, and the times."""
    assert parse_opening(text) == (days, start, end)


@pytest.mark.parametrize(
    "text", ["", "mon", "mon-fri", "mon-fri 9-17", "foo 09:00-17:00", "mon 25:00-26:00"]
)
def test_what_are_no_hours(text: str) -> None:
    """What names no hours is told with an example."""
    with pytest.raises(ValueError, match=r"mon-fri 09:00-17:00|ends before"):
        parse_opening(text)


def test_hours_do_not_end_before_they_begin() -> None:
    """Hours over midnight are two."""
    with pytest.raises(ValueError, match="ends before it begins"):
        parse_opening("fri 22:00-02:00")


def test_a_night_and_a_weekend_do_not_count() -> None:
    """What is due in four hours on a Friday afternoon is due on Monday."""
    hours = hours_of(WEEK, VIENNA)
    friday = at("2026-03-06 15:00")
    assert wall(hours.after(friday, 4 * HOUR)) == "Mon 2026-03-09 11:00"
    assert hours.between(friday, at("2026-03-09 11:00")) == 4 * HOUR
    assert wall(hours.after(at("2026-03-07 12:00"), 8 * HOUR)) == "Mon 2026-03-09 17:00"


def test_without_hours_the_clock_always_runs() -> None:
    """Without business hours every hour counts."""
    hours = hours_of((), VIENNA)
    assert hours.after(at("2026-03-06 15:00"), 48 * HOUR) == at("2026-03-08 15:00")


def test_over_daylight_saving_it_is_due_by_the_clock_on_the_wall() -> None:
    """Eight hours of a working day end when the day does, in summer and in winter."""
    hours = hours_of(WEEK, VIENNA)
    for day, then in (("2026-03-27", "2026-03-30"), ("2026-10-23", "2026-10-26")):
        assert wall(hours.after(at(f"{day} 16:00"), 8 * HOUR)).endswith(f"{then} 16:00")


def test_the_night_that_is_an_hour_shorter() -> None:
    """Of hours in which clocks are put forward an hour is missing, and twice there in autumn."""
    hours = hours_of(("sun 00:00-06:00",), VIENNA)
    assert hours.between(at("2026-03-29 00:00"), at("2026-03-29 12:00")) == 5 * HOUR
    assert hours.between(at("2026-10-25 00:00"), at("2026-10-25 12:00")) == 7 * HOUR


def test_pauses_move_what_is_due() -> None:
    """A clock that stands still is not due, and goes on with what was left."""
    hours, start = hours_of(WEEK, VIENNA), at("2026-03-02 09:00")
    pause = at("2026-03-02 12:00"), at("2026-03-04 10:00")
    assert hours.due(start, 5 * HOUR, [(pause[0], None)]) is None
    assert wall(hours.due(start, 5 * HOUR, [pause])) == "Wed 2026-03-04 12:00"
    assert wall(hours.due(start, 2 * HOUR, [pause])) == "Mon 2026-03-02 11:00"


OPENINGS = (
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 95), st.integers(0, 96)),
        min_size=1,
        max_size=4,
    )
    .map(
        lambda found: tuple(
            f"{DAYS[a]}-{DAYS[b]} "
            f"{min(c, d - 1) // 4:02}:{min(c, d - 1) % 4 * 15:02}-{d // 4:02}:{d % 4 * 15:02}"
            for a, b, c, d in found
            if d > 0
        )
    )
    .filter(bool)
)
INSTANTS = st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31)).map(to_micros)  # noqa: DTZ001


@given(OPENINGS, st.sampled_from(ZONES), INSTANTS, st.integers(0, 60 * 24), st.integers(0, 60 * 24))
def test_what_is_due_is_when_so_much_has_passed(
    openings: tuple[str, ...], zone: str, start: int, first: int, second: int
) -> None:
    """`after` and `between` agree on both sides of every change of clocks, and parts add up."""
    hours = hours_of(openings, zone)
    first, second = first * HOUR // 60, second * HOUR // 60
    middle = hours.after(start, first)
    assert middle is not None
    assert hours.between(start, middle) == first
    # Nothing earlier has had as much.
    assert first == 0 or hours.between(start, middle - 1) < first
    assert hours.after(middle, second) == hours.after(start, first + second)


@given(OPENINGS, st.sampled_from(ZONES), INSTANTS, st.integers(0, 14 * 24))
def test_hours_are_those_on_the_wall(
    openings: tuple[str, ...], zone: str, start: int, length: int
) -> None:
    """An hour is counted minute by minute as long as the clock on the wall is within the hours."""
    hours, parsed = hours_of(openings, zone), [parse_opening(each) for each in openings]
    start -= start % (60 * 1_000_000)
    end, minute = start + length * HOUR // 4, 60 * 1_000_000
    place = ZoneInfo(zone)
    counted = 0
    for instant in range(start, end, minute):
        moment = to_datetime(instant).astimezone(place)
        if _is_change(moment.date(), place):
            return
        minutes = moment.hour * 60 + moment.minute
        counted += any(
            moment.weekday() in each.days and each.start <= minutes < each.end for each in parsed
        )
    assert hours.between(start, end) == counted * minute


def _is_change(day: date, zone: ZoneInfo) -> bool:
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=zone)
    return len({(noon + timedelta(days=step)).utcoffset() for step in (-1, 0, 1)}) > 1


def test_a_zone_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown zone is told with an example; a machine without any is told what to install."""
    with pytest.raises(LookupError, match="Europe/Vienna"):
        find_zone("Europe/Viena")
    assert find_zone("UTC") is UTC
    monkeypatch.setattr("zoneinfo.available_timezones", set)
    with pytest.raises(LookupError, match="install the package tzdata"):
        find_zone("Europe/Viena")


def test_a_zone_that_is_gone_counts_as_utc() -> None:
    """Cases of a zone that the machine has no more go on."""
    hours = hours_of(("mon-sun 09:00-10:00",), "Nowhere/At_All")
    assert isinstance(hours, Hours)
    assert hours.between(at("2026-03-02 09:00", "UTC"), at("2026-03-02 12:00", "UTC")) == HOUR
