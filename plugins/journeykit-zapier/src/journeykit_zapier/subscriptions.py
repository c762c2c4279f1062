"""What Zaps have subscribed to, kept in the store."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from journeykit.model import jsonbytes
from journeykit_webhook.posting import Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from journeykit.store.kept import Kept


@attrs.frozen
class Subscription:
    """
    One Zap that is switched on.

    Args:
        id: Follows from address and event, so that subscribing twice is subscribing once.

        url: Where to post; whoever knows it can write to the Zap.

        event: The name of the events.

        since: When it was made; RFC 3339, as events say when they were recorded.
    """

    id: str
    url: str = attrs.field(repr=False)
    event: str
    since: str

    @classmethod
    def of(cls, url: str, event: str, since: str) -> Subscription:
        """Return the subscription of *event* at *url*."""
        digest = hashlib.sha256(f"{url}\x1f{event}".encode()).hexdigest()
        return cls(digest[:24], url, event, since)


class Subscriptions:
    """The subscriptions of one sink, for all processes."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def all(self) -> list[Subscription]:
        """Return them, the oldest first."""
        found = (_read(key, value) for key, value in self._kept.all().items())
        return sorted(
            (each for each in found if each is not None), key=lambda each: (each.since, each.id)
        )

    def add(self, subscription: Subscription) -> None:
        """Keep *subscription*."""
        told: dict[str, Any] = {
            "url": subscription.url,
            "event": subscription.event,
            "since": subscription.since,
        }
        self._kept.put(subscription.id, jsonbytes.dumps(told))

    def remove(self, id: str) -> None:
        """Forget the subscription called *id*."""
        self._kept.remove(id)


def _read(key: str, value: bytes) -> Subscription | None:
    try:
        told = jsonbytes.loads(value)
        return Subscription(key, told["url"], told["event"], told["since"])
    except (ValueError, KeyError, TypeError):
        return None


def problem(url: object, hosts: Sequence[str], *, plain: bool) -> str | None:
    """Return what is wrong with the address of a subscription, without showing it."""
    if not isinstance(url, str) or len(url) > 2_000:
        return "expected an address"
    try:
        Target.of(url, plain=plain)
    except ValueError as error:
        return str(error)
    host = (urlsplit(url).hostname or "").lower()
    if not any(host == each.lower() for each in hosts):
        return f"subscriptions may lead to {', '.join(hosts)}"
    return None
