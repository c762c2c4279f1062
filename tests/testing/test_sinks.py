"""Each test of the contract of sinks is failed by a sink that breaks just that promise."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from tests.testing.running import load, promises, run

from journeykit.testing import HookContract, HttpSinkContract, RuleContract
from journeykit.testing import sinks as contract

BROKEN, broken_sinks = load("broken_sinks")

#: The sinks, each of which says what it breaks.
KINDS: list[Any] = broken_sinks.Sound.__subclasses__()


def test_a_sound_sink_keeps_every_promise() -> None:
    """A sink that does everything right passes."""
    assert run(f"{BROKEN}::TestSound") == {"TestSound": set()}


def test_a_broken_sink_is_caught() -> None:
    """A sink that breaks a promise fails the test of that promise."""
    failed = run(*(f"{BROKEN}::Test{kind.__name__}::{kind.breaks}" for kind in KINDS))

    assert failed == {f"Test{kind.__name__}": {kind.breaks} for kind in KINDS}


def test_every_promise_is_broken_by_somebody() -> None:
    """No test of the contract is one that no sink could fail."""
    assert sorted({kind.breaks for kind in KINDS}) == promises(HttpSinkContract)


@pytest.mark.parametrize("kind", [HttpSinkContract, RuleContract, HookContract])
def test_promises_are_sentences(kind: type) -> None:
    """What a test of a contract checks is said in one sentence, for who fails it."""
    for promise in promises(kind):
        text = inspect.getdoc(getattr(kind, promise)) or ""
        assert text.endswith("."), promise
        assert "\n" not in text, promise


@pytest.mark.parametrize(
    "kind", ["SinkContract", "HttpSinkContract", "RuleContract", "HookContract"]
)
def test_the_fixture_must_be_given(kind: str, tmp_path: Path) -> None:
    """A contract without its fixture fails."""
    path = tmp_path / f"test_none_{kind.lower()}.py"
    path.write_text(f"from journeykit.testing import {kind}\nclass TestNone({kind}):\n    pass\n")

    assert run(str(path))["TestNone"]


def test_awkward_events_are_what_the_log_takes() -> None:
    """The unusual events of the contract are events: they can be read back."""
    for entry in contract.awkward():
        assert entry.event().name == entry.name
