"""
journeykit's events start Zaps, and Zaps record events.

Importing it starts nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from journeykit import Endpoint, SinkType, hookimpl
from journeykit_zapier.settings import ZapierSettings

if TYPE_CHECKING:
    from journeykit import JourneyKit, Settings
    from journeykit_zapier.sink import ZapierSink

__all__ = ["ZapierSettings", "register_commands", "register_endpoints", "register_sinks"]


@hookimpl
def register_sinks() -> list[SinkType]:
    """Return the kind `type = "zapier"`."""
    return [SinkType("zapier", ZapierSettings, _build)]


@hookimpl
def register_endpoints(settings: Settings, kit: JourneyKit) -> list[Endpoint]:
    """Return what Zapier calls, for each sink that has a key."""
    from journeykit_zapier.endpoints import ZapierEndpoints

    return [
        endpoint
        for name, declared in settings.sinks.items()
        if isinstance(declared.settings, ZapierSettings) and declared.settings.key is not None
        for endpoint in ZapierEndpoints(name, declared.settings, kit).all()
    ]


@hookimpl
def register_commands(cli: Any) -> None:
    """Add `journeykit zapier …`."""
    from journeykit_zapier.commands import zapier

    cli.add_command(zapier)


def _build(name: str, settings: ZapierSettings) -> ZapierSink:
    from journeykit_zapier.sink import ZapierSink

    return ZapierSink(name, settings)
