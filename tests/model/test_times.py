from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit.model import times


@given(st.integers(times.EARLIEST, times.LATEST))
def test_instants_survive_the_wire(micros: int) -> None:
    """Every instant that a datetime can hold comes back from RFC 3339 to the microsecond."""
    text = times.to_rfc3339(micros)
    assert text.endswith("Z")
    assert len(text) == len("2026-03-02T12:00:00.000000Z")
    assert times.from_rfc3339(text) == micros
    assert times.to_micros(times.to_datetime(micros)) == micros


@given(st.integers(times.EARLIEST, times.LATEST), st.integers(times.EARLIEST, times.LATEST))
def test_wire_times_sort_as_the_instants_do(one: int, other: int) -> None:
    """The text form of two instants is in the order of the instants."""
    assert (times.to_rfc3339(one) < times.to_rfc3339(other)) == (one < other)


@given(
    st.datetimes(datetime(1900, 1, 2), datetime(2200, 1, 1)),  # noqa: DTZ001
    st.integers(-23, 23),
)
def test_zones_name_the_same_instant(moment: datetime, hours: int) -> None:
    """A datetime in any zone is the instant that it names in UTC."""
    there = moment.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=hours)))
    assert times.to_micros(there) == times.to_micros(moment.replace(tzinfo=UTC))


def test_a_time_without_a_zone_is_utc() -> None:
    """A naive datetime is taken as UTC, not as the server's local time."""
    naive = datetime(2026, 3, 2, 12)  # noqa: DTZ001
    assert times.to_micros(naive) == times.to_micros(naive.replace(tzinfo=UTC))


def test_instants_count_from_the_epoch() -> None:
    """The instant zero is the first second of 1970 in UTC."""
    assert times.to_rfc3339(0) == "1970-01-01T00:00:00.000000Z"
    assert times.from_rfc3339("1970-01-01T01:00:01+01:00") == 1_000_000


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z", "12:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """A text that is not RFC 3339 raises ValueError."""
    with pytest.raises(ValueError):
        times.from_rfc3339(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("90s", 90),
        ("1.5h", 5400),
        ("5m", 300),
        ("24h", 86400),
        ("7d", 604800),
        ("2w", 1209600),
        (" 10 s ", 10),
        ("PT5M", 300),
        ("PT0.5S", 0.5),
        ("P1DT12H", 129600),
        ("P2W", 1209600),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    """A duration is a number with a unit, or ISO 8601."""
    assert times.parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "0s",
        "-1s",
        "1 year",
        "90",
        "1h30m",
        "P",
        "PT",
        "PT0S",
        "P1Y",
        "P1M",
        "٣",
        "1e3s",
        "0.0001ms",
        "1000000000d",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """A duration that is unclear, zero or negative raises ValueError and shows how to write one."""
    with pytest.raises(ValueError, match="write one such as"):
        times.parse_duration(text)


@given(st.text(max_size=12) | st.from_regex(r"\d{1,40}(\.\d{1,3})?\s?(ms|[smhdw])", fullmatch=True))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    """Whatever the text, a positive duration or a ValueError comes of it, nothing else."""
    try:
        found = times.parse_duration(text)
    except ValueError:
        return
    assert found > timedelta(0)
