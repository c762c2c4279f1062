from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from journeykit_salesforce.mapping import ObjectMapping
from journeykit_salesforce.metadata import describe

SPACE = "{http://soap.sforce.com/2006/04/metadata}"

#: What the Metadata API asks of each type of field, besides a name and a label.
NEEDS = {
    "Text": {"length"},
    "LongTextArea": {"length", "visibleLines"},
    "Number": {"precision", "scale"},
    "Currency": {"precision", "scale"},
    "Checkbox": {"defaultValue"},
    "Lookup": {"referenceTo", "relationshipName"},
    "DateTime": set(),
    "Date": set(),
}


@pytest.fixture
def files(make_settings: Callable[..., Any]) -> dict[str, str]:
    """Return what is written for the default mapping."""
    return describe(make_settings().mappings, "62.0")


def fields(files: dict[str, str], name: str) -> dict[str, dict[str, str]]:
    """Return the fields of an object, by name."""
    root = ET.fromstring(files[f"objects/{name}.object"])
    found = {}
    for field in root.findall(f"{SPACE}fields"):
        tags = {tag.tag.removeprefix(SPACE): tag.text or "" for tag in field}
        found[tags["fullName"]] = tags
    return found


def test_fields_have_what_the_metadata_api_asks(files: dict[str, str]) -> None:
    """Each field has a name, a label, a type, and what this type needs."""
    for name in ("Contact", "Journey__c", "Touchpoint__c", "Case"):
        for field in fields(files, name).values():
            assert field["fullName"].endswith("__c")
            assert 0 < len(field["label"]) <= 40
            assert NEEDS[field["type"]] <= field.keys()


def test_the_external_id_is_one(files: dict[str, str]) -> None:
    """Each object has the external id, unique and with its case."""
    for name in ("Contact", "Journey__c", "Touchpoint__c", "Case"):
        key = fields(files, name)["Journeykit_Id__c"]
        assert (key["externalId"], key["unique"], key["caseSensitive"]) == ("true",) * 3


def test_links_are_lookups(files: dict[str, str]) -> None:
    """The link to the contact is a lookup that outlives the contact."""
    link = fields(files, "Touchpoint__c")["Contact__c"]
    assert (link["type"], link["referenceTo"]) == ("Lookup", "Contact")
    assert link["deleteConstraint"] == "SetNull"


def test_elements_stand_in_order(files: dict[str, str]) -> None:
    """The Metadata API takes the parts of an object in alphabetical order."""
    for name, text in files.items():
        tags = [child.tag for child in ET.fromstring(text)]
        assert tags == sorted(tags), name


def test_the_package_and_the_permissions_name_every_field(files: dict[str, str]) -> None:
    """What is written is what is deployed, and what the permission set lets be seen."""
    package, rights = files["package.xml"], files["permissionsets/Journeykit.permissionset"]
    for name in ("Contact", "Journey__c", "Touchpoint__c", "Case"):
        for field in fields(files, name):
            assert f"<members>{name}.{field}</members>" in package
            assert f"<field>{name}.{field}</field>" in rights
    assert "<object>Touchpoint__c</object>" in rights
    assert "<object>Contact</object>" not in rights


def test_only_ours_are_made(files: dict[str, str]) -> None:
    """A standard object gets fields, and neither a label nor a name field."""
    assert "nameField" not in files["objects/Contact.object"]
    assert "<type>AutoNumber</type>" in files["objects/Journey__c.object"]
    assert "AutoNumber" not in files["objects/Touchpoint__c.object"]


def test_the_names_of_a_mapping_are_text_and_no_markup() -> None:
    """A constant or a label cannot break the file."""
    mapping = ObjectMapping(
        object="Order__c",
        key={"Key__c": "id"},
        events=("x",),
        fields={
            "Note__c": {"value": "<&>"},
            "Size__c": {"value": 3},
            "Open__c": {"value": True},
            "Long__c": {"path": "properties", "type": "long_text"},
            "Day__c": {"path": "properties.day", "type": "date"},
        },
        stages={"purchase": "Bought_At__c"},
    )
    found = fields(describe([mapping], "62.0"), "Order__c")
    types = {name: field["type"] for name, field in found.items()}
    assert types == {
        "Bought_At__c": "DateTime",
        "Day__c": "Date",
        "Key__c": "Text",
        "Long__c": "LongTextArea",
        "Note__c": "Text",
        "Open__c": "Checkbox",
        "Size__c": "Number",
    }
