from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from journeykit.model import jsonbytes

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(values)
def test_both_encoders_write_the_same(value: Any) -> None:
    """With and without orjson the same bytes come out, and the value comes back from them."""
    written = jsonbytes.dumps(value)
    assert written == jsonbytes._stdlib_dumps(value)
    assert jsonbytes.loads(written) == json.loads(written) == value


def test_a_row_becomes_an_array() -> None:
    """A named tuple is written as a JSON array, whatever the encoder."""
    assert jsonbytes.dumps_row((1, "a", None)) == b'[1,"a",null]'
