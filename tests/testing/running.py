"""Runs tests that are meant to fail."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import Phase, settings

from journeykit.testing import HookContract, RuleContract


def load(name: str) -> tuple[Path, ModuleType]:
    """Return the file *name* beside this one, and the module that it is."""
    path = Path(__file__).parent / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return path, module


def run(*tests: str) -> dict[str, set[str]]:
    """Run *tests* in a pytest of their own; returns those that failed, by their class."""

    class Results:
        def __init__(self) -> None:
            self.failed: dict[str, set[str]] = {}

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            _, name, test = report.nodeid.split("::")
            failed = self.failed.setdefault(name, set())
            if report.failed:
                before = "" if report.when == "call" else f"{report.when} of "
                failed.add(before + test.partition("[")[0])

    results = Results()
    options = ["-p", "no:cacheprovider", "-p", "no:terminal", "-c", os.devnull, "-W", "ignore"]
    options += ["-p", "journeykit.testing.plugin"]
    with _not_shrinking():
        pytest.main([*options, *tests], [results])
    return results.failed


@contextlib.contextmanager
def _not_shrinking() -> Iterator[None]:
    """Let Hypothesis be content with the first example that fails: nobody looks at it."""
    attribute = "_hypothesis_internal_use_settings"
    with pytest.MonkeyPatch.context() as patch:
        for contract in (RuleContract, HookContract):
            for name in promises(contract):
                test = getattr(contract, name)
                if hasattr(test, attribute):
                    quick = settings(getattr(test, attribute), phases=[Phase.generate])
                    patch.setattr(test, attribute, quick)
        yield


def promises(contract: type) -> list[str]:
    """Return the names of the tests of a contract."""
    return sorted(name for name in dir(contract) if name.startswith("test_contract_"))
