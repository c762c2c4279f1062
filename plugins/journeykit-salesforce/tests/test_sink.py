from __future__ import annotations

import json
import logging
import ssl
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import trustme

from journeykit import DeliveryError
from journeykit.model.event import Entry, Kind
from journeykit.testing import Delivering, Fault, FaultyServer, Reply, make_batch, make_entry
from journeykit_salesforce import errors
from journeykit_salesforce.usage import PAUSE

MakeSink = Callable[..., Any]

JSON = {"Content-Type": "application/json"}


def entered(stage: str, *, user_id: str | None = "ada", instance: str = "", **more: Any) -> Entry:
    """Return the event that a customer has come to a stage."""
    return make_entry(
        "stage.entered",
        {"stage": stage, "from": None, "visit": 1},
        user_id=user_id,
        kind=Kind.DERIVED,
        journey="shop",
        version=1,
        stage=stage,
        instance=instance,
        **more,
    )


def viewed(number: int = 0, **more: Any) -> Entry:
    """Return a touchpoint of a customer of its own."""
    return make_entry("Product Viewed", {"number": number}, user_id=f"c{number}", **more)


def writes(server: Any) -> list[Any]:
    """Return the bodies of the requests that write records."""
    return [each.json() for each in server.requests if each.method == "PATCH"]


def error(code: str, message: str = "", status: int = 400) -> Reply:
    """Return an answer that refuses the whole request, as Salesforce does."""
    return Reply.of_json([{"message": message, "errorCode": code}], status)


# What is written


def test_touchpoints_become_records(make_sink: MakeSink, org: Any) -> None:
    """A touchpoint is a record with the event's id, and what the event tells."""
    order = make_entry(
        "Order Completed", {"order_id": "o-1", "revenue": 22.5}, user_id="ada", channel="web"
    )
    assert not make_sink().deliver(make_batch(order))

    (record,) = org.all("Touchpoint__c")
    record.pop("Id")
    assert record == {
        "Journeykit_Id__c": order.id,
        "Name": "Order Completed",
        "Kind__c": "touchpoint",
        "Channel__c": "web",
        "Occurred_At__c": "2026-03-02T12:00:00.000Z",
        "Order_Id__c": "o-1",
        "Revenue__c": 22.5,
        "User_Id__c": "ada",
    }


def test_no_request_has_more_than_200_records(make_sink: MakeSink, server: Any) -> None:
    """A batch of 500 is three requests of at most 200 records."""
    make_sink(person="none").deliver(make_batch(*(viewed(number) for number in range(500))))

    assert [len(body["records"]) for body in writes(server)] == [200, 200, 100]
    assert all(body["allOrNone"] is False for body in writes(server))


def test_a_run_is_one_record_that_later_events_change(make_sink: MakeSink, org: Any) -> None:
    """The stages of one run are one record of the newest stage, and two runs are two."""
    goal = make_entry(
        "journey.completed",
        {"value": 99.0},
        user_id="ada",
        kind=Kind.DERIVED,
        journey="shop",
        version=1,
        stage="purchase",
        instance="cart-1",
    )
    entries = [entered("cart", instance="cart-1"), entered("cart", instance="cart-2"), goal]
    assert not make_sink().deliver(make_batch(*entries))

    first, second = org.all("Journey__c")
    assert first["Journeykit_Id__c"] == "shop/1/cart-1"
    assert (first["Stage__c"], first["Status__c"], first["Value__c"]) == (
        "purchase",
        "Completed",
        99.0,
    )
    assert (second["Stage__c"], second["Status__c"]) == ("cart", "Running")


def test_one_request_names_a_record_once(make_sink: MakeSink, server: Any, org: Any) -> None:
    """Events that change the same record go out as one row, of which the last event counts."""
    stages = ("awareness", "consideration", "purchase")
    make_sink().deliver(make_batch(*(entered(stage) for stage in stages)))

    rows = [body["records"] for body in writes(server) if "Stage__c" in str(body)]
    assert {len(row) for row in rows} == {1}
    assert org.all("Journey__c")[0]["Stage__c"] == "purchase"


def test_the_stage_of_a_contact_is_written(make_sink: MakeSink, org: Any) -> None:
    """A contact that is there gets its stage; one that is not there is not made."""
    org.records["Contact"] = {"003": {"Id": "003", "LastName": "L", "Journeykit_Id__c": "ada"}}
    bench = Delivering(make_sink())
    bench.add(entered("purchase"), entered("cart", user_id="nobody")).run()

    assert bench.parked == {}
    assert [each.get("Journey_Stage__c") for each in org.all("Contact")] == ["purchase"]
    ada, nobody = org.all("Journey__c")
    assert ada["Contact__r"] == {"Journeykit_Id__c": "ada"}
    assert "Contact__r" not in nobody


def test_the_stage_of_a_cart_is_not_the_stage_of_a_contact(make_sink: MakeSink, org: Any) -> None:
    """A journey with an instance for each cart leaves the contact alone."""
    org.records["Contact"] = {"003": {"Id": "003", "LastName": "L", "Journeykit_Id__c": "ada"}}
    make_sink().deliver(make_batch(entered("payment", instance="cart-1")))

    assert "Journey_Stage__c" not in org.all("Contact")[0]


def test_cases_become_cases(make_sink: MakeSink, org: Any) -> None:
    """A case is a Case: opened, assigned, resolved, each over the one before."""
    about = {"case": "case-1", "severity": "high", "title": "Paying failed", "owner": "support"}
    opened = make_entry("case.opened", about, user_id="ada", kind=Kind.DERIVED)
    assigned = make_entry(
        "case.assigned", {"case": "case-1", "owner": "grace"}, user_id="ada", kind=Kind.FACT
    )
    done = {"case": "case-1", "cause": "card", "action": "refund"}
    resolved = make_entry("case.resolved", done, user_id="ada", kind=Kind.FACT)
    sink = make_sink()
    for entry in (opened, assigned, resolved):
        assert not sink.deliver(make_batch(entry))

    (case,) = org.all("Case")
    assert case["Subject"] == "Paying failed"
    assert (case["Status"], case["Priority"]) == ("Closed", "High")
    assert (case["Journeykit_Owner__c"], case["Root_Cause__c"]) == ("grace", "card")


def test_a_mapping_of_ones_own(make_sink: MakeSink, org: Any) -> None:
    """A mapping in TOML makes records of another object, with constants and links."""
    orders = {
        "object": "Order__c",
        "key": {"Number__c": "properties.order_id"},
        "events": ("Order Completed",),
        "where": {"channel": ["web", "app"]},
        "fields": {
            "Amount__c": {"path": "properties.revenue", "type": "currency"},
            "Source__c": {"value": "shop"},
            "Size__c": {"path": "properties.size", "values": {"1": "One", "*": "Many"}},
        },
    }
    sink = make_sink(defaults=(), objects=(orders,))
    entries = [
        make_entry(
            "Order Completed", {"order_id": "1", "revenue": "9.5", "size": 1}, channel="web"
        ),
        make_entry("Order Completed", {"order_id": "2", "revenue": 1, "size": 7}, channel="app"),
        make_entry("Order Completed", {"order_id": "3"}, channel="till"),
        make_entry("Order Completed", {"revenue": 5}, channel="web"),
        make_entry("Order Cancelled", {"order_id": "1"}, channel="web"),
    ]
    assert not sink.deliver(make_batch(*entries))

    one, two = org.all("Order__c")
    assert (one["Number__c"], one["Amount__c"], one["Size__c"]) == ("1", 9.5, "One")
    assert (two["Number__c"], two["Source__c"], two["Size__c"]) == ("2", "shop", "Many")


def test_a_stage_may_have_its_own_field(make_sink: MakeSink, org: Any) -> None:
    """`stages` writes when a stage was entered into the field that it names."""
    person = {
        "object": "Contact",
        "key": {"Journeykit_Id__c": "customer.user_id"},
        "events": ("stage.entered",),
        "fields": {"LastName": {"value": "unknown"}},
        "stages": {"purchase": "Became_Customer_On__c"},
    }
    sink = make_sink(defaults=(), objects=(person,))
    sink.deliver(make_batch(entered("cart"), entered("purchase", at=3)))

    assert org.all("Contact")[0]["Became_Customer_On__c"] == "2026-03-02T12:00:03.000Z"


def test_dry_run_sends_nothing(
    make_sink: MakeSink, server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """With `dry_run` records are counted in the log, and nobody is connected to."""
    with caplog.at_level(logging.INFO):
        assert not make_sink(dry_run=True).deliver(make_batch(viewed(), entered("cart")))

    assert server.connections == 0
    (record,) = [each for each in caplog.records if each.msg == "journeykit.salesforce_dry_run"]
    assert vars(record)["records"] == {
        "Contact": 1,
        "Journey__c": 1,
        "Touchpoint__c": 1,
        "Case": 0,
    }


def test_it_rests_between_requests(make_sink: MakeSink) -> None:
    """`every` is how long the relay gathers events for one request."""
    assert make_sink(every=timedelta(seconds=30)).rest == 30.0


# Rows that are refused


def test_one_bad_row_in_200_is_parked_alone(make_sink: MakeSink, server: Any, org: Any) -> None:
    """Of 200 rows the one that is refused is parked, with its code and what to do."""
    entries = [viewed(number) for number in range(200)]
    org.refused[entries[77].id] = "FIELD_CUSTOM_VALIDATION_EXCEPTION"
    bench = Delivering(make_sink(person="none")).add(*entries).run()

    assert list(bench.parked) == [entries[77].id]
    reason = bench.parked[entries[77].id]
    assert reason.startswith("Touchpoint__c: FIELD_CUSTOM_VALIDATION_EXCEPTION (Journeykit_Id__c)")
    assert "validation rule" in reason
    assert len(org.all("Touchpoint__c")) == 199
    assert len(writes(server)) == 1


def test_only_locked_rows_come_again(make_sink: MakeSink, server: Any, org: Any) -> None:
    """Of many rows only the one that is locked is sent once more."""
    entries = [viewed(number) for number in range(20)]
    org.locked[entries[3].id] = 2
    bench = Delivering(make_sink(person="none")).add(*entries).run()

    assert bench.parked == {}
    assert [len(body["records"]) for body in writes(server)] == [20, 1, 1]
    assert len(org.all("Touchpoint__c")) == 20


@pytest.mark.parametrize("text", ["UNABLE_TO_LOCK_ROW", "Too many SOQL queries: 101"])
def test_a_lock_within_a_trigger_is_a_lock(make_sink: MakeSink, server: Any, text: str) -> None:
    """A trigger of the org that could not lock a row has its row come again."""
    told = {"statusCode": "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "message": f"T: {text}"}
    row = {"success": False, "errors": [{**told, "fields": []}]}
    server.then(Reply.of_json([row]))
    bench = Delivering(make_sink(person="none")).add(viewed()).run()

    assert bench.parked == {}
    assert len(bench.waits) == 1


def test_a_trigger_that_fails_otherwise_parks(make_sink: MakeSink, server: Any) -> None:
    """A trigger of the org that refuses a row for good has its event parked."""
    told = {"statusCode": "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "message": "T: null pointer"}
    with server.doing(
        lambda request: (
            Reply.of_json([{"success": False, "errors": [told]}])
            if request.method == "PATCH"
            else None
        )
    ):
        bench = Delivering(make_sink(person="none")).add(viewed()).run(most_waits=3)

    (reason,) = bench.parked.values()
    assert reason.startswith("Touchpoint__c: CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY; a trigger")


def test_a_record_that_two_requests_made_at_once_comes_again(
    make_sink: MakeSink, server: Any
) -> None:
    """Where a request that timed out has made the record meanwhile, the row is sent again."""
    message = "duplicate value found: Journeykit_Id__c duplicates value on record with id: a01"
    told = {"statusCode": "DUPLICATE_VALUE", "message": message, "fields": []}
    server.then(Reply.of_json([{"success": False, "errors": [told]}]))
    bench = Delivering(make_sink(person="none")).add(viewed()).run()

    assert bench.parked == {}


def test_of_a_record_of_many_events_the_bad_one_is_found(
    make_sink: MakeSink, org: Any, server: Any
) -> None:
    """A record that several events make is taken apart, until the one at fault is parked."""
    stages = [f"stage-{number}" for number in range(8)]
    # Of those before it nothing would be seen: a record shows the newest.
    org.refused["stage-7"] = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
    entries = [entered(stage) for stage in stages]
    bench = Delivering(make_sink(person="none")).add(*entries).run()

    assert list(bench.parked) == [entries[7].id]
    assert org.all("Journey__c")[0]["Stage__c"] == "stage-6"
    assert len(writes(server)) < 12


def test_what_was_written_of_an_event_is_not_written_again(make_sink: MakeSink, org: Any) -> None:
    """An event whose second record is locked does not write its first over newer ones."""
    org.records["Contact"] = {"003": {"Id": "003", "LastName": "L", "Journeykit_Id__c": "ada"}}
    first = entered("cart")
    second = entered("purchase", instance="")
    late = make_entry("Product Viewed", user_id="ada")
    org.locked["shop/1/u:ada"] = 1
    sink = make_sink()
    (one, two) = sink.deliver(make_batch(first, second, late))
    assert (one.id, two.id) == (first.id, second.id)
    org.records["Contact"]["003"]["Journey_Stage__c"] = "changed since"
    assert not sink.deliver(make_batch(first, second))

    assert org.records["Contact"]["003"]["Journey_Stage__c"] == "changed since"
    assert org.all("Journey__c")[0]["Stage__c"] == "purchase"


def test_a_link_that_leads_nowhere_may_be_demanded(make_sink: MakeSink, org: Any) -> None:
    """With `orphans = false` an event is parked whose link leads nowhere."""
    linked = {
        "object": "Touchpoint__c",
        "key": {"Journeykit_Id__c": "id"},
        "kinds": ("touchpoint",),
        "fields": {"Contact__r.Journeykit_Id__c": {"path": "customer.user_id", "to": "Contact"}},
        "orphans": False,
    }
    entry = viewed()
    bench = Delivering(make_sink(defaults=(), objects=(linked,))).add(entry).run()

    assert list(bench.parked) == [entry.id]
    assert "c0" not in bench.parked[entry.id]


def test_values_that_a_field_cannot_hold_are_parked(make_sink: MakeSink, server: Any) -> None:
    """A revenue that is no number parks its event, names the field, and tells nothing of it."""
    bad = make_entry("Order Completed", {"revenue": "ada@example.com"})
    good = make_entry("Order Completed", {"revenue": "12.50"})
    bench = Delivering(make_sink()).add(bad, good).run()

    assert bench.parked == {bad.id: "Revenue__c cannot hold properties.revenue: it is no number"}


# The org as a whole


def test_an_ended_session_is_renewed(make_sink: MakeSink, org: Any, server: Any) -> None:
    """INVALID_SESSION_ID is answered by one new token, and nothing waits."""
    sink = make_sink()
    bench = Delivering(sink).add(viewed(1)).run()
    org.tokens.clear()
    bench.add(viewed(2)).run()

    assert bench.waits == []
    assert len(org.grants) == 2
    assert len(org.all("Touchpoint__c")) == 2


def test_a_session_that_ends_at_once_is_waited_out(make_sink: MakeSink, server: Any) -> None:
    """A token that never works costs two requests a try, parks nothing and says what to do."""
    with server.doing(
        lambda request: (
            error("INVALID_SESSION_ID", status=401) if request.method == "PATCH" else None
        )
    ):
        bench = Delivering(make_sink()).add(viewed()).run(most_waits=2)

    assert bench.parked == {}
    assert "session policies" in bench.errors[0]
    assert len(writes(server)) == 4


def test_used_up_requests_are_left_alone_for_long(make_sink: MakeSink, server: Any) -> None:
    """REQUEST_LIMIT_EXCEEDED is waited out for an hour, and parks nothing."""
    server.then(error("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", 403))
    bench = Delivering(make_sink()).add(viewed()).run()

    assert bench.parked == {}
    assert bench.waits[0] >= 3600
    assert "used up its requests" in bench.errors[0]


def test_a_share_of_the_requests_is_left_to_others(
    make_sink: MakeSink, org: Any, server: Any
) -> None:
    """Beyond `api_share` nothing is sent for a while; then one request finds out."""
    bench = Delivering(make_sink(api_share=0.6, now=lambda: bench._time))
    org.used, org.most = 598, 1000
    bench.add(viewed(1)).run(most_waits=3)
    assert bench.waits == []
    before = len(server.requests)
    bench.add(viewed(2)).run(most_waits=2)
    assert len(server.requests) == before
    assert max(bench.waits) >= PAUSE - 1
    assert "api_share leaves 60%" in bench.errors[-1]

    org.used = 100
    bench.run()
    assert len(org.all("Touchpoint__c")) == 2
    assert bench.parked == {}


def test_what_was_written_before_the_share_was_used_up_stays(make_sink: MakeSink, org: Any) -> None:
    """Of a batch of which a part was written, only the rest comes again."""
    bench = Delivering(make_sink(person="none", api_share=0.5, now=lambda: bench._time))
    org.used, org.most = 499, 1000
    entries = [viewed(number) for number in range(500)]
    bench.add(*entries).run(most_waits=1)
    assert len(org.all("Touchpoint__c")) == 200
    org.used = 0
    bench.run()

    assert bench.parked == {}
    assert [key for _, key in org.written] == [entry.id for entry in entries]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            error("INVALID_FIELD", "No such column 'Prize__c' on sobject of type Touchpoint__c"),
            "(Touchpoint__c.Prize__c)",
        ),
        (error("NOT_FOUND", "The requested resource does not exist", 404), "describe"),
        (error("INVALID_TYPE", "sObject type 'X' is not supported."), "describe"),
        (error("API_DISABLED_FOR_ORG", "no", 403), "no API"),
    ],
)
def test_a_mistake_in_the_mapping_parks_nothing(
    make_sink: MakeSink, server: Any, answer: Reply, says: str
) -> None:
    """A field or object that does not exist is an outage, which one line explains."""
    entries = [viewed(number) for number in range(3)]
    with server.doing(lambda request: answer if request.method == "PATCH" else None):
        bench = Delivering(make_sink()).add(*entries).run(most_waits=2)
    assert bench.parked == {}
    assert says in bench.errors[0]
    bench.run()

    assert bench.done


def test_a_full_org_parks_nothing(make_sink: MakeSink, server: Any) -> None:
    """STORAGE_LIMIT_EXCEEDED on a row is no fault of the row."""
    told = {"statusCode": "STORAGE_LIMIT_EXCEEDED", "message": "storage limit exceeded"}
    server.then(Reply.of_json([{"success": False, "errors": [told]}]))
    bench = Delivering(make_sink(person="none")).add(viewed()).run()

    assert bench.parked == {}
    assert "no room left" in bench.errors[0]


def test_a_value_of_the_wrong_kind_is_found_and_parked_alone(make_sink: MakeSink, org: Any) -> None:
    """JSON_PARSER_ERROR refuses the whole request, so the row at fault is searched for."""
    wrong = {
        "object": "Touchpoint__c",
        "key": {"Journeykit_Id__c": "id"},
        "kinds": ("touchpoint",),
        "fields": {"Name": "name", "Kind__c": {"value": "k", "values": {"k": "k"}}},
    }
    sink = make_sink(defaults=(), objects=(wrong,))
    org.schema["Touchpoint__c"]["Number__c"] = str, 255
    sink._recorders[0]._fields.append(
        lambda wire, fields: fields.update(Number__c=5 if wire["properties"]["number"] == 4 else "")
    )
    entries = [viewed(number) for number in range(9)]
    bench = Delivering(sink).add(*entries).run()

    assert list(bench.parked) == [entries[4].id]
    assert "JSON_PARSER_ERROR" in bench.parked[entries[4].id]
    assert len(org.all("Touchpoint__c")) == 8


@pytest.mark.parametrize("status", [413, 414])
def test_a_request_that_is_too_large_is_halved(
    make_sink: MakeSink, server: Any, org: Any, status: int
) -> None:
    """A proxy that finds a request too large gets it in parts; what never fits is parked."""
    entries = [viewed(number) for number in range(16)]
    with server.doing(lambda request: status if len(request.body) > 2_000 else None):
        bench = Delivering(make_sink(person="none")).add(*entries).run()

    assert bench.parked == {}
    assert len(org.all("Touchpoint__c")) == 16


@pytest.mark.parametrize(
    "answer",
    [
        Reply(200, b"<html>maintenance</html>", {"Content-Type": "text/html"}),
        Reply(400, b"<html>blocked by a firewall</html>", {"Content-Type": "text/html"}),
        Reply(200, b'[{"id": "a01", "succ', JSON),
        Reply(200, b"[]", JSON),
        Reply(200, b'[{"id": "a01"}]', JSON),
        Reply(200, b'{"records": 1}', JSON),
        Reply(503, b'[{"errorCode":"SERVER_UNAVAILABLE","message":"later"}]', JSON),
        Reply(302, b"", {"Location": "http://localhost/"}),
        Fault.CUT,
        Fault.HANG,
    ],
    ids=str,
)
def test_answers_that_are_none_park_nothing(
    make_sink: MakeSink, server: Any, org: Any, answer: Any
) -> None:
    """An answer that is not Salesforce's, or half of one, is waited out."""
    server.then(answer)
    bench = Delivering(make_sink(person="none")).add(viewed()).run()

    assert len(bench.waits) == 1
    assert bench.parked == {}
    assert len(org.all("Touchpoint__c")) == 1


@pytest.mark.parametrize("code", ["FIELD_CUSTOM_VALIDATION_EXCEPTION", None])
def test_an_answer_that_comes_too_late_is_nobodys(
    make_sink: MakeSink, server: Any, org: Any, code: str | None
) -> None:
    """A reply after the timeout, good or bad, is not taken for the answer to the next request."""
    row = {"success": code is None, "errors": [{"statusCode": code}] if code else []}
    late = Reply(200, json.dumps([row]).encode(), JSON, delay=0.9)
    server.then(late)
    entries = [viewed(number) for number in range(3)]
    bench = Delivering(make_sink(person="none"))
    for entry in entries:
        bench.add(entry).run()

    assert bench.parked == {}
    assert "it takes too long" in bench.errors[0]
    # A busy machine may be late once more.
    written = dict.fromkeys(key for _, key in org.written)
    assert list(written) == [entry.id for entry in entries]


def test_a_redirect_to_this_host_gets_nothing(make_sink: MakeSink, server: Any) -> None:
    """Neither records nor a token go where a redirect leads, be it of a write or of the sign-in."""
    with FaultyServer() as inside:
        away = Reply(302, b"", {"Location": f"{inside.url}/admin"})
        bench = Delivering(make_sink(person="none"))
        for path in ("oauth2", "composite"):
            with server.doing(lambda request, part=path: away if part in request.path else None):
                bench.add(viewed()).run(most_waits=2)
            assert "redirects are not followed" in bench.errors[-1]
        bench.run()

        assert inside.connections == 0
    assert bench.done
    assert bench.parked == {}


@pytest.fixture
def tls_server(org: Any, fake: Any) -> Iterator[Any]:
    """Return the org behind a certificate that nobody here trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with fake.OrgServer(org, tls=context) as server:
        yield server


def test_a_certificate_that_is_not_trusted_parks_nothing(
    make_sink: MakeSink, tls_server: Any
) -> None:
    """A TLS failure is an outage that names the certificate, and no credential goes out."""
    bench = Delivering(make_sink(url=tls_server.url)).add(viewed()).run(most_waits=1)

    assert bench.parked == {}
    assert "certificate" in bench.errors[0].lower()
    assert tls_server.requests == []


def test_messages_of_the_org_are_not_told(make_sink: MakeSink, server: Any) -> None:
    """What the org says in a row, which may quote the row, is in no reason."""
    told = {
        "statusCode": "INVALID_EMAIL_ADDRESS",
        "message": "Email: invalid email address: ada@example.com",
        "fields": ["Email", "ada@example.com"],
    }
    server.then(Reply.of_json([{"success": False, "errors": [told]}]))
    (rejection,) = make_sink(person="none").deliver(make_batch(viewed()))

    assert rejection.reason.startswith("Touchpoint__c: INVALID_EMAIL_ADDRESS (Email); ")
    assert "ada" not in rejection.reason


@pytest.mark.parametrize(
    "code", [*sorted(errors.LOCKED | errors.OF_THE_ORG), "A_CODE_OF_NEXT_YEAR"]
)
def test_every_code_says_what_to_do(code: str) -> None:
    """A code that is known has words of its own, and one that is not says where to look."""
    told = errors.Fault(code, ("Name",)).told()

    assert told.startswith(f"{code} (Name); ")
    assert ("look the code up" in told) is (code == "A_CODE_OF_NEXT_YEAR")


def test_success_is_decided_by_success_alone(make_sink: MakeSink, server: Any) -> None:
    """A row that says success is written, whatever stands in its errors."""
    noise = {"statusCode": "OPERATION_ENQUEUED", "message": "id", "fields": []}
    server.then(Reply.of_json([{"id": "a01", "success": True, "errors": [noise]}]))
    assert not make_sink(person="none").deliver(make_batch(viewed()))


def test_failures_are_delivery_errors(make_sink: MakeSink, server: Any) -> None:
    """What a sink raises is a `DeliveryError` that may be tried again."""
    with server.away(), pytest.raises(DeliveryError) as caught:
        make_sink().deliver(make_batch(viewed()))

    assert caught.value.retryable
