from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit.capture.history import BadValue, Mapper
from journeykit.capture.rows import Row
from journeykit.model.customer import Customer
from journeykit.model.times import to_micros

MAPPING = {"customer": "who", "anonymous": "cookie", "session": "visit", "name": "what", "at": "on"}
NEEDED = {"who": "u1", "what": "home", "on": "2024-03-13 10:21:14"}
BERLIN = ZoneInfo("Europe/Berlin")

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


def _row(columns: Mapping[str, Any], line: int = 2) -> Row:
    return Row(line, json.dumps(columns, default=str), columns)


def _mapper(zone: tzinfo = UTC, source: str = "shop", **columns: str) -> Mapper:
    return Mapper(columns={**MAPPING, **columns}, source=source, zone=zone)


def _at(text: object, zone: tzinfo = UTC) -> datetime:
    return _mapper(zone).event(_row({**NEEDED, "on": text})).at


def test_columns_become_the_parts_of_an_event() -> None:
    """Mapped columns are the event's parts; every other one that is not empty is a property."""
    row = _row({**NEEDED, "cookie": "c1", "visit": "s1", "price": 9.5, "note": "", "gone": None})

    event = _mapper().event(row)

    assert event.customer == Customer("u1", "c1", "s1")
    assert (event.name, event.properties) == ("home", {"price": 9.5})
    assert event.at == datetime(2024, 3, 13, 10, 21, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-03-13 10:21:14", datetime(2024, 3, 13, 9, 21, 14, tzinfo=UTC)),
        (" 2024-03-13T10:21:14 ", datetime(2024, 3, 13, 9, 21, 14, tzinfo=UTC)),
        ("2024-07-13 10:21:14.5", datetime(2024, 7, 13, 8, 21, 14, 500_000, tzinfo=UTC)),
        ("2024-03-13", datetime(2024, 3, 12, 23, tzinfo=UTC)),
        ("20240313", datetime(2024, 3, 12, 23, tzinfo=UTC)),
        ("2024-03-13T10:21:14Z", datetime(2024, 3, 13, 10, 21, 14, tzinfo=UTC)),
        ("2024-03-13 10:21:14+05:30", datetime(2024, 3, 13, 4, 51, 14, tzinfo=UTC)),
        ("1710325274", datetime(2024, 3, 13, 10, 21, 14, tzinfo=UTC)),
        (1710325274.5, datetime(2024, 3, 13, 10, 21, 14, 500_000, tzinfo=UTC)),
        ("1710325274123", datetime(2024, 3, 13, 10, 21, 14, 123_000, tzinfo=UTC)),
        (1710325274123456, datetime(2024, 3, 13, 10, 21, 14, 123_456, tzinfo=UTC)),
        ("-1", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (datetime(2024, 3, 13, 10, tzinfo=UTC), datetime(2024, 3, 13, 10, tzinfo=UTC)),
    ],
)
def test_times_are_read_in_the_usual_forms(text: object, expected: datetime) -> None:
    """ISO 8601 without a zone takes the mapper's; numbers are seconds, milli- or microseconds."""
    assert _at(text, BERLIN) == expected


@given(st.datetimes(), st.sampled_from([UTC, BERLIN, ZoneInfo("America/St_Johns")]))
def test_a_time_without_a_zone_takes_the_one_of_the_import(at: datetime, zone: tzinfo) -> None:
    """What a file says without a zone is the wall clock of the zone that the import names."""
    assert _at(str(at), zone).replace(tzinfo=None) == at
    assert _at(str(at), zone).tzinfo is zone


@given(st.datetimes(timezones=st.timezones()))
def test_a_time_with_a_zone_keeps_it(at: datetime) -> None:
    """A time that says its zone is that instant, whatever zone the import names."""
    # Not ==, which is never true of an hour that a zone has twice.
    assert to_micros(_at(at.isoformat(), BERLIN)) == to_micros(at)


@pytest.mark.parametrize(
    "text",
    ["yesterday", "13/03/2024", "2024-13-01", "nan", "inf", "-inf", "1e400", "-1e17", "²²²²²²²²"],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """A text that names no instant is refused with its column and what was expected."""
    with pytest.raises(BadValue, match=r"column 'on': '.+' is no time; expected ISO 8601 such as"):
        _at(text)


def test_a_long_text_that_is_no_time_is_shortened() -> None:
    """The message about a bad time stays short, however long the cell is."""
    with pytest.raises(BadValue) as caught:
        _at("x" * 10_000)

    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"what": ""}, "column 'what': is empty"),
        ({"what": "  "}, "column 'what': is empty"),
        ({"on": None}, "column 'on': is empty"),
        ({"who": ""}, "column 'who' and 'cookie': is empty; an event needs a customer"),
        ({"who": ["u1"]}, "column 'who': expected a text or a number, got ['u1']"),
        ({"visit": {"id": 1}}, "column 'visit': expected a text or a number, got {'id': 1}"),
        ({"what": True}, "column 'what': expected a text or a number, got True"),
    ],
)
def test_what_an_event_cannot_do_without_is_named(change: dict[str, Any], message: str) -> None:
    """A row that lacks its name, time or customer is refused with the column and the reason."""
    with pytest.raises(BadValue) as caught:
        _mapper().event(_row({**NEEDED, **change}))

    assert str(caught.value) == message


def test_an_anonymous_customer_is_enough() -> None:
    """A row without a known customer is the anonymous one's, and numbers serve as ids."""
    event = _mapper().event(_row({**NEEDED, "who": None, "cookie": 7}))

    assert event.customer == Customer(None, "7", None)


@given(st.dictionaries(st.sampled_from(["who", "cookie", "visit", "what", "on", "x"]), JSON_VALUES))
def test_any_row_becomes_an_event_or_is_refused(columns: dict[str, Any]) -> None:
    """Whatever JSON a row holds, there is an event with a customer, or a `BadValue`."""
    try:
        event = _mapper().event(_row(columns))
    except BadValue:
        return
    assert event.customer
    assert event.name
    assert event.id
    assert event.at.tzinfo is not None


def test_an_id_of_the_file_is_the_events_id() -> None:
    """A column mapped to the id gives the event its id; rows without one get one made for them."""
    mapper = _mapper(id="number")

    assert mapper.event(_row({**NEEDED, "number": "e-1"})).id == "e-1"
    assert len(mapper.event(_row({**NEEDED, "number": ""})).id) == 36


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from("ab"), st.sampled_from("ab"))
def test_a_made_id_tells_rows_apart_and_knows_them_again(
    line: int, other_line: int, source: str, other_source: str
) -> None:
    """The id of a row without one depends on source and line, so identical rows are two events."""
    one = _mapper(source=source).event(_row(NEEDED, line)).id
    other = _mapper(source=other_source).event(_row(NEEDED, other_line)).id

    assert (one == other) is ((line, source) == (other_line, other_source))


def test_a_made_id_does_not_depend_on_the_line_ending() -> None:
    """The same file with other line endings is the same file."""
    ids = {_mapper().event(Row(2, f"u1,home{end}", NEEDED)).id for end in ("\n", "\r\n", "")}

    assert len(ids) == 1


def test_made_ids_sort_by_time() -> None:
    """The id of an earlier event sorts before that of a later one."""
    early = _mapper().event(_row({**NEEDED, "on": "2024-01-01"})).id
    late = _mapper().event(_row({**NEEDED, "on": "2024-01-02"})).id

    assert early < late


def test_missing_columns_are_listed() -> None:
    """Columns that are mapped and not there are listed as the file would name them."""
    assert _mapper().missing(NEEDED) == ["cookie", "visit"]
    assert _mapper().missing({**NEEDED, "cookie": "", "visit": ""}) == []
