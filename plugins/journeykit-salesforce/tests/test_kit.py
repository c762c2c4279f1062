from __future__ import annotations

from pathlib import Path
from typing import Any

from journeykit import JourneyKit

TOML = """
[journeykit]
store = "sqlite:///shop.db"

[consent]
mode = "opt_out"

[[journeys]]
key = "shop"
version = 1
extends = "ecommerce"

[[journeys]]
key = "checkout"
version = 1
instance_by = "cart_id"
stages = [
  {{ key = "cart", enter = ["Product Added"] }},
  {{ key = "payment", enter = ["Payment Info Entered"] }}]
goal = {{ event = "Order Completed", value = "revenue" }}

[sinks.crm]
type = "salesforce"
url = "{url}"
client_id = "{client}"
secret = {{ env = "SALESFORCE_SECRET" }}
every = "60s"
"""


def test_a_shop_reaches_the_org(tmp_path: Path, server: Any, org: Any, fake: Any) -> None:
    """What a customer does in a shop becomes touchpoints, runs, and the stage of the contact."""
    org.records["Contact"] = {"003": {"Id": "003", "LastName": "L", "Journeykit_Id__c": "ada"}}
    path = tmp_path / "journeykit.toml"
    path.write_text(TOML.format(url=server.url, client=fake.CLIENT_ID))
    with JourneyKit.from_toml(path) as kit:
        for name in ("Product Viewed", "Product Added", "Payment Info Entered", "Order Completed"):
            kit.track(name, {"cart_id": "c1", "revenue": 30}, customer="ada")
        assert kit.flush()
        status = kit.status()

    assert status["parked"] == {}
    assert [each["Name"] for each in org.all("Touchpoint__c")] == [
        "Product Viewed",
        "Product Added",
        "Payment Info Entered",
        "Order Completed",
    ]
    (contact,) = org.all("Contact")
    assert contact["Journey_Stage__c"] == "purchase"
    runs = {each["Journeykit_Id__c"]: each for each in org.all("Journey__c")}
    assert sorted(runs) == ["checkout/1/c1", "shop/1/u:ada"]
    assert runs["checkout/1/c1"]["Status__c"] == "Completed"
    assert runs["checkout/1/c1"]["Value__c"] == 30
    assert runs["shop/1/u:ada"]["Contact__r"] == {"Journeykit_Id__c": "ada"}
