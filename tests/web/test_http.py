from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit.web import Request, Response

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=8,
)


@given(JSON)
def test_json_goes_out_as_it_comes_in(value: Any) -> None:
    """What a response encodes, a request with that body decodes."""
    response = Response.of_json(value, 201)

    assert (response.status, response.headers) == (201, {"content-type": "application/json"})
    assert json.loads(response.body) == value
    assert Request(method="POST", path="x", body=response.body).json() == value


@pytest.mark.parametrize("body", [b"", b"{", b"\xff"])
def test_a_body_that_is_no_json_is_a_value_error(body: bytes) -> None:
    """A plugin can tell a bad body from any other failure."""
    with pytest.raises(ValueError, match=r"."):
        Request(method="POST", path="x", body=body).json()
