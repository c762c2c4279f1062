from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from journeykit import DeliveryError, Secret
from journeykit.testing import Delivering, Reply, make_batch, make_entry

MakeSink = Callable[..., Any]


def refused(sink: Any) -> DeliveryError:
    """Return what a delivery that fails says."""
    with pytest.raises(DeliveryError) as caught:
        sink.deliver(make_batch(make_entry()))
    return caught.value


def test_client_credentials(make_sink: MakeSink, org: Any, server: Any, fake: Any) -> None:
    """The consumer key and the secret get a token, which the requests carry."""
    make_sink().deliver(make_batch(make_entry()))

    assert org.grants == ["client_credentials"]
    carried = {each.headers.get("authorization") for each in server.requests[1:]}
    assert carried == {f"Bearer {fake.TOKEN}.1"}
    assert fake.SECRET not in str([each.path for each in server.requests])


def test_jwt_bearer(
    make_sink: MakeSink,
    org: Any,
    fake: Any,
    rsa_key: tuple[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A private key signs who signs in, for three minutes; the org checks it by the public one."""
    pem, org.key = rsa_key
    monkeypatch.setenv("SALESFORCE_KEY", pem)
    key = Secret(env="SALESFORCE_KEY")
    sink = make_sink(secret=None, private_key=key, username=fake.USERNAME, now=lambda: 1000.5)
    assert not sink.deliver(make_batch(make_entry()))

    assert org.grants == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]


def test_jwt_of_somebody_else_is_refused(
    make_sink: MakeSink, org: Any, rsa_key: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who is not pre-authorised is told what to see to."""
    pem, org.key = rsa_key
    monkeypatch.setenv("SALESFORCE_KEY", pem)
    key = Secret(env="SALESFORCE_KEY")
    failure = refused(make_sink(secret=None, private_key=key, username="someone@else.example"))

    assert failure.retryable
    assert "invalid_grant" in str(failure)
    assert "pre-authorised" in str(failure)


@pytest.mark.parametrize("text", ["no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END"])
def test_a_key_that_is_none_stops_the_start(
    make_sink: MakeSink, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no key in PEM form is told before the start, and not repeated."""
    monkeypatch.setenv("SALESFORCE_KEY", text)
    with pytest.raises(ValueError, match="private_key: expected") as caught:
        make_sink(secret=None, private_key=Secret(env="SALESFORCE_KEY"), username="a@b.example")

    assert "AAAA" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_wrong_secret(make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch, fake: Any) -> None:
    """A wrong secret parks nothing, says what to check, and works as soon as it is right."""
    monkeypatch.setenv("SALESFORCE_SECRET", "wr0ng-secret")
    bench = Delivering(make_sink()).add(make_entry()).run(most_waits=2)
    assert bench.parked == {}
    assert "invalid_client; check client_id, and secret" in bench.errors[0]
    assert "wr0ng-secret" not in "".join(bench.errors)
    monkeypatch.setenv("SALESFORCE_SECRET", fake.SECRET)
    bench.run()

    assert bench.done


def test_revoked_grant(make_sink: MakeSink, org: Any, server: Any) -> None:
    """A session that is ended by a revoked grant is asked for anew, and its refusal waited out."""
    sink = make_sink()
    bench = Delivering(sink).add(make_entry()).run()
    org.tokens.clear()
    answer = Reply.of_json({"error": "invalid_grant", "error_description": "expired"}, 400)
    with server.doing(lambda request: answer if "oauth2" in request.path else None):
        bench.add(make_entry()).run(most_waits=3)

    assert bench.parked == {}
    assert "invalid_grant" in bench.errors[-1]


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (400, {"error": "inactive_user", "error_description": "x"}, "frozen or not active"),
        (400, {"error": "secret-of-somebody"}, "check client_id"),
        (400, "<html>", "no JSON"),
        (302, "", "redirects are not followed"),
        (503, "<html>", "HTTP 503"),
        (200, "<html>", "has no token"),
        (200, {"access_token": "t"}, "has no token"),
        (200, {"access_token": "t\n", "instance_url": 7}, "has no token"),
    ],
)
def test_answers_of_the_token_endpoint(
    make_sink: MakeSink, server: Any, status: int, body: Any, says: str
) -> None:
    """Whatever the token endpoint answers is told in a line, by words that we know."""
    text = body if isinstance(body, str) else json.dumps(body)
    answer = Reply(status, text.encode())
    with server.doing(lambda request: answer if "oauth2" in request.path else None):
        failure = refused(make_sink())

    assert failure.retryable
    assert says in str(failure)
    assert "secret-of-somebody" not in str(failure)


@pytest.mark.parametrize(
    "instance",
    [
        "https://evil.example",
        "https://salesforce.com.evil.example",
        "https://evilsalesforce.com",
        "http://acme.my.salesforce.com",
        "https://user@acme.my.salesforce.com",
        "https://acme.my.salesforce.com/path",
        "file:///etc/passwd",
        "",
    ],
)
def test_a_token_that_leads_elsewhere_is_not_used(
    make_sink: MakeSink, org: Any, instance: str
) -> None:
    """A token goes to Salesforce, or to the host that the settings name, and nowhere else."""
    org.instance_url = instance
    assert "not Salesforce's" in str(refused(make_sink()))


def test_a_token_may_lead_to_a_host_of_ours(make_sink: MakeSink, org: Any, server: Any) -> None:
    """A host that the settings name may have the org."""
    org.instance_url = server.url.replace("127.0.0.1", "localhost")
    assert not make_sink(hosts=("localhost",)).deliver(make_batch(make_entry()))


def test_a_session_does_not_show_its_token(fake: Any) -> None:
    """The `repr` of a session has no token."""
    from journeykit_salesforce.login import Session

    assert "t0ken" not in repr(Session("https://acme.my.salesforce.com", "t0ken"))
