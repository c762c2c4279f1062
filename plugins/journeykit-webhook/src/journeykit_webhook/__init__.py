"""
Delivers events as webhooks: Standard Webhooks 1.0, or CloudEvents 1.0 in structured mode.

Each `[sinks.NAME] type = "webhook"` is one endpoint with a place of its own in the Log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from journeykit import SinkType, hookimpl
from journeykit_webhook.settings import Format, WebhookSettings

if TYPE_CHECKING:
    from journeykit_webhook.sink import WebhookSink

__all__ = ["Format", "WebhookSettings", "register_commands", "register_sinks"]


def _build(name: str, settings: WebhookSettings) -> WebhookSink:
    # What speaks HTTP is loaded by a shop that has such a sink, and by no other.
    from journeykit_webhook.sink import WebhookSink

    return WebhookSink(name, settings)


@hookimpl
def register_sinks() -> list[SinkType]:
    """Return the webhook sink."""
    return [SinkType("webhook", WebhookSettings, _build)]


@hookimpl
def register_commands(cli: Any) -> None:
    """Add `journeykit webhook …`."""
    from journeykit_webhook.commands import webhook

    cli.add_command(webhook)
