"""What `[sinks.NAME] type = "webhook"` can say."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Any

import attrs

from journeykit import Secret
from journeykit.delivery.guard import Guard


class Format(StrEnum):
    """What a request looks like."""

    #: Standard Webhooks 1.0: `{"type", "timestamp", "data"}`, signed.
    STANDARD = "standard"
    #: CloudEvents 1.0 over HTTP, structured mode; signed likewise, if there is a secret.
    CLOUDEVENTS = "cloudevents"


def _to_texts(values: Any) -> tuple[str, ...]:
    if isinstance(values, str):
        msg = f"expected a list, got {values!r}"
        raise TypeError(msg)
    return tuple(values)


def _check_networks(_: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for network in value:
        try:
            Guard([network])
        except ValueError:
            msg = f'expected an address or a network such as "10.1.0.0/16", got {network!r}'
            raise ValueError(msg) from None


def _check_timeout(_: object, attribute: attrs.Attribute[Any], value: timedelta) -> None:
    if value <= timedelta(0):
        msg = "expected a duration above zero"
        raise ValueError(msg)


@attrs.frozen(kw_only=True)
class WebhookSettings:
    """
    Settings of `[sinks.NAME] type = "webhook"`.

    Args:
        url: Where to post: `https://…`, or a reference, where the address itself is a secret.

        secret: What requests are signed with: `whsec_` and the base64 of 24 to 64 bytes.

        old_secrets: What they are signed with besides, while the receiver changes to `secret`.

        format: `"standard"` or `"cloudevents"`.

        events: Only events with these names; `*` stands for anything, as in `"stage.*"`. Without
            any, all.

        headers: Further headers; a value may be a reference.

        source: What CloudEvents name as their source; `/journeykit/APP` if not given.

        allow: Addresses and networks that are not public, and may be posted to all the same.

        connections: How many requests are under way at a time, at most; those about one customer
            go one after the other.

        timeout: How long the other side may take to connect, and to answer (15 s: what Standard
            Webhooks asks for at least).
    """

    url: str | Secret
    secret: Secret | None = None
    old_secrets: tuple[Secret, ...] = attrs.field(default=(), converter=_to_texts)
    format: Format = attrs.field(default=Format.STANDARD, converter=Format)
    events: tuple[str, ...] = attrs.field(
        default=(),
        converter=_to_texts,
        validator=attrs.validators.deep_iterable(attrs.validators.instance_of(str)),
    )
    headers: dict[str, str | Secret] = attrs.field(factory=dict)
    source: str | None = None
    allow: tuple[str, ...] = attrs.field(default=(), converter=_to_texts, validator=_check_networks)
    connections: int = attrs.field(
        default=4, validator=[attrs.validators.ge(1), attrs.validators.le(64)]
    )
    timeout: timedelta = attrs.field(default=timedelta(seconds=15), validator=_check_timeout)

    def __attrs_post_init__(self) -> None:
        if self.secret is None and self.format is Format.STANDARD:
            msg = 'secret is missing: Standard Webhooks are signed; write secret = { env = "NAME" }'
            raise ValueError(msg)
        if self.secret is None and self.old_secrets:
            msg = "old_secrets without a secret: name the one that is in force as secret"
            raise ValueError(msg)


def reveal(value: str | Secret) -> str:
    """Return what *value* is, or refers to."""
    return value.reveal() if isinstance(value, Secret) else value
