from __future__ import annotations

from typing import Any

import attrs
import pytest

from journeykit.model.extension import Endpoint, SinkType, SourceType


@attrs.frozen
class Settings:
    url: str


def build(*_: object) -> None:
    """Stand for a plugin's builder."""


@pytest.mark.parametrize("kind", [SinkType, SourceType])
def test_a_kind_has_a_name_settings_and_a_builder(kind: Any) -> None:
    """A kind of sink or source is registered with an attrs class and a callable."""
    assert kind("crm", Settings, build).settings is Settings


@pytest.mark.parametrize("kind", [SinkType, SourceType])
@pytest.mark.parametrize(
    "arguments",
    [
        (7, Settings, build),
        ("crm", dict, build),
        ("crm", Settings("x"), build),
        ("crm", Settings, 7),
    ],
)
def test_a_wrong_kind_is_refused(kind: Any, arguments: tuple[Any, ...]) -> None:
    """A name that is no text, settings that are no attrs class or a builder that is none fail."""
    with pytest.raises(TypeError):
        kind(*arguments)


def test_endpoints() -> None:
    """An endpoint has a path below the mount point and its methods."""
    point = Endpoint("zapier/subscribe", ["POST"], build)
    assert point.methods == ("POST",)


@pytest.mark.parametrize("path", ["", "/absolute", "has space", " "])
def test_bad_paths_are_refused(path: str) -> None:
    """A path that is empty, absolute or has white space is refused."""
    with pytest.raises(ValueError):
        Endpoint(path, ["GET"], build)


@pytest.mark.parametrize("methods", ["GET", [7], 7])
def test_methods_are_a_list(methods: Any) -> None:
    """A single text is not taken for a list of its letters."""
    with pytest.raises(TypeError):
        Endpoint("hook", methods, build)


@pytest.mark.parametrize("name", ["type", "ordering", "purpose", "third_party"])
def test_a_sink_cannot_take_a_key_that_all_have(name: str) -> None:
    """Settings with a key that every sink has are refused: nobody would know whose it is."""
    settings = attrs.make_class("Settings", [name])
    with pytest.raises(ValueError, match=f"may not be called {name}"):
        SinkType("crm", settings, build)
