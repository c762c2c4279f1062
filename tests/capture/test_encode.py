from __future__ import annotations

import collections
import dataclasses
import enum
import importlib.util
import json
import sys
import types
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit.capture import encode as encoding
from journeykit.capture.encode import DEPTH, Unencodable, encode


def _without_orjson() -> types.ModuleType:
    """Return the module as it is where orjson is not installed."""
    assert encoding.__file__ is not None
    spec = importlib.util.spec_from_file_location("encode_without_orjson", encoding.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "orjson", None)
        spec.loader.exec_module(module)
    assert module.orjson is None
    return module


STDLIB = _without_orjson()


class Colour(enum.Enum):
    RED = "red"
    NONE = None


class Size(enum.StrEnum):
    LARGE = "l"


class Level(enum.IntEnum):
    ONE = 1


class Point(NamedTuple):
    x: Any
    y: Any


@attrs.frozen
class Item:
    sku: Any
    price: Any = None


@dataclasses.dataclass
class Line:
    item: Any
    count: int = 1


@dataclasses.dataclass
class Private:
    _note: str


class Text(str):
    """A text of the shop's framework."""

    __slots__ = ()


class Number(float):
    """A number of the shop's framework."""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 3, 2, 12, tzinfo=UTC), "2026-03-02T12:00:00.000000Z"),
        (datetime(2026, 3, 2, 12), "2026-03-02T12:00:00.000000Z"),  # noqa: DTZ001
        (
            datetime(2026, 3, 2, 12, tzinfo=timezone(timedelta(hours=2))),
            "2026-03-02T10:00:00.000000Z",
        ),
        (date(2026, 3, 2), "2026-03-02"),
        (time(12, 30), "12:30:00"),
        (timedelta(minutes=2), 120.0),
        (Decimal("19.90"), 19.9),
        (Decimal("0.1234567890123456789"), "0.1234567890123456789"),
        (Decimal("NaN"), None),
        (Decimal("-Infinity"), None),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Colour.RED, "red"),
        (Colour.NONE, None),
        (Size.LARGE, "l"),
        (Level.ONE, 1),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        ({"a"} | {1}, ["a", 1]),
        (b"\x00\xff", "AP8="),
        (bytearray(b"a"), "YQ=="),
        (memoryview(b"a"), "YQ=="),
        (PurePosixPath("a/b"), "a/b"),
        ((1, 2), [1, 2]),
        (Point(1, 2), [1, 2]),
        (Item("x", Decimal(5)), {"sku": "x", "price": 5.0}),
        (Line(Item("x")), {"item": {"sku": "x", "price": None}, "count": 1}),
        (Private("x"), {"_note": "x"}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (float("nan"), None),
        ([float("inf"), float("-inf")], [None, None]),
        (Number("inf"), None),
        (Number(1.5), 1.5),
        (Text("a"), "a"),
        (2**80, 2**80),
        (
            {1: "a", None: "b", False: "c", 1.5: "d"},
            {"1": "a", "null": "b", "false": "c", "1.5": "d"},
        ),
        ({Colour.RED: 1, (1, 2): 2}, {"red": 1, "(1, 2)": 2}),
        ({UUID(int=7): 1}, {"00000000-0000-0000-0000-000000000007": 1}),
        ({float("nan"): 1}, {"null": 1}),
        ("a\ud800b", "a?b"),
        ({"\udfff": "\ud800"}, {"?": "?"}),
        ('"\\\n\u2028é€😀\x00', '"\\\n\u2028é€😀\x00'),
    ],
)
def test_what_people_pass(value: Any, expected: Any) -> None:
    """What people really pass has one JSON form, the same with and without orjson."""
    assert json.loads(encode({"v": value})) == {"v": expected}
    assert encode({"v": value}) == STDLIB.encode({"v": value})


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=6),
    st.text(st.characters(categories=["Cs", "Cc", "Lo"]), max_size=4),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.uuids(),
    st.binary(max_size=4),
    st.sampled_from([*Colour, Size.LARGE, Level.ONE]),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), 0.5, -0.0, 3.0]),
    st.decimals(allow_nan=True, places=2),
)
keys = st.one_of(
    st.text(max_size=4),
    st.text(st.characters(categories=["Cs", "Lo"]), max_size=2),
    st.integers(),
    st.booleans(),
    st.none(),
    st.sampled_from([Colour.RED, Size.LARGE, 1.5]),
    st.dates(),
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return strategies of everything that holds values."""
    return st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=4), inner, max_size=3),
        st.dictionaries(keys, inner, max_size=3),
        st.frozensets(st.integers() | st.text(max_size=3), max_size=3),
        st.builds(Item, inner, inner),
        st.builds(Line, inner),
        st.builds(Point, inner, inner),
    )


values = st.recursive(scalars, containers, max_leaves=12)


def outcome(encoder: Any, value: Any) -> Any:
    """Return what *encoder* makes of *value*: the bytes, or the reason against it."""
    try:
        return encoder.encode(value)
    except encoder.Unencodable as error:
        return (error.reason, error.detail)


@given(values)
def test_any_value_is_valid_json_or_has_a_reason(value: Any) -> None:
    """Whatever is passed comes out as JSON in UTF-8, or is refused with a known reason."""
    found = outcome(encoding, value)
    if isinstance(found, bytes):
        json.loads(found.decode("utf-8"), parse_constant=pytest.fail)
    else:
        assert found[0] in ("cycle", "too_deep", "unencodable")
        assert found[1]


@given(values)
def test_both_encoders_agree(value: Any) -> None:
    """With and without orjson the same value, or the same reason against it, comes out."""
    one, other = outcome(encoding, value), outcome(STDLIB, value)
    if isinstance(one, bytes) and isinstance(other, bytes):
        assert json.loads(one) == json.loads(other)
    else:
        assert one == other


plain_values = st.recursive(
    st.none()
    | st.floats(-1e15, 1e15)
    | st.floats(-1e-3, 1e-3)
    | st.booleans()
    | st.integers()
    | st.text(max_size=6)
    | st.dates()
    | st.uuids(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        | st.builds(Item, inner)
    ),
    max_leaves=12,
)


@given(plain_values)
def test_both_encoders_write_the_same_bytes(value: Any) -> None:
    """Every value has the same bytes with and without orjson, floats included."""
    assert encode(value) == STDLIB.encode(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1e-5, -1.5e-5, 9.9e-5], b"[0.00001,-0.000015,0.000099]"),
        ([1e-6, -2.5e-9, 1e-10], b"[1e-6,-2.5e-9,1e-10]"),
        ({"1e-05": "a 1e-05 b", "x": '"1e-07'}, b'{"1e-05":"a 1e-05 b","x":"\\"1e-07"}'),
    ],
)
def test_small_numbers(value: Any, expected: bytes) -> None:
    """Small numbers are written in one way by both encoders, and texts that look so stay."""
    assert encode(value) == STDLIB.encode(value) == expected


@given(st.floats())
def test_floats_keep_their_value(value: float) -> None:
    """A finite float comes back exactly, from either encoder; the others are null."""
    for encoder in (encoding, STDLIB):
        found = json.loads(encoder.encode(value))
        assert found == value or (found is None and value - value != 0)


@given(values)
def test_no_white_space(value: Any) -> None:
    """The encoded form is on one line, which is what makes a JSON line of an event."""
    found = outcome(encoding, value)
    assert isinstance(found, tuple) or b"\n" not in found


def nested(depth: int) -> list[Any]:
    """Return lists, *depth* of them, one in the other."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize("encoder", [encoding, STDLIB])
@pytest.mark.parametrize("depth", [DEPTH + 1, 100, 300, 900, 5_000])
def test_too_deep(encoder: Any, depth: int) -> None:
    """Beyond 64 levels a value is refused, wherever an encoder has its own limit."""
    for value in (nested(depth), {1: nested(depth - 1)}):
        with pytest.raises(encoder.Unencodable) as caught:
            encoder.encode(value)
        assert caught.value.reason == "too_deep"


@pytest.mark.parametrize("encoder", [encoding, STDLIB])
def test_deep_enough(encoder: Any) -> None:
    """64 levels are accepted, and so are any number of containers beside each other."""
    assert encoder.encode(nested(DEPTH)) == b"[" * DEPTH + b"]" * DEPTH
    assert encoder.encode([[]] * 500) == b"[" + b",".join([b"[]"] * 500) + b"]"
    assert encoder.encode("[" * 500) == b'"' + b"[" * 500 + b'"'


def cycles() -> Iterator[Any]:
    """Yield values that contain themselves."""
    listed: list[Any] = []
    listed.append(listed)
    yield listed
    mapped: dict[Any, Any] = {}
    mapped["self"] = [mapped]
    yield mapped
    numbered: dict[Any, Any] = {}
    numbered[1] = numbered
    yield numbered
    line = Line(None)
    line.item = [line]
    yield line


@pytest.mark.parametrize("encoder", [encoding, STDLIB])
@pytest.mark.parametrize("value", [*cycles()], ids=["list", "dict", "int keys", "dataclass"])
def test_cycles(encoder: Any, value: Any) -> None:
    """A value that contains itself is refused as that."""
    with pytest.raises(encoder.Unencodable) as caught:
        encoder.encode(value)
    assert caught.value.reason == "cycle"


def test_the_same_value_twice_is_no_cycle() -> None:
    """A value may occur twice beside itself."""
    shared = {1: [float("nan")]}
    assert json.loads(encode([shared, shared])) == [{"1": [None]}] * 2


class Hostile(Mapping[str, Any]):
    """A mapping whose values cannot be read."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("secret")

    def __iter__(self) -> Iterator[str]:
        yield "key"

    def __len__(self) -> int:
        return 1


def _half_made() -> Item:
    return Item.__new__(Item)


@pytest.mark.parametrize("encoder", [encoding, STDLIB])
@pytest.mark.parametrize(
    "value",
    [
        object(),
        len,
        Item,
        Line,
        (number for number in ()),
        {1: object()},
        complex(1, 2),
        Hostile(),
        _half_made(),
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=5))),
        {"when": datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))},
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_json_form(encoder: Any, value: Any) -> None:
    """What has no JSON form is refused with its type, and with nothing of its content."""
    with pytest.raises(encoder.Unencodable, match="has no JSON form") as caught:
        encoder.encode(value)
    assert caught.value.reason == "unencodable"
    assert "secret" not in caught.value.detail


def test_a_reason_is_an_error() -> None:
    """The error's text is its detail."""
    assert str(Unencodable("cycle", "a value contains itself")) == "a value contains itself"
