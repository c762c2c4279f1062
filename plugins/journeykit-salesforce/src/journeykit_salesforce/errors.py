"""What Salesforce's error codes mean for the events, and what an operator can do about them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from journeykit.model import jsonbytes

_CODE: Final = re.compile(r"[A-Za-z_]{1,80}")
_FIELD: Final = re.compile(r"[A-Za-z]\w{0,79}(?:\.[A-Za-z]\w{0,79})?")

#: Codes of a row that pass by themselves: another program had the record.
LOCKED: Final = frozenset({"UNABLE_TO_LOCK_ROW", "ALL_OR_NONE_OPERATION_ROLLED_BACK"})

#: What the message of a trigger that failed says where trying again helps.
_LOCKED_WITHIN: Final = ("UNABLE_TO_LOCK_ROW", "Too many SOQL queries")

#: Codes that have nothing to do with what was sent: every event would get the same.
OF_THE_ORG: Final = frozenset(
    {
        "API_CURRENTLY_DISABLED",
        "API_DISABLED_FOR_ORG",
        "INVALID_FIELD_FOR_INSERT_UPDATE",
        "INVALID_SESSION_ID",
        "INVALID_TYPE",
        "NOT_FOUND",
        "ORG_LOCKED",
        "REQUEST_LIMIT_EXCEEDED",
        "REQUEST_RUNNING_TOO_LONG",
        "SERVER_UNAVAILABLE",
        "STORAGE_LIMIT_EXCEEDED",
    }
)

#: What an operator can do about a code.
_ADVICE: Final[Mapping[str, str]] = {
    "ALL_OR_NONE_OPERATION_ROLLED_BACK": "another row failed; this one is tried again",
    "API_CURRENTLY_DISABLED": "the API is switched off for this user; see to it in Setup",
    "API_DISABLED_FOR_ORG": "this edition of Salesforce has no API, or it is switched off",
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY": "a trigger or flow of the org failed; see there",
    "DUPLICATES_DETECTED": "a duplicate rule of the org keeps it out",
    "DUPLICATE_VALUE": "another record has a value that may be there once",
    "FIELD_CUSTOM_VALIDATION_EXCEPTION": "a validation rule of the org keeps it out",
    "FIELD_FILTER_VALIDATION_EXCEPTION": "a lookup filter of the org keeps it out",
    "INSUFFICIENT_ACCESS_OR_READONLY": "the user that signs in may not write it",
    "INVALID_CROSS_REFERENCE_KEY": "a link leads nowhere; see `orphans` in the mapping",
    "INVALID_EMAIL_ADDRESS": "that is no address for mail; correct it in the shop",
    "INVALID_FIELD": "a field does not exist, or the user may not see it: deploy what `journeykit "
    "salesforce describe` writes, and assign its permission set",
    "INVALID_FIELD_FOR_INSERT_UPDATE": "the user that signs in may not write that field",
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST": "that field's picklist has no such value",
    "INVALID_SESSION_ID": "the session ended at once; see to the session policies of the user, and "
    "to what the connected app may do (scope api)",
    "INVALID_TYPE": "the object does not exist, or the user may not see it: deploy what "
    "`journeykit salesforce describe` writes, and assign its permission set",
    "JSON_PARSER_ERROR": "a field does not hold that kind of value; give its type in the mapping",
    "NOT_FOUND": "the object or its external id does not exist: deploy what `journeykit salesforce "
    "describe` writes",
    "NUMBER_OUTSIDE_VALID_RANGE": "the number is too large for that field",
    "ORG_LOCKED": "the org is locked; ask Salesforce",
    "REQUEST_LIMIT_EXCEEDED": "the org has used up its requests of the last 24 hours",
    "REQUEST_RUNNING_TOO_LONG": "the org took too long; it is tried again, or look at its triggers",
    "REQUIRED_FIELD_MISSING": "fields that the object requires are not in the mapping",
    "SERVER_UNAVAILABLE": "the org is away; it is tried again",
    "STORAGE_LIMIT_EXCEEDED": "the org has no room left; delete records, or buy storage",
    "STRING_TOO_LONG": "the text is too long for that field; give its length in the mapping",
    "UNABLE_TO_LOCK_ROW": "another program had the record; it is tried again",
}

#: Of all other codes, of which there are some two hundred.
_LOOK_UP: Final = "look the code up in Salesforce's list of them, put it right, then replay"

#: What an operator can do about an error of the token endpoint.
_TOKEN_ADVICE: Final[Mapping[str, str]] = {
    "inactive_org": "the org is locked or closed",
    "inactive_user": "the user is frozen or not active",
    "invalid_app_access": "the user may not use the connected app; pre-authorise it",
    "invalid_client": "check client_id, and secret or private_key",
    "invalid_client_credentials": "check secret",
    "invalid_client_id": "check client_id",
    "invalid_grant": "for client credentials, the connected app needs the flow switched on and a "
    "user to run as; for JWT, check username, audience, the certificate of the app, that the user "
    "is pre-authorised, and this host's clock",
    "rate_limit_exceeded": "too many sign-ins in an hour",
    "unsupported_grant_type": "switch this flow on in the connected app",
}


@attrs.frozen
class Fault:
    """
    One error as Salesforce tells it.

    Args:
        code: `statusCode` of a row, `errorCode` of a whole answer.

        fields: The fields that it names.

        message: What it says; it may quote what was sent, and is never told to anybody.
    """

    code: str
    fields: tuple[str, ...] = ()
    message: str = attrs.field(default="", repr=False)

    @property
    def is_lock(self) -> bool:
        """Whether the same row may be taken in a moment."""
        if self.code == "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY":
            return any(text in self.message for text in _LOCKED_WITHIN)
        return self.code in LOCKED

    @property
    def is_of_the_org(self) -> bool:
        """Whether every row would get it."""
        return self.code in OF_THE_ORG

    @property
    def is_orphan(self) -> bool:
        """Whether the other end of a link is not there."""
        return self.code == "INVALID_FIELD" and "Foreign key external ID" in self.message

    def is_race(self, key_field: str) -> bool:
        """Whether another request was creating the same record."""
        return self.code == "DUPLICATE_VALUE" and key_field in self.message

    def told(self) -> str:
        """Return the code and the fields, with what to do about it."""
        about = f" ({', '.join(self.fields)})" if self.fields else ""
        return f"{self.code}{about}; {_ADVICE.get(self.code, _LOOK_UP)}"


def row_fault(row: Mapping[str, Any]) -> Fault:
    """Return the first error of a row that was refused."""
    return _first(row.get("errors"), "statusCode")


def answer_fault(body: bytes) -> Fault | None:
    """Return the first error of an answer that is no success; None where it tells of none."""
    try:
        errors = jsonbytes.loads(body)
    except ValueError:
        return None
    fault = _first(errors, "errorCode")
    return fault if fault.code != _UNKNOWN else None


_UNKNOWN: Final = "UNKNOWN"


def _first(errors: object, code: str) -> Fault:
    if not isinstance(errors, Sequence) or not errors or not isinstance(errors[0], Mapping):
        return Fault(_UNKNOWN)
    error = errors[0]
    found = error.get(code)
    if not isinstance(found, str) or not _CODE.fullmatch(found):
        return Fault(_UNKNOWN)
    message = error.get("message")
    return Fault(found, _names(error.get("fields")), message if isinstance(message, str) else "")


def _names(fields: object) -> tuple[str, ...]:
    if not isinstance(fields, Iterable) or isinstance(fields, str | bytes):
        return ()
    return tuple(each for each in fields if isinstance(each, str) and _FIELD.fullmatch(each))[:10]


def token_problem(body: bytes) -> str:
    """Return what the token endpoint complains about, with what to do about it."""
    try:
        told = jsonbytes.loads(body)
    except ValueError:
        return "the answer is no JSON; check url"
    code = told.get("error") if isinstance(told, Mapping) else None
    # Only what we know: an answer may repeat what it was sent.
    if not isinstance(code, str) or code not in _TOKEN_ADVICE:
        return "check client_id, and secret or private_key"
    return f"{code}; {_TOKEN_ADVICE[code]}"
