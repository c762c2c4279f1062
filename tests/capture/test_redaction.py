from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit import JourneyKit
from journeykit.capture.encode import encode
from journeykit.capture.redaction import KEYS, REDACTED, Redactor
from journeykit.config import Redaction
from journeykit.model import Entry

MakeEntry = Callable[..., Entry]


class Field(StrEnum):
    """Keys as an enum."""

    PASSWORD = "password"


@attrs.frozen
class Login:
    """A value with a secret field."""

    name: str
    password: str


def by_key(value: Any, **declared: Any) -> Any:
    """Return *value* as it is written once its secret keys are redacted."""
    return json.loads(Redactor(Redaction(**declared)).by_key(value, encode(value)))


def wire(entry: Entry) -> dict[str, Any]:
    """Return the decoded body of *entry*."""
    decoded: dict[str, Any] = json.loads(entry.body)
    return decoded


def redacted(entry: Entry, **declared: Any) -> tuple[Entry, Counter[str]]:
    """Return *entry* as the Log gets it, and what was counted."""
    (found,), counts = Redactor(Redaction(**declared)).entries([entry])
    return found, counts


# By key


@pytest.mark.parametrize("key", KEYS)
def test_every_default_key_is_redacted(key: str) -> None:
    """Each key of the list is redacted, also in other ways of writing it."""
    camel = key.split("_", maxsplit=1)[0] + "".join(part.title() for part in key.split("_")[1:])
    for written in (key, key.upper(), key.replace("_", "-"), key.replace("_", ""), camel):
        assert by_key({written: "hunter2", "a": 1}) == {written: REDACTED, "a": 1}


@pytest.mark.parametrize(
    "key", ["pan", "card", "password_reset_sent", "tokens", "code", "secretary", "ipin", ""]
)
def test_other_keys_stay(key: str) -> None:
    """A key that only resembles a secret one, or that shops sell by, stays."""
    assert by_key({key: "x"}) == {key: "x"}


@pytest.mark.parametrize(
    "value",
    [
        {"user": {"password": "hunter2"}},
        {"users": [{"password": "hunter2"}]},
        {"users": ({"password": "hunter2"},)},
        {"deep": [[{"a": [{"b": {"Password": {"x": ["hunter2"]}}}]}]]},
        {"login": Login("ada", "hunter2")},
        {"login": MappingProxyType({"password": "hunter2"})},
        {Field.PASSWORD: "hunter2"},
        OrderedDict(password="hunter2"),
        {"password": 1234567, "b": ["hunter" + "s"]},
    ],
    ids=repr,
)
def test_keys_are_redacted_at_any_depth(value: Any) -> None:
    """A secret key is redacted in whatever holds it, each time that it comes."""
    redactor = Redactor()
    for _ in range(2):
        text = redactor.by_key(value, encode(value)).decode()
        assert "hunter2" not in text
        assert "1234567" not in text
        assert REDACTED in text


def test_keys_are_added_and_kept_by_the_shop() -> None:
    """A shop adds keys of its own, and keeps one that is none of a secret there."""
    assert by_key({"badge-no": 7, "Token": "t"}, keys=("badge_no",), keep=("token",)) == {
        "badge-no": REDACTED,
        "Token": "t",
    }


def test_harmless_events_stay_byte_by_byte() -> None:
    """Nothing is written anew where nothing is secret."""
    redactor, value = Redactor(), {"a": 1.50, "b": {"c": [1, {"d": "{"}]}}
    encoded = encode(value)

    assert redactor.by_key(value, encoded) is encoded
    assert redactor.by_key(value, encoded) is encoded


def test_many_names_are_not_remembered_for_ever() -> None:
    """A shop that makes up keys does not fill the memory, and is redacted all the same."""
    redactor = Redactor()
    for number in range(6_000):
        redactor.is_secret(f"key{number}")

    assert len(redactor._harmless) < 5_000
    assert json.loads(redactor.by_key({"new": 1, "pwd": 2}, b'{"new":1,"pwd":2}')) == {
        "new": 1,
        "pwd": REDACTED,
    }


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "password", "Api-Key"]), inner, max_size=3)
    ),
    max_leaves=12,
)


def _expected(value: Any) -> Any:
    if isinstance(value, list):
        return [_expected(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: REDACTED if key in ("password", "Api-Key") else _expected(item)
        for key, item in value.items()
    }


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["a", "password", "c"]), _JSON, max_size=3), max_size=4
    )
)
def test_redaction_by_key_is_what_it_says(values: list[dict[str, Any]]) -> None:
    """Exactly the values of secret keys are replaced, whatever was seen before."""
    redactor = Redactor()
    for value in values:
        assert json.loads(redactor.by_key(value, encode(value))) == _expected(value)


# By pattern


@pytest.mark.parametrize(
    ("kind", "secret"),
    [
        ("card", "4111 1111 1111 1111"),
        ("email", "ada@example.com"),
        ("iban", "DE89 3704 0044 0532 0130 00"),
        ("token", "sk_live_" + "a1" * 12),
    ],
)
def test_each_kind_is_redacted_counted_and_switched_off(
    make_entry: MakeEntry, kind: str, secret: str
) -> None:
    """A secret goes from properties and context, is counted, and stays where nobody looks for it."""
    entry = make_entry(
        "X",
        {"note": f"see {secret}, please", "n": [{"deep": [secret]}], "price": 1.5},
        user_id=None if " " in secret else secret,
        anonymous_id="a",
        context={"library": "journeykit", "page": {"referrer": f"https://x.test/?q={secret}"}},
    )
    found, counts = redacted(entry)

    assert counts == {f"redacted:{kind}": 3}
    assert wire(found)["properties"] == {
        "note": f"see {REDACTED}, please",
        "n": [{"deep": [REDACTED]}],
        "price": 1.5,
    }
    assert wire(found)["context"]["page"] == {"referrer": f"https://x.test/?q={REDACTED}"}
    assert wire(found)["customer"] == wire(entry)["customer"]
    assert found[:-1] == entry[:-1]
    others = tuple({"card", "email", "iban", "token"} - {kind})
    assert redacted(entry, patterns=others) == (entry, {})
    assert redacted(entry, patterns=()) == (entry, {})


def test_ids_of_the_customer_cost_no_look(make_entry: MakeEntry) -> None:
    """A shop whose user ids are addresses keeps them, byte by byte."""
    entry = make_entry(
        "ada@example.com", {"a": 1}, user_id="ada@example.com", anonymous_id="4111111111111111"
    )

    assert redacted(entry) == (entry, {})


def test_keys_to_keep_are_kept(make_entry: MakeEntry) -> None:
    """What stands below a key to keep stays, and only that."""
    entry = make_entry(
        "X", {"Support-Email": {"to": "help@shop.example"}, "other": "help@shop.example"}
    )
    found, counts = redacted(entry, keep=("support_email",))

    assert wire(found)["properties"] == {
        "Support-Email": {"to": "help@shop.example"},
        "other": REDACTED,
    }
    assert counts == {"redacted:email": 1}


def test_numbers_and_keys_are_looked_at_too(make_entry: MakeEntry) -> None:
    """A card's number that is a number, and addresses that are keys, go as well."""
    entry = make_entry(
        "X",
        {"n": 4111111111111111, "ada@example.com": 1, "bob@example.com": 2, "at": 1772452800123},
    )
    found, counts = redacted(entry)

    assert wire(found)["properties"] == {
        "n": REDACTED,
        REDACTED: 1,
        f"{REDACTED}_": 2,
        "at": 1772452800123,
    }
    assert counts == {"redacted:card": 1, "redacted:email": 2}


def test_the_ids_of_a_trace_stay(make_entry: MakeEntry) -> None:
    """The id of a span that looks like a card's number is none."""
    trace = {"trace_id": "4" + "1" * 31, "span_id": "4111111111111111"}
    entry = make_entry(
        "X", {"m": "4111111111111111"}, context={"library": "journeykit", "trace": trace}
    )
    found, _ = redacted(entry)

    assert wire(found)["context"]["trace"] == trace
    assert wire(found)["properties"] == {"m": REDACTED}


def test_several_secrets_in_one_text(make_entry: MakeEntry) -> None:
    """Secrets beside each other, at both ends, and one inside another, all go."""
    text = (
        "ada@example.com 4111111111111111 ada@example.com/?token=4111111111111111&u=bob@example.com"
    )
    found, _ = redacted(make_entry("X", {"t": text}))

    assert wire(found)["properties"] == {
        "t": f"{REDACTED} {REDACTED} {REDACTED}/?token={REDACTED}&u={REDACTED}"
    }


@given(_JSON, st.sampled_from(["ada@example.com", "4111-1111-1111-1111", "DE89370400440532013000"]))
def test_bodies_stay_json_and_nothing_else_changes(
    make_entry: MakeEntry, value: Any, secret: str
) -> None:
    """What is redacted is valid JSON of the same form, without the secret."""
    entry = make_entry("X", {"value": value, "secret": ["é", secret, None]})
    found, _ = redacted(entry)

    assert wire(found)["properties"] == {"value": value, "secret": ["é", REDACTED, None]}


def test_an_event_that_grows_beyond_the_limit_is_kept(make_entry: MakeEntry) -> None:
    """An accepted event stays accepted, also where what stands for its secrets is longer."""
    entry = make_entry("X", {"t": " ".join(["a@b.cd"] * 4_500)})
    found, counts = redacted(entry)

    assert len(entry.body) < 32 * 1024 < len(found.body)
    assert counts == {"redacted:email": 4_500}
    assert "@" not in found.body.decode()


# The whole way


def test_history_is_redacted_like_news(make_settings: Callable[..., Any]) -> None:
    """What an import brings, and what a customer's context holds, reaches the Log redacted."""
    then = datetime(2020, 1, 1, tzinfo=UTC)
    core = {"store": "sqlite:///store.db"}
    with JourneyKit(make_settings(core=core)) as kit:
        row = {"Password": "hunter2", "note": "by ada@example.com"}
        assert kit.track_history("X", row, customer="ada@example.com", at=then, id="1")
        with kit.bind_customer("bob", context={"page": {"token": "t", "url": "/?pwd=hunter2"}}):
            assert kit.track("Y")
        assert kit.flush()
        first, second = (stored.event() for stored in kit.store.read(None, 9))
        files = [path for path in kit.settings.base.glob("store.db*") if path.is_file()]
        data = b"".join(path.read_bytes() for path in files)

    assert first.properties == {"Password": REDACTED, "note": f"by {REDACTED}"}
    assert first.customer.user_id == "ada@example.com"
    assert second.context["page"] == {"token": REDACTED, "url": f"/?pwd={REDACTED}"}
    assert b"redacted" in data
    assert b"hunter2" not in data


def test_an_event_may_shrink_to_fit_by_its_keys(make_settings: Callable[..., Any]) -> None:
    """What is redacted by key does not count for the size of an event."""
    with JourneyKit(make_settings()) as kit:
        assert kit.track("X", {"password": "x" * 40_000}, customer="ada")
