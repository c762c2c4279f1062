"""
journeykit's events as records in Salesforce.

Importing it starts nothing, and loads neither httpx nor anything that signs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from journeykit import SinkType, hookimpl
from journeykit_salesforce.settings import SalesforceSettings

if TYPE_CHECKING:
    from journeykit_salesforce.sink import SalesforceSink

__all__ = ["SalesforceSettings", "register_commands", "register_sinks"]


@hookimpl
def register_sinks() -> list[SinkType]:
    """Return the kind `type = "salesforce"`."""
    return [SinkType("salesforce", SalesforceSettings, _build)]


@hookimpl
def register_commands(cli: Any) -> None:
    """Add `journeykit salesforce …`."""
    from journeykit_salesforce.commands import salesforce

    cli.add_command(salesforce)


def _build(name: str, settings: SalesforceSettings) -> SalesforceSink:
    from journeykit_salesforce.sink import SalesforceSink

    return SalesforceSink(name, settings)
