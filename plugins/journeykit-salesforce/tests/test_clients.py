"""
Clients that others have written take the org of the tests for Salesforce.

`simple-salesforce` is always run; `jsforce`, which package.json names, where npm has installed it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from simple_salesforce import Salesforce, SalesforceResourceNotFound
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceMalformedRequest,
    SalesforceRefusedRequest,
)

from journeykit.testing import make_batch, make_entry

HOST = "acme.my.salesforce.com"


class ToThisHost(requests.adapters.HTTPAdapter):
    """Takes what is meant for Salesforce to a server on this host."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def send(self, request: Any, *given: Any, **options: Any) -> Any:
        """Send a request."""
        request.url = request.url.replace(f"https://{HOST}", self._url)
        return super().send(request, *given, **options)


@pytest.fixture
def connect(server: Any, org: Any, fake: Any) -> Callable[..., Salesforce]:
    """Return a function that signs in with `simple-salesforce`."""
    org.instance_url = f"https://{HOST}"

    def connect(**more: Any) -> Salesforce:
        session = requests.Session()
        session.mount(f"https://{HOST}", ToThisHost(server.url))
        given = {"consumer_key": fake.CLIENT_ID, "domain": "acme.my", "version": "62.0", **more}
        return Salesforce(session=session, **given)

    return connect


def test_simple_salesforce_signs_in(
    connect: Callable[..., Salesforce], org: Any, fake: Any, rsa_key: tuple[str, Any]
) -> None:
    """It gets a token by client credentials and by a JWT, and is refused with a wrong secret."""
    assert connect(consumer_secret=fake.SECRET).sf_instance == HOST
    pem, org.key = rsa_key
    # It signs for the host that it asks, unless that is the one for all.
    with pytest.raises(SalesforceAuthenticationFailed, match="invalid_grant"):
        connect(username=fake.USERNAME, privatekey=pem)
    with pytest.raises(SalesforceAuthenticationFailed, match="invalid_client"):
        connect(consumer_secret="wrong")

    assert org.grants == ["client_credentials"]


def test_simple_salesforce_writes_and_reads(connect: Callable[..., Salesforce], fake: Any) -> None:
    """It inserts, upserts, queries, updates and deletes, as it does with a real org."""
    client = connect(consumer_secret=fake.SECRET)
    made = client.Contact.create({"LastName": "Lovelace", "Journeykit_Id__c": "ada"})
    assert made["success"] is True
    client.Contact.upsert("Journeykit_Id__c/ada", {"LastName": "King"})
    client.Contact.upsert("Journeykit_Id__c/b%2Fc", {"LastName": "Byron"})
    assert client.Contact.get_by_custom_id("Journeykit_Id__c", "b/c")["LastName"] == "Byron"
    client.Contact.update(made["id"], {"Journey_Stage__c": "purchase"})
    found = client.query("SELECT Id, LastName FROM Contact WHERE Journeykit_Id__c = 'ada'")
    assert [each["LastName"] for each in found["records"]] == ["King"]
    client.Contact.delete(made["id"])

    assert client.query("SELECT count() FROM Contact")["totalSize"] == 1
    assert client.api_usage["api-usage"].total == 15_000


def test_simple_salesforce_writes_collections(
    connect: Callable[..., Salesforce], fake: Any, org: Any
) -> None:
    """A collection is answered row by row: made, changed, refused."""
    client = connect(consumer_secret=fake.SECRET)
    path = "composite/sobjects/Contact/Journeykit_Id__c"
    org.refused["bad"] = "FIELD_CUSTOM_VALIDATION_EXCEPTION"
    rows = [{"attributes": {"type": "Contact"}, "Journeykit_Id__c": each} for each in "ab"]
    rows = [{**row, "LastName": "L"} for row in rows]
    bad = {**rows[0], "Journeykit_Id__c": "bad"}

    def upsert(*records: Any) -> list[Any]:
        answers: list[Any] = client.restful(
            path, method="PATCH", json={"allOrNone": False, "records": records}
        )
        return answers

    assert [row["created"] for row in upsert(*rows)] == [True, True]
    first, second = upsert(rows[1], bad)
    assert (first["success"], first["created"]) == (True, False)
    assert second["errors"][0]["statusCode"] == "FIELD_CUSTOM_VALIDATION_EXCEPTION"
    twice = upsert(rows[0], rows[0])
    assert [row["errors"][0]["statusCode"] for row in twice] == ["DUPLICATE_VALUE"] * 2


def test_simple_salesforce_hears_of_trouble(
    connect: Callable[..., Salesforce], fake: Any, org: Any
) -> None:
    """It knows what is not there, what is malformed and a limit, and renews an ended session."""
    client = connect(consumer_secret=fake.SECRET)
    with pytest.raises(SalesforceResourceNotFound):
        client.Contact.get("003xx0000000009AAA")
    with pytest.raises(SalesforceMalformedRequest, match="No such column"):
        client.Contact.create({"Shoe_Size__c": 42})
    org.most = org.used
    with pytest.raises(SalesforceRefusedRequest, match="REQUEST_LIMIT_EXCEEDED"):
        client.query("SELECT Id FROM Contact")
    org.most = 1_000
    org.tokens.clear()
    assert client.query("SELECT Id FROM Contact")["totalSize"] == 0
    assert len(org.grants) == 2


def test_simple_salesforce_finds_what_the_sink_has_written(
    connect: Callable[..., Salesforce],
    make_sink: Callable[..., Any],
    fake: Any,
    server: Any,
    org: Any,
) -> None:
    """What the sink has written is there for others."""
    org.instance_url = server.url
    entry = make_entry("Order Completed", {"revenue": 5}, user_id="ada")
    make_sink().deliver(make_batch(entry))
    org.instance_url = f"https://{HOST}"
    client = connect(consumer_secret=fake.SECRET)

    soql = f"SELECT Id, Name FROM Touchpoint__c WHERE Journeykit_Id__c = '{entry.id}'"
    assert client.query(soql)["records"][0]["Name"] == "Order Completed"


_SCRIPT = """
const jsforce = require('jsforce');
const [url, clientId, clientSecret] = process.argv.slice(-3);
(async () => {
  const conn = new jsforce.Connection({
    oauth2: {loginUrl: url, clientId, clientSecret}, instanceUrl: url, version: '62.0',
  });
  await conn.authorize({grant_type: 'client_credentials'});
  const rows = [
    {Journeykit_Id__c: 'ada', LastName: 'Lovelace'},
    {Journeykit_Id__c: 'bob', LastName: 'Byron'},
  ];
  const first = await conn.sobject('Contact').upsert(rows, 'Journeykit_Id__c');
  const bad = [rows[0], {Journeykit_Id__c: 'nameless'}];
  const second = await conn.sobject('Contact').upsert(bad, 'Journeykit_Id__c');
  const found = await conn.query("SELECT Id, LastName FROM Contact WHERE LastName = 'Byron'");
  let code = '';
  await conn.sobject('Nothing__c').retrieve('a01xx0000000001AAA')
    .catch(error => { code = error.errorCode });
  const deleted = await conn.sobject('Contact').destroy(first.map(row => row.id));
  console.log(JSON.stringify({first, second, found: found.totalSize, code, deleted}));
})().catch(error => { console.error(error); process.exit(1) });
"""


@pytest.fixture
def modules() -> Path:
    """Return where npm has installed what package.json names."""
    folder = Path(__file__).parents[3] / "node_modules"
    if shutil.which("node") is None or not (folder / "jsforce").is_dir():
        reason = "jsforce is not there (Node.js 20 or newer, and npm ci)"
        if os.environ.get("JOURNEYKIT_REQUIRE_NODE") == "1":
            pytest.fail(f"JOURNEYKIT_REQUIRE_NODE=1, but {reason}")
        pytest.skip(reason)
    return folder


def test_jsforce_takes_it_for_salesforce(server: Any, fake: Any, modules: Path) -> None:
    """It signs in, upserts, queries and deletes, as it does with a real org."""
    done = subprocess.run(
        ["node", "-e", _SCRIPT, server.url, fake.CLIENT_ID, fake.SECRET],
        env={**os.environ, "NODE_PATH": str(modules)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [row["created"] for row in told["first"]] == [True, True]
    assert [row["success"] for row in told["second"]] == [True, False]
    assert told["second"][1]["errors"][0]["statusCode"] == "REQUIRED_FIELD_MISSING"
    assert (told["found"], told["code"]) == (1, "NOT_FOUND")
    assert [row["success"] for row in told["deleted"]] == [True, True]
