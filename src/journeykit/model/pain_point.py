"""Friction that a rule has found."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

import attrs


class Severity(StrEnum):
    """How much a pain point hurts."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


_CODE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")


def is_code(value: object) -> bool:
    """Return whether *value* is a pain point's code: dotted and lower case."""
    return isinstance(value, str) and _CODE.fullmatch(value) is not None


def _check_code(_: object, __: attrs.Attribute[str], value: str) -> None:
    if not is_code(value):
        msg = f"a pain point's code is dotted and lower case, as in 'coupon.denied'; got {value!r}"
        raise ValueError(msg)


@attrs.frozen
class PainPoint:
    """
    Detected friction.

    Args:
        code: Dotted, lower case: `"search.no_results"`.

        severity: `"low"`, `"medium"`, `"high"` or `"critical"`.

        evidence: Ids of the events that prove it; empty means the event being looked at.

        properties: What else a reader should know, JSON values only.

    Raises:
        ValueError: The code or the severity is none.
    """

    code: str = attrs.field(validator=_check_code)
    severity: Severity = attrs.field(default=Severity.MEDIUM, kw_only=True, converter=Severity)
    evidence: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=tuple)
    properties: dict[str, Any] = attrs.field(factory=dict, kw_only=True)
