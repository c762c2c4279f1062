"""
An org of Salesforce, as far as the plugin can tell: signs in, keeps records, refuses what it must.

It is proven by what real orgs have answered (`data/cumulusci_rest.json`) and by clients that others
have written, before it proves anything.
"""

from __future__ import annotations

import itertools
import re
import urllib.parse
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from xml.etree import ElementTree as ET

import attrs
import jwt

from journeykit.model import jsonbytes
from journeykit.testing import Fault, FaultyServer, Outside, Received, Reply

CLIENT_ID = "3MVG9.consumer.key"
SECRET = "consumer-secret-5H0ULD-N0T-SH0W"
USERNAME = "integration@acme.example"
TOKEN = "00Dxx!ACCESS.T0KEN"

_JSON = "application/json;charset=UTF-8"
_DATA = re.compile(r"(/services/data/v[\dx.]+)(/.*)")
_SOQL = re.compile(
    r"select\s+(?P<fields>.+?)\s+from\s+(?P<object>\w+)(?:\s+where\s+(?P<where>.+?))?"
    r"(?:\s+limit\s+(?P<limit>\d+))?\s*",
    re.IGNORECASE | re.DOTALL,
)
_CONDITION = re.compile(r"([\w.]+)\s*=\s*'((?:[^'\\]|\\.)*)'")

#: Fields that every org has, as far as tests need them, and those that must be filled in.
STANDARD = {
    "Contact": {"LastName": str, "FirstName": str, "Email": str},
    "Lead": {"LastName": str, "Company": str, "Email": str},
    "Case": {"Subject": str, "Status": str, "Priority": str, "Origin": str},
}
REQUIRED = {"Contact": ["LastName"], "Lead": ["LastName", "Company"]}
_KINDS = {
    "Text": str,
    "LongTextArea": str,
    "DateTime": str,
    "Date": str,
    "Number": float,
    "Currency": float,
    "Checkbox": bool,
}


class Refusal(Exception):
    """A whole request that is refused."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message


class RowRefusal(Exception):
    """One row that is refused."""

    def __init__(self, code: str, message: str, *fields: str) -> None:
        self.error = {"statusCode": code, "message": message, "fields": list(fields)}


@attrs.define
class Org:
    """
    An org.

    Args:
        strict: Whether objects and fields must have been deployed.
    """

    strict: bool = True
    key: Any = None
    #: Object → id → record.
    records: dict[str, dict[str, dict[str, Any]]] = attrs.field(factory=dict)
    #: Object → field → what it holds, and how much text.
    schema: dict[str, dict[str, tuple[type, int]]] = attrs.field(factory=dict)
    links: dict[tuple[str, str], str] = attrs.field(factory=dict)
    #: Ids for new records; made up where there are none.
    ids: Iterator[str] = attrs.field(factory=lambda: iter(()))
    tokens: set[str] = attrs.field(factory=set)
    grants: list[str] = attrs.field(factory=list)
    #: External ids of what was written, in order, by object.
    written: list[tuple[str, str]] = attrs.field(factory=list)
    calls: list[int] = attrs.field(factory=list)
    #: External id → how often it is locked still.
    locked: dict[str, int] = attrs.field(factory=dict)
    #: External id → the code for which it is refused.
    refused: dict[str, str] = attrs.field(factory=dict)
    used: int = 0
    most: int = 15_000
    instance_url: str = ""
    _base: str = ""
    _numbers: Any = attrs.field(factory=itertools.count)

    def deploy(self, files: Mapping[str, str]) -> None:
        """Take metadata: what `describe` writes."""
        for object_name, fields in STANDARD.items():
            known = self.schema.setdefault(object_name, {})
            known.update({name: (kind, 255) for name, kind in fields.items()})
        for path, text in files.items():
            if path.startswith("objects/"):
                self._deploy(path.removeprefix("objects/").removesuffix(".object"), text)

    def _deploy(self, name: str, text: str) -> None:
        root = ET.fromstring(text)
        space = root.tag.partition("}")[0] + "}"
        known = self.schema.setdefault(name, {})
        named = root.find(f"{space}nameField/{space}type")
        if named is not None and named.text == "Text":
            known["Name"] = str, 80
        for field in root.findall(f"{space}fields"):
            tags = {tag.tag.removeprefix(space): tag.text or "" for tag in field}
            if tags["type"] == "Lookup":
                relation = tags["fullName"].replace("__c", "__r")
                self.links[name, relation] = tags["referenceTo"]
            else:
                length = int(tags.get("length", 0))
                known[tags["fullName"]] = _KINDS[tags["type"]], length

    def all(self, object_name: str) -> list[dict[str, Any]]:
        """Return the records of an object, in the order in which they were made."""
        return list(self.records.get(object_name, {}).values())

    # Answers

    def answer(self, request: Received) -> Reply:
        """Return what the org says to *request*."""
        if request.path.startswith("/services/oauth2/token"):
            return self._token(request)
        self.used += 1
        try:
            status, body = self._route(request)
        except Refusal as refusal:
            status = refusal.status
            body = [{"message": refusal.message, "errorCode": refusal.code}]
        except RowRefusal as refusal:
            status, error = 400, refusal.error
            body = [{**error, "errorCode": error["statusCode"]}]
            del body[0]["statusCode"]
        headers = {"Sforce-Limit-Info": f"api-usage={self.used}/{self.most}"}
        if body is None:
            return Reply(status, b"", headers)
        return Reply(status, jsonbytes.dumps(body), {**headers, "Content-Type": _JSON})

    def _token(self, request: Received) -> Reply:
        form = dict(urllib.parse.parse_qsl(request.body.decode()))
        problem = self._refuse_grant(request, form)
        if problem is not None:
            return Reply.of_json({"error": problem, "error_description": f"no: {form}"}, 400)
        self.grants.append(form["grant_type"])
        token = f"{TOKEN}.{len(self.grants)}"
        self.tokens.add(token)
        return Reply.of_json(
            {
                "access_token": token,
                "signature": "c2lnbmF0dXJl",
                "scope": "api",
                "instance_url": self.instance_url,
                "id": "https://login.salesforce.com/id/00Dxx/005xx",
                "token_type": "Bearer",
                "issued_at": "1772452800000",
            }
        )

    def _refuse_grant(self, request: Received, form: Mapping[str, str]) -> str | None:
        grant = form.get("grant_type")
        if grant == "client_credentials":
            basic = request.headers.get("authorization", "").removeprefix("Basic ")
            given = form.get("client_id"), form.get("client_secret")
            if basic:
                user, _, password = b64decode(basic).decode().partition(":")
                given = user, password
            if given[0] != CLIENT_ID:
                return "invalid_client_id"
            return None if given[1] == SECRET else "invalid_client"
        if grant == "urn:ietf:params:oauth:grant-type:jwt-bearer" and self.key is not None:
            try:
                claims = jwt.decode(
                    form["assertion"],
                    self.key,
                    algorithms=["RS256"],
                    audience=["https://login.salesforce.com", "https://test.salesforce.com"],
                    options={"verify_exp": False, "require": ["iss", "sub", "aud", "exp"]},
                )
            except jwt.InvalidTokenError:
                return "invalid_grant"
            known = claims["iss"] == CLIENT_ID and claims["sub"] == USERNAME
            return None if known and isinstance(claims["exp"], int) else "invalid_grant"
        return "unsupported_grant_type"

    def _route(self, request: Received) -> tuple[int, Any]:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            raise Refusal(401, "INVALID_SESSION_ID", "Session expired or invalid")
        if self.used > self.most:
            raise Refusal(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        return self._resource(request.method, request.path, request.body)

    def _resource(  # noqa: PLR0911 - one for each resource
        self, method: str, path: str, body: bytes
    ) -> tuple[int, Any]:
        found = _DATA.fullmatch(path)
        self._base, rest = (found[1], found[2]) if found else ("", "")
        rest, _, query = rest.partition("?")
        parts = [urllib.parse.unquote(part) for part in rest.strip("/").split("/")]
        options = dict(urllib.parse.parse_qsl(query))
        match method, parts:
            case "GET", ["query"]:
                return 200, self._query(options["q"])
            case "POST", ["composite"]:
                return 200, self._composite(_json(body))
            case "PATCH", ["composite", "sobjects", name, field]:
                return 200, self._upsert(name, field, _json(body))
            case "POST" | "PATCH", ["composite", "sobjects"]:
                return 200, self._write(_json(body), update=method == "PATCH")
            case "DELETE", ["composite", "sobjects"]:
                return 200, [self._delete(each) for each in options["ids"].split(",")]
            case "POST", ["sobjects", name]:
                self._check(name, _json(body))
                return 201, self._row(name, None, _json(body), created=None)
            case "PATCH", ["sobjects", name, field, value]:
                return self._upsert_one(name, field, value, _json(body))
            case "GET", ["sobjects", name, field, value]:
                self._object(name)
                return 200, self._at(name, field, value)
            case "GET" | "DELETE" | "PATCH", ["sobjects", name, key]:
                return self._one(method, name, key, body)
        raise Refusal(404, "NOT_FOUND", "The requested resource does not exist")

    # Writing

    def _upsert(self, name: str, field: str, body: Any) -> list[dict[str, Any]]:
        rows = self._rows(body)
        types = {row.get("attributes", {}).get("type") for row in rows}
        if types != {name}:
            raise Refusal(400, "INVALID_TYPE", "All records must be of one type")
        self._object(name)
        if field != "Id":
            self._field(name, field)
        for row in rows:
            self._check(name, row)
        values = [row.get(field) for row in rows]
        twice = {value for value in values if value is not None and values.count(value) > 1}
        return [
            _failed(
                RowRefusal("DUPLICATE_VALUE", f"Duplicate external id specified: {value}", field)
            )
            if value in twice
            else self._upsert_row(name, field, row)
            for value, row in zip(values, rows, strict=True)
        ]

    def _upsert_row(self, name: str, field: str, row: Mapping[str, Any]) -> dict[str, Any]:
        value = row.get(field)
        found = [
            each for each in self.all(name) if value is not None and _read(each, field) == value
        ]
        if len(found) > 1:
            return _failed(RowRefusal("DUPLICATE_EXTERNAL_ID", "more than one record found"))
        if field == "Id" and value is not None and not found:
            return _failed(RowRefusal("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id"))
        answer = self._tried(name, found[0]["Id"] if found else None, row, created=not found)
        if answer["success"] and value is not None:
            self.written.append((name, value))
        return answer

    def _upsert_one(
        self, name: str, field: str, value: str, fields: Mapping[str, Any]
    ) -> tuple[int, Any]:
        self._object(name)
        self._check(name, fields)
        found = [each for each in self.all(name) if _read(each, field) == value]
        if len(found) > 1:
            base = "/services/data/v62.0/sobjects"
            return 300, [f"{base}/{name}/{each['Id']}" for each in found]
        known = found[0]["Id"] if found else None
        answer = self._row(name, known, {**fields, field: value}, created=not found)
        return (200 if found else 201), answer

    def _write(self, body: Any, *, update: bool) -> list[dict[str, Any]]:
        rows = self._rows(body)
        for row in rows:
            self._object(row["attributes"]["type"])
        answers = []
        for row in rows:
            name, known = row["attributes"]["type"], row.get("Id") if update else None
            if update and known not in self.records.get(name, {}):
                answers.append(_failed(RowRefusal("ENTITY_IS_DELETED", "entity is deleted")))
            else:
                answers.append(self._tried(name, known, row, created=None))
        return answers

    def _tried(
        self, name: str, known: str | None, row: Mapping[str, Any], *, created: bool | None
    ) -> dict[str, Any]:
        try:
            return self._row(name, known, row, created=created)
        except RowRefusal as refusal:
            return _failed(refusal)

    def _row(
        self, name: str, known: str | None, row: Mapping[str, Any], *, created: bool | None
    ) -> dict[str, Any]:
        self._object(name)
        fields = {key: value for key, value in row.items() if key not in ("attributes", "Id")}
        self._refuse_row(name, fields, is_new=known is None)
        given = row.get("Id") if known is None else known
        new = given or next(self.ids, None) or f"a01xx{next(self._numbers):010d}AAA"
        record = self.records.setdefault(name, {}).setdefault(new, {"Id": new})
        record.update(fields)
        answer = {"id": new, "success": True, "errors": []}
        return answer if created is None else {**answer, "created": created}

    def _refuse_row(self, name: str, fields: Mapping[str, Any], *, is_new: bool) -> None:
        for value in fields.values():
            if not isinstance(value, str):
                continue
            if self.locked.get(value, 0) > 0:
                self.locked[value] -= 1
                message = "unable to obtain exclusive access to this record"
                raise RowRefusal("UNABLE_TO_LOCK_ROW", message)
            if value in self.refused:
                message = f"no, not {value} of {fields}"
                raise RowRefusal(self.refused[value], message, next(iter(fields)))
        for key, value in fields.items():
            self._refuse_value(name, key, value)
        missing = [each for each in REQUIRED.get(name, ()) if is_new and not fields.get(each)]
        if missing and self.strict:
            message = f"Required fields are missing: [{', '.join(missing)}]"
            raise RowRefusal("REQUIRED_FIELD_MISSING", message, *missing)

    def _refuse_value(self, name: str, key: str, value: Any) -> None:
        if isinstance(value, Mapping):
            target = self._target(name, key)
            ((field, wanted),) = value.items()
            if not any(_read(each, field) == wanted for each in self.all(target)):
                message = (
                    f"Foreign key external ID: {wanted} not found for field {field} in entity "
                    f"{target}"
                )
                raise RowRefusal("INVALID_FIELD", message)
            return
        _, length = self.schema.get(name, {}).get(key, (object, 0))
        if isinstance(value, str) and length and len(value) > length:
            message = f"{key}: data value too large: {value} (max length={length})"
            raise RowRefusal("STRING_TOO_LONG", message, key)

    def _delete(self, known: str) -> dict[str, Any]:
        for records in self.records.values():
            if records.pop(known, None) is not None:
                return {"id": known, "success": True, "errors": []}
        return _failed(RowRefusal("ENTITY_IS_DELETED", "entity is deleted"))

    def _one(self, method: str, name: str, key: str, body: bytes) -> tuple[int, Any]:
        self._object(name)
        record = self.records.get(name, {}).get(key)
        if record is None:
            raise Refusal(404, "NOT_FOUND", "The requested resource does not exist")
        if method == "DELETE":
            self._delete(key)
            return 204, None
        if method == "PATCH":
            self._check(name, _json(body))
            self._row(name, key, _json(body), created=None)
            return 204, None
        return 200, {**self._about(name, record), **record}

    # Reading

    def _query(self, soql: str) -> dict[str, Any]:
        found = _SOQL.fullmatch(soql.strip())
        if found is None:
            raise Refusal(400, "MALFORMED_QUERY", f"unexpected token: {soql}")
        name, fields = found["object"], found["fields"]
        if name not in self.schema and name not in self.records:
            raise Refusal(400, "INVALID_TYPE", f"sObject type '{name}' is not supported.")
        records = [each for each in self.all(name) if _meets(each, found["where"])]
        if fields.lower() == "count()":
            return {"totalSize": len(records), "done": True, "records": []}
        names = [each.strip() for each in fields.split(",")]
        limit = int(found["limit"] or 2000)
        rows = [
            {**self._about(name, record), **{each: _read(record, each) for each in names}}
            for record in records[:limit]
        ]
        return {"totalSize": len(rows), "done": True, "records": rows}

    def _composite(self, body: Any) -> dict[str, Any]:
        answers = []
        for each in body["compositeRequest"]:
            try:
                status, answer = self._resource(each["method"], each["url"], b"")
            except Refusal as refusal:
                status = refusal.status
                answer = [{"errorCode": refusal.code, "message": refusal.message}]
            answers.append(
                {
                    "body": answer,
                    "httpHeaders": {},
                    "httpStatusCode": status,
                    "referenceId": each["referenceId"],
                }
            )
        return {"compositeResponse": answers}

    def _at(self, name: str, field: str, value: str) -> dict[str, Any]:
        for record in self.all(name):
            if _read(record, field) == value:
                return {**self._about(name, record), **record}
        raise Refusal(404, "NOT_FOUND", "Provided external ID field does not exist")

    def _about(self, name: str, record: Mapping[str, Any]) -> dict[str, Any]:
        return {"attributes": {"type": name, "url": f"{self._base}/sobjects/{name}/{record['Id']}"}}

    # What there is

    def _rows(self, body: Any) -> list[dict[str, Any]]:
        rows = body.get("records") if isinstance(body, dict) else None
        if not isinstance(rows, list) or not rows:
            raise Refusal(400, "REQUIRED_FIELD_MISSING", "records is missing")
        if len(rows) > 200:
            raise Refusal(
                400, "EXCEEDED_ID_LIMIT", "record limit reached. cannot submit more than 200"
            )
        return rows

    def _object(self, name: str) -> None:
        if self.strict and name not in self.schema:
            raise Refusal(404, "NOT_FOUND", "The requested resource does not exist")

    def _field(self, name: str, field: str) -> None:
        if self.strict and field not in self.schema[name]:
            message = f"No such column '{field}' on sobject of type {name}"
            raise Refusal(400, "INVALID_FIELD", message)

    def _target(self, name: str, link: str) -> str:
        target = self.links.get((name, link)) or (link if link in STANDARD else None)
        if target is None:
            message = f"No such column '{link}' on sobject of type {name}"
            raise Refusal(400, "INVALID_FIELD", message)
        return target

    def _check(self, name: str, row: Mapping[str, Any]) -> None:
        self._object(name)
        if not self.strict:
            return
        for key, value in row.items():
            if key in ("attributes", "Id"):
                continue
            if isinstance(value, Mapping):
                self._field(self._target(name, key), next(iter(value)))
                continue
            self._field(name, key)
            kind, _ = self.schema[name][key]
            fits = isinstance(value, int | float) if kind is float else isinstance(value, kind)
            if value is not None and (not fits or (kind is float and isinstance(value, bool))):
                message = f"Cannot deserialize instance of {kind} from {value!r}"
                raise Refusal(400, "JSON_PARSER_ERROR", message)


def _json(body: bytes) -> Any:
    try:
        return jsonbytes.loads(body)
    except ValueError:
        raise Refusal(400, "JSON_PARSER_ERROR", "Unexpected character") from None


def _failed(refusal: RowRefusal) -> dict[str, Any]:
    return {"success": False, "errors": [refusal.error]}


def _read(record: Mapping[str, Any], field: str) -> Any:
    value: Any = record
    for part in field.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _meets(record: Mapping[str, Any], where: str | None) -> bool:
    if where is None:
        return True
    conditions = _CONDITION.findall(where)
    assert conditions, where
    return any(
        _read(record, field) == re.sub(r"\\(.)", r"\1", value) for field, value in conditions
    )


class OrgServer(FaultyServer):
    """
    The server of an org.

    What it is told to do to the next requests it does to those that are no sign-in.
    """

    def __init__(self, org: Org, **options: Any) -> None:
        super().__init__(org.answer, **options)
        self.org = org
        org.instance_url = self.url

    def meet(self, request: Received) -> Reply | Fault:
        """Note *request*, and return what becomes of it."""
        if request.path.startswith("/services/oauth2/token") and self._troubles:
            return self.answer(request)
        outcome = super().meet(request)
        if outcome in (Fault.LOSE, Fault.CUT, Fault.TRICKLE, Fault.ENDLESS):
            self.answer(request)
        return outcome


class Written(Outside):
    """The touchpoints that an org has taken, as often as they were written."""

    def __init__(self, server: OrgServer) -> None:
        self._server = server

    def pieces(self) -> Iterable[bytes]:
        """Return the external id of each."""
        return [key.encode() for name, key in self._server.org.written if name == "Touchpoint__c"]

    def outage(self) -> Any:
        """Return a block during which nobody listens."""
        return self._server.away()
