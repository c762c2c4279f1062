from __future__ import annotations

import inspect
import re

import pytest

from journeykit import exceptions
from journeykit.exceptions import (
    ConfigError,
    DeliveryError,
    EventRejected,
    JourneykitError,
    PluginError,
)

ERRORS = {name: kind for name, kind in vars(exceptions).items() if inspect.isclass(kind)}


def test_one_root() -> None:
    """Every error of journeykit can be caught as `JourneykitError`."""
    assert all(issubclass(kind, JourneykitError) for kind in ERRORS.values())


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """The tree that the module draws names every class, each under its parent."""
    drawn: dict[str, str] = {}
    path: list[str] = []
    for prefix, name in re.findall(r"^([│├└─ ]*)(\w+)", _tree(), flags=re.MULTILINE):
        depth = len(prefix) // 4
        path = [*path[:depth], name]
        drawn[name] = path[depth - 1] if depth else "Exception"
    assert drawn == {name: kind.__base__.__name__ for name, kind in ERRORS.items()}


def _tree() -> str:
    return (exceptions.__doc__ or "").split("```text\n")[1].split("```")[0]


@pytest.mark.parametrize(
    ("problems", "text"),
    [
        (["a: b"], "x.toml: 1 mistake\n  - a: b"),
        (["a: b", "c: d"], "x.toml: 2 mistakes\n  - a: b\n  - c: d"),
    ],
)
def test_mistakes_are_listed(problems: list[str], text: str) -> None:
    """The text of a `ConfigError` is its source and one line for each mistake."""
    error = ConfigError(problems, source="x.toml")
    assert str(error) == text
    assert error.problems == tuple(problems)


def test_a_plugin_error_names_plugin_and_hook() -> None:
    """A `PluginError` says who failed, where and how."""
    error = PluginError("zapier", "register_sinks", "KeyError: 'x'")
    assert str(error) == "plugin 'zapier' failed in register_sinks: KeyError: 'x'"
    assert (error.plugin, error.hook) == ("zapier", "register_sinks")


def test_a_rejected_event_says_why() -> None:
    """An `EventRejected` has the event's name and the reason."""
    assert str(EventRejected("A", "full: x")) == "event 'A' was not accepted: full: x"
    assert EventRejected("A", "full").reason == "full"


def test_a_delivery_is_tried_again_unless_it_says_no() -> None:
    """A `DeliveryError` is retryable, at a time of our choice, if it does not say otherwise."""
    error = DeliveryError("503")
    assert (error.retryable, error.retry_after) == (True, None)
    error = DeliveryError("400", retryable=False, retry_after=3.0)
    assert (error.retryable, error.retry_after) == (False, 3.0)
