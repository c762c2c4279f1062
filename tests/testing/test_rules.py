"""The contract of rules holds for the core's, and is failed by rules that break it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.testing.running import load, promises, run

from journeykit.journeys.catalogue import CATALOGUE
from journeykit.model.rule import PainPointRule
from journeykit.testing import RuleContract

BROKEN, broken_rules = load("broken_rules")
KINDS: list[Any] = broken_rules.Sound.__subclasses__()


class TestCatalogue(RuleContract):
    """The rules of the core keep the contract; what they find is tested with their definitions."""

    # They are registered already.
    test_contract_rule_can_be_registered = None  # type: ignore[assignment]
    test_contract_it_finds_what_hurts = None  # type: ignore[assignment]
    test_contract_it_finds_nothing_harmless = None  # type: ignore[assignment]

    @pytest.fixture(params=CATALOGUE, ids=lambda rule: rule.code)
    def rule(self, request: pytest.FixtureRequest) -> PainPointRule:
        """Return each rule in turn."""
        found: PainPointRule = request.param
        return found


def test_a_sound_rule_keeps_every_promise() -> None:
    """A rule that does everything right passes."""
    assert run(f"{BROKEN}::TestSound") == {"TestSound": set()}


def test_a_broken_rule_is_caught() -> None:
    """A rule that breaks a promise fails the test of that promise."""
    failed = run(*(f"{BROKEN}::Test{kind.__name__}::{kind.breaks}" for kind in KINDS))

    assert failed == {f"Test{kind.__name__}": {kind.breaks} for kind in KINDS}


def test_every_promise_is_broken_by_some_rule() -> None:
    """No test of the contract is one that no rule could fail."""
    assert sorted({kind.breaks for kind in KINDS}) == promises(RuleContract)
