"""The sinks of the core, registered as any plugin registers its own."""

from __future__ import annotations

from journeykit.delivery.console import CONSOLE
from journeykit.delivery.file import FILE
from journeykit.hookspecs import hookimpl
from journeykit.model.extension import SinkType


@hookimpl
def register_sinks() -> list[SinkType]:
    """Return the console and the file sink."""
    return [CONSOLE, FILE]
