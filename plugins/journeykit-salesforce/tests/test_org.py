"""The org of the tests answers as real ones did, and as clients by others expect."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from journeykit.testing import Received

RECORDED: list[dict[str, Any]] = [
    each
    for each in json.loads((Path(__file__).parent / "data" / "cumulusci_rest.json").read_text())
    if not each["hand_edited_upstream"]
]
SESSIONS = {
    f"{source.rpartition('/')[2]}": list(exchanges)
    for source, exchanges in groupby(RECORDED, key=lambda each: each["source"])
}


def made(exchange: dict[str, Any]) -> list[str]:
    """Return the ids of the records that an exchange has made."""
    method, body = exchange["request"]["method"], exchange["response"]["body"]
    if method == "POST" and isinstance(body, dict):
        return [body["id"]] if "id" in body else []
    rows = [row for row in body if row.get("created", method == "POST")]
    return [row["id"] for row in rows]


def updated(exchange: dict[str, Any]) -> list[tuple[str, str]]:
    """Return object and id of the records that an exchange changes by their ids."""
    rows = (exchange["request"]["body"] or {}).get("records", [])
    return [(row["attributes"]["type"], row["Id"]) for row in rows if row.get("Id")]


def without_messages(body: Any) -> Any:
    """Return an answer without what it says to people."""
    text = json.loads(json.dumps(body))
    for each in text.get("compositeResponse", []) if isinstance(text, dict) else []:
        for error in each["body"] if isinstance(each["body"], list) else []:
            error.pop("message")
    return text


@pytest.mark.parametrize("session", list(SESSIONS))
def test_answers_are_those_of_real_orgs(fake: Any, session: str) -> None:
    """What a real org was asked, one request after the other, is answered as it answered."""
    exchanges = SESSIONS[session]
    org = fake.Org(strict=False, ids=iter([each for one in exchanges for each in made(one)]))
    org.tokens.add("t")
    org.records["Opportunity"] = {}
    known = {each for exchange in exchanges for each in made(exchange)}
    for name, record in (each for exchange in exchanges for each in updated(exchange)):
        if record not in known:
            org.records.setdefault(name, {})[record] = {"Id": record}
    if "count_sobjects" in session:
        org.records["Account"] = {str(number): {"Id": str(number)} for number in range(17)}
    if "parallel" in session or "reference_ids" in session:
        org.records.setdefault("Account", {})

    for exchange in exchanges:
        request, response = exchange["request"], exchange["response"]
        body = json.dumps(request["body"]).encode()
        sent = Received(request["method"], request["path"], {"authorization": "Bearer t"}, body)
        answer = org.answer(sent)
        assert answer.status == response["status"]
        assert without_messages(json.loads(answer.body)) == without_messages(response["body"])
