from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

from journeykit import hookspecs
from journeykit.plugins import Plugins

HOOKS: dict[str, Callable[..., object]] = {
    name: value
    for name, value in vars(hookspecs).items()
    if inspect.isfunction(value) and value.__module__ == hookspecs.__name__
}
HERE = Path(__file__).parent


def test_the_hooks_are_these() -> None:
    """The hooks' names are a promise to plugin authors: none goes, and none is renamed."""
    assert set(HOOKS) == {
        "register_sinks",
        "register_sources",
        "register_journeys",
        "register_rules",
        "register_endpoints",
        "register_commands",
        "enrich_event",
        "accept_event",
        "detect_stage",
        "detect_pain_points",
        "select_prompt",
        "read_answer",
        "route_case",
        "event_parked",
    }


#: What version 0.1 promised; arguments are only ever added.
ARGUMENTS = {
    "register_sinks": (),
    "register_sources": (),
    "register_journeys": (),
    "register_rules": (),
    "register_endpoints": ("settings", "kit"),
    "register_commands": ("cli",),
    "enrich_event": ("event",),
    "accept_event": ("event",),
    "detect_stage": ("event", "journey", "instance"),
    "detect_pain_points": ("event", "customer"),
    "select_prompt": ("candidates", "customer", "page"),
    "read_answer": ("answer",),
    "route_case": ("case",),
    "event_parked": ("event", "sink", "reason"),
}


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_arguments_are_only_ever_added(hook: str) -> None:
    """Every argument that a version has promised is still there, by its name."""
    present = inspect.signature(HOOKS[hook]).parameters
    assert set(ARGUMENTS[hook]) <= set(present)


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_a_hook_says_when_and_what_if(hook: str) -> None:
    """Every hook is specified, typed and documented; one that answers says what if it raises."""
    function = HOOKS[hook]
    assert hasattr(function, f"{hookspecs.PROJECT}_spec")
    assert set(function.__annotations__) == {*inspect.signature(function).parameters, "return"}
    text = inspect.getdoc(function) or ""
    assert text
    if hook != "event_parked":
        assert "If it raises" in text


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_a_hook_is_a_method_of_plugins(hook: str) -> None:
    """Every hook is a typed method of `Plugins` with the same arguments."""
    method = getattr(Plugins, hook)
    assert tuple(inspect.signature(method).parameters)[1:] == ARGUMENTS[hook]
    assert set(method.__annotations__) == {*ARGUMENTS[hook], "return"}


def test_every_hook_is_tested() -> None:
    """Each hook has a test called after it, so that a new one cannot come without."""
    tests: set[str] = set()
    for name in ("test_plugins.py", "test_hookspecs.py"):
        tree = ast.parse((HERE / name).read_text(encoding="utf-8"))
        tests |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {f"test_hook_{hook}" for hook in HOOKS} <= tests


def test_markers_carry_the_projects_name() -> None:
    """The markers of hooks and of implementations are those of the entry-point group."""
    assert hookspecs.hookimpl.project_name == hookspecs.hookspec.project_name == "journeykit"
