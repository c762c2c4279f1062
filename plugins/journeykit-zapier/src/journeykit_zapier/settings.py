"""What `[sinks.NAME] type = "zapier"` can say."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

import attrs

from journeykit import Secret
from journeykit.delivery.guard import Guard

#: A key that can be guessed lets anybody read the shop's events.
_SHORTEST_KEY: Final = 16


def _to_texts(values: Any) -> tuple[str, ...]:
    if isinstance(values, str):
        raise TypeError(f"expected a list, got {values!r}")
    return tuple(values)


def _check_networks(_: object, __: object, value: tuple[str, ...]) -> None:
    for network in value:
        try:
            Guard([network])
        except ValueError:
            raise ValueError(
                f'expected an address or a network such as "10.1.0.0/16", got {network!r}'
            ) from None


def _check_positive(_: object, __: object, value: timedelta) -> None:
    if value <= timedelta(0):
        raise ValueError("expected a duration above zero")


def _check_key(_: object, __: object, value: Secret | None) -> None:
    if value is not None and value.problem() is None and len(value.reveal()) < _SHORTEST_KEY:
        raise ValueError(f"the key has fewer than {_SHORTEST_KEY} characters; make a longer one")


_texts: Final = attrs.validators.deep_iterable(attrs.validators.instance_of(str))


@attrs.frozen(kw_only=True)
class CatchHook:
    """
    One `[[sinks.NAME.hooks]]`: the address of a catch hook, which is its own credential.

    Args:
        url: The address, by reference.

        events: Only events with these names; `*` stands for anything. Without any, all.
    """

    url: Secret
    events: tuple[str, ...] = attrs.field(default=(), converter=_to_texts, validator=_texts)


@attrs.frozen(kw_only=True)
class ZapierSettings:
    """
    Settings of `[sinks.NAME] type = "zapier"`.

    Args:
        key: What Zapier shows to be let in; without it nothing is served.

        events: What Zaps may subscribe to; `*` stands for anything. Without any, everything.

        record: The events that Zaps may record; without any, none.

        purposes: What the customers of recorded events have agreed to, where consent is asked for.

        hooks: Catch hooks, whose addresses are known beforehand.

        hosts: Where subscriptions may lead.

        most: How many subscriptions there may be.

        patience: How long a hook that fails may hold up the others; after that its events are
            parked.

        allow: Addresses and networks that are not public, and may be posted to all the same.

        timeout: How long Zapier may take to connect, and to answer.
    """

    key: Secret | None = attrs.field(default=None, validator=_check_key)
    events: tuple[str, ...] = attrs.field(default=(), converter=_to_texts, validator=_texts)
    record: tuple[str, ...] = attrs.field(default=(), converter=_to_texts, validator=_texts)
    purposes: tuple[str, ...] = attrs.field(default=(), converter=_to_texts, validator=_texts)
    hooks: tuple[CatchHook, ...] = ()
    hosts: tuple[str, ...] = attrs.field(
        default=("hooks.zapier.com",), converter=_to_texts, validator=_texts
    )
    most: int = attrs.field(default=100, validator=attrs.validators.in_(range(1, 1001)))
    patience: timedelta = attrs.field(default=timedelta(minutes=15), validator=_check_positive)
    allow: tuple[str, ...] = attrs.field(default=(), converter=_to_texts, validator=_check_networks)
    timeout: timedelta = attrs.field(default=timedelta(seconds=30), validator=_check_positive)

    def __attrs_post_init__(self) -> None:
        if self.key is None and not self.hooks:
            raise ValueError('name a key, { env = "NAME" }, so that Zaps can subscribe, or hooks')


@lru_cache(maxsize=256)
def matcher(names: tuple[str, ...]) -> re.Pattern[str]:
    """Return what matches the *names*, in which `*` stands for anything; without any, all."""
    patterns = (".*".join(map(re.escape, name.split("*"))) for name in names or ("*",))
    return re.compile("|".join(patterns), re.DOTALL)
