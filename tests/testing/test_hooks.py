"""The contract of hooks holds for the core's plugin, and is failed by plugins that break it."""

from __future__ import annotations

from typing import Any

from tests.testing.running import load, promises, run

from journeykit import hookspecs
from journeykit.plugins import Plugins
from journeykit.testing import HookContract, hooks

BROKEN, broken_hooks = load("broken_hooks")
KINDS: list[Any] = broken_hooks.Sound.__subclasses__()


def test_a_sound_plugin_keeps_every_promise() -> None:
    """A plugin that does everything right passes."""
    assert run(f"{BROKEN}::TestSound") == {"TestSound": set()}


def test_a_broken_plugin_is_caught() -> None:
    """A plugin that breaks a promise fails the test of that promise."""
    failed = run(*(f"{BROKEN}::Test{kind.__name__}::{kind.breaks}" for kind in KINDS))

    assert failed == {f"Test{kind.__name__}": {kind.breaks} for kind in KINDS}


def test_every_promise_is_broken_by_some_plugin() -> None:
    """No test of the contract is one that no plugin could fail."""
    assert sorted({kind.breaks for kind in KINDS}) == promises(HookContract)


def test_every_hook_is_asked() -> None:
    """No hook is left out: each is asked when a kit or the command line starts, or about events."""
    asked = {name for name in vars(hookspecs) if name.startswith("register_")} | {*hooks._ASKED}

    assert {*Plugins(installed=False)._hooks} == asked
