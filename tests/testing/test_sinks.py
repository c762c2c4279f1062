"""Each test of the contract of sinks is failed by a sink that breaks just that promise."""

from __future__ import annotations

import importlib.util
import inspect
import os
from pathlib import Path
from typing import Any

import pytest

from journeykit.testing import HttpSinkContract
from journeykit.testing import sinks as contract

BROKEN = Path(__file__).parent / "broken_sinks.py"
_SPEC = importlib.util.spec_from_file_location("broken_sinks", BROKEN)
assert _SPEC is not None
assert _SPEC.loader is not None
broken_sinks = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(broken_sinks)

#: Every promise, as the test that checks it.
PROMISES = sorted(name for name in dir(HttpSinkContract) if name.startswith("test_contract_"))


#: The sinks, each of which says what it breaks.
KINDS: list[Any] = broken_sinks.Sound.__subclasses__()


def run(*tests: str) -> dict[str, set[str]]:
    """Run *tests* in a pytest of their own; returns those that failed, by their class."""

    class Results:
        def __init__(self) -> None:
            self.failed: dict[str, set[str]] = {}

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            _, name, test = report.nodeid.split("::")
            failed = self.failed.setdefault(name, set())
            if report.failed:
                failed.add(test.partition("[")[0])

    results = Results()
    options = ["-p", "no:cacheprovider", "-p", "no:terminal", "-c", os.devnull, "-W", "ignore"]
    pytest.main([*options, *tests], [results])
    return results.failed


def test_a_sound_sink_keeps_every_promise() -> None:
    """A sink that does everything right passes."""
    assert run(f"{BROKEN}::TestSound") == {"TestSound": set()}


def test_a_broken_sink_is_caught() -> None:
    """A sink that breaks a promise fails the test of that promise."""
    failed = run(*(f"{BROKEN}::Test{kind.__name__}::{kind.breaks}" for kind in KINDS))

    assert failed == {f"Test{kind.__name__}": {kind.breaks} for kind in KINDS}


def test_every_promise_is_broken_by_somebody() -> None:
    """No test of the contract is one that no sink could fail."""
    assert sorted({kind.breaks for kind in KINDS}) == PROMISES


@pytest.mark.parametrize("promise", PROMISES)
def test_promises_are_sentences(promise: str) -> None:
    """What a test of the contract checks is said in one sentence, for who fails it."""
    text = inspect.getdoc(getattr(HttpSinkContract, promise)) or ""
    assert text.count(".") >= 1
    assert "\n" not in text


def test_the_fixture_must_be_given(tmp_path: Path) -> None:
    """A contract without its fixture fails, and says which one is missing."""
    path = tmp_path / "test_none.py"
    path.write_text(
        "from journeykit.testing import SinkContract\nclass TestNone(SinkContract):\n    pass\n"
    )
    failed = run(str(path))["TestNone"]

    assert "test_contract_every_event_arrives" in failed


def test_awkward_events_are_what_the_log_takes() -> None:
    """The unusual events of the contract are events: they can be read back."""
    for entry in contract.awkward():
        assert entry.event().name == entry.name
