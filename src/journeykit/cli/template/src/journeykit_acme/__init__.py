"""Delivers journeykit's events to Acme, and finds coupons that are denied twice."""

from __future__ import annotations

from journeykit import PainPointRule, SinkType, hookimpl
from journeykit_acme.rule import DeniedTwice
from journeykit_acme.sink import AcmeSettings, AcmeSink


@hookimpl
def register_sinks() -> list[SinkType]:
    """Add the sink of type `acme`."""
    return [SinkType("acme", AcmeSettings, AcmeSink)]


@hookimpl
def register_rules() -> list[PainPointRule]:
    """Add the rule `acme.denied_twice`."""
    return [DeniedTwice()]
