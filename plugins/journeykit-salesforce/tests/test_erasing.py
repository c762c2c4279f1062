from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from journeykit import Customer, DeliveryError
from journeykit.testing import make_batch, make_entry

MakeSink = Callable[..., Any]


def names(org: Any) -> list[str]:
    """Return the names of the touchpoints that are there."""
    return [each["Name"] for each in org.all("Touchpoint__c")]


def event(name: str, user_id: str | None, anonymous_id: str | None = None) -> Any:
    """Return an event of somebody."""
    return make_entry(name, user_id=user_id, anonymous_id=anonymous_id)


def test_records_of_a_customer_are_deleted(make_sink: MakeSink, org: Any) -> None:
    """The customer's touchpoints are deleted, and nobody else's; a second time there are none."""
    sink = make_sink()
    sink.deliver(make_batch(event("hers", "ada"), event("his", "bob"), event("hers", "ada")))
    first, again = sink.erase(Customer("ada")), sink.erase(Customer("ada"))

    assert (first.status, first.detail) == ("erased", "2 records deleted")
    assert (again.status, again.detail) == ("erased", "0 records deleted")
    assert names(org) == ["his"]


def test_many_records_are_deleted(make_sink: MakeSink, org: Any) -> None:
    """More records than one request deletes are deleted."""
    sink = make_sink(person="none")
    sink.deliver(make_batch(*(event("hers", "ada") for _ in range(450))))

    assert sink.erase(Customer("ada")).detail == "450 records deleted"
    assert org.all("Touchpoint__c") == []


def test_the_browser_of_two_people(make_sink: MakeSink, org: Any) -> None:
    """Of somebody else who used the same browser only the browser's id goes."""
    sink = make_sink()
    sink.deliver(make_batch(event("nobody's", None, "cookie"), event("his", "bob", "cookie")))
    assert sink.erase(Customer(None, "cookie")).status == "erased"

    (record,) = org.all("Touchpoint__c")
    assert (record["User_Id__c"], record["Anonymous_Id__c"]) == ("bob", None)


def test_ids_that_look_like_queries(make_sink: MakeSink, org: Any) -> None:
    """An id with quotes in it finds its own records and no others."""
    odd = "o'brien' OR Name != '\\"
    sink = make_sink()
    sink.deliver(make_batch(event("odd", odd), event("his", "bob")))
    sink.erase(Customer(odd))

    assert names(org) == ["his"]


def test_what_is_kept_is_told(make_sink: MakeSink, org: Any) -> None:
    """A contact is not ours to delete; the report says where to see to it."""
    org.records["Contact"] = {
        "003xx0000000001AAA": {"Id": "003xx0000000001AAA", "Journeykit_Id__c": "ada"}
    }
    result = make_sink().erase(Customer("ada"))

    assert result.status == "unsupported"
    assert "Contact" in result.detail
    assert len(org.all("Contact")) == 1


def test_a_record_that_cannot_be_deleted(make_sink: MakeSink, org: Any, server: Any) -> None:
    """Where the user may not delete, the erasure waits and says why; it does not go on for ever."""
    sink = make_sink()
    sink.deliver(make_batch(event("hers", "ada")))
    with (
        server.doing(lambda request: None if request.method != "DELETE" else _refusal()),
        pytest.raises(DeliveryError, match="could not be deleted"),
    ):
        sink.erase(Customer("ada"))


def _refusal() -> Any:
    from journeykit.testing import Reply

    return Reply.of_json([{"success": False, "errors": []}])
