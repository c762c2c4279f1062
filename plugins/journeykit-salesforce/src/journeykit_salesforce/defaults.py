"""What events become where nothing else is declared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from journeykit_salesforce.mapping import ObjectMapping

#: The external id that every object gets.
KEY: Final = "Journeykit_Id__c"

_PERSON: Final = {
    "User_Id__c": "customer.user_id",
    "Anonymous_Id__c": "customer.anonymous_id",
}

#: What happened to a case last, and what Salesforce calls that.
_CASE_STATUS: Final = {
    "case.opened": "New",
    "case.assigned": "Working",
    "case.acknowledged": "Working",
    "case.waiting": "Working",
    "case.resumed": "Working",
    "case.reopened": "Working",
    "case.resolved": "Closed",
    "case.closed": "Closed",
}


def _link(person: str | None) -> dict[str, Any]:
    """Return the link to the person, from an object of our own."""
    if person is None:
        return {}
    return {f"{person}__r.{KEY}": {"path": "customer.user_id", "to": person}}


def _person(person: str | None) -> ObjectMapping | None:
    if person is None:
        return None
    return ObjectMapping(
        object=person,
        key={KEY: "customer.user_id"},
        events=("stage.entered", "stage.corrected"),
        # Of journeys that a customer runs through once and not for every cart.
        where={"instance": ""},
        fields={
            "Journey_Stage__c": "stage",
            "Journey_Stage_Since__c": {"path": "occurred_at", "type": "datetime"},
        },
        create=False,
    )


def _journeys(person: str | None) -> ObjectMapping:
    status = {
        "stage.entered": "Running",
        "journey.completed": "Completed",
        "journey.exited": "Exited",
        "journey.stalled": "Stalled",
    }
    return ObjectMapping(
        object="Journey__c",
        key={KEY: "run"},
        events=(*status, "stage.corrected"),
        fields={
            "Journey_Key__c": "journey",
            "Version__c": "version",
            "Instance__c": "instance",
            "Stage__c": "stage",
            "Status__c": {"path": "name", "values": status},
            "Value__c": {"path": "properties.value", "type": "currency"},
            "Last_Event_At__c": "occurred_at",
            **_PERSON,
            **_link(person),
        },
        erase=True,
    )


def _touchpoints(person: str | None) -> ObjectMapping:
    return ObjectMapping(
        object="Touchpoint__c",
        key={KEY: "id"},
        kinds=("touchpoint",),
        events=("prompt.answered", "pain_point.detected"),
        fields={
            "Name": {"path": "name", "length": 80},
            "Kind__c": "kind",
            "Channel__c": "channel",
            "Occurred_At__c": "occurred_at",
            "Session_Id__c": "customer.session_id",
            "Order_Id__c": "properties.order_id",
            "Revenue__c": {"path": "properties.revenue", "type": "currency"},
            "Prompt__c": "properties.prompt",
            "Code__c": "properties.code",
            "Severity__c": "properties.severity",
            **_PERSON,
            **_link(person),
        },
        erase=True,
    )


def _cases(person: str | None) -> ObjectMapping:
    severities = {"low": "Low", "medium": "Medium", "high": "High", "critical": "High"}
    contact = {f"Contact.{KEY}": "customer.user_id"} if person == "Contact" else {}
    return ObjectMapping(
        object="Case",
        key={KEY: "properties.case"},
        events=tuple(_CASE_STATUS),
        fields={
            "Subject": "properties.title",
            "Status": {"path": "name", "values": _CASE_STATUS},
            "Priority": {"path": "properties.severity", "values": severities},
            "Journeykit_Owner__c": "properties.owner",
            "Root_Cause__c": "properties.cause",
            "Action__c": {"path": "properties.action", "type": "long_text"},
            **contact,
        },
    )


#: Name → the mapping, for the object that stands for people.
_DEFAULTS: Final[Mapping[str, Callable[[str | None], ObjectMapping | None]]] = {
    "person": _person,
    "journeys": _journeys,
    "touchpoints": _touchpoints,
    "cases": _cases,
}

#: Their names, in the order in which records are written: what is linked to comes first.
NAMES: Final = tuple(_DEFAULTS)


def default_mappings(names: tuple[str, ...], person: str | None) -> list[ObjectMapping]:
    """Return the mappings called *names*, which link to *person*."""
    made = [_DEFAULTS[name](person) for name in NAMES if name in names]
    return [mapping for mapping in made if mapping is not None]
