from __future__ import annotations

from typing import Any

import pytest

from journeykit.model import PainPoint, Severity


@pytest.mark.parametrize("code", ["coupon", "coupon.denied", "a1.b_2.c"])
def test_codes(code: str) -> None:
    """A code is dotted and lower case."""
    assert PainPoint(code).code == code


@pytest.mark.parametrize(
    "code", ["", "Coupon", "coupon.", ".denied", "1a", "a b", "a..b", "a\n", 7, None]
)
def test_bad_codes_are_refused(code: Any) -> None:
    """Any other code is refused with an example of a good one."""
    with pytest.raises(ValueError, match=r"coupon\.denied"):
        PainPoint(code)


def test_severity_is_one_of_four() -> None:
    """A severity may be given as text; a fifth one is refused; medium is the default."""
    assert PainPoint("a", severity="high").severity is Severity.HIGH  # type: ignore[arg-type]
    assert PainPoint("a").severity is Severity.MEDIUM
    with pytest.raises(ValueError, match="awful"):
        PainPoint("a", severity="awful")  # type: ignore[arg-type]


def test_evidence_is_a_tuple() -> None:
    """Evidence given as a list is kept as a tuple, so that a finding is a value."""
    assert PainPoint("a", evidence=["e1"]).evidence == ("e1",)  # type: ignore[arg-type]
