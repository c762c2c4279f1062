"""What plugins register: kinds of sinks and sources."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import attrs

from journeykit.model.consent import is_purpose
from journeykit.model.journey import to_tuple


class Ordering(StrEnum):
    """What becomes of a customer's events behind one that a sink has refused for good."""

    #: They go out; the refused one is missing.
    GAPS = "gaps"
    #: They are parked behind it, and go out when it has.
    STRICT = "strict"


def _check_purpose(_: object, __: object, value: str) -> None:
    if not is_purpose(value):
        raise ValueError(f'purpose: expected a name such as "marketing", got {value!r}')


@attrs.frozen(kw_only=True)
class SinkOptions:
    """
    What every `[sinks.NAME]` understands besides the settings of its type.

    Args:
        ordering: `"gaps"`: an event that is refused for good is parked alone.
            `"strict"`: with it the customer's later events.

        purpose: What customers must have agreed to, so that their events come here.

        third_party: Whether this is somebody else's; None for what the sink says of itself.
    """

    ordering: Ordering = attrs.field(default=Ordering.GAPS, converter=Ordering)
    purpose: str | None = attrs.field(
        default=None, validator=attrs.validators.optional(_check_purpose)
    )
    third_party: bool | None = None


def _check_settings(_: object, __: object, value: type) -> None:
    if not inspect.isclass(value) or not attrs.has(value):
        msg = f"settings must be an attrs class, got {value!r}"
        raise TypeError(msg)


def _check_sink_settings(of: object, attribute: object, value: type) -> None:
    _check_settings(of, attribute, value)
    taken = {"type", *attrs.fields_dict(SinkOptions)} & attrs.fields_dict(value).keys()
    if taken:
        msg = f"settings may not be called {', '.join(sorted(taken))}: every sink has that"
        raise ValueError(msg)


@attrs.frozen
class SinkType:
    """
    A kind of sink that `[sinks.NAME] type = "…"` can name.

    Args:
        name: What the configuration calls it.

        settings: The attrs class of its settings; `journeykit.toml` is read into it strictly.
            It has no field of the name `type`, `ordering`, `purpose` or `third_party`, which every
            sink has.

        build: Called with the sink's name and its settings; returns the sink.
            It must not connect: the first `deliver` does.
    """

    name: str = attrs.field(validator=attrs.validators.instance_of(str))
    settings: type = attrs.field(validator=_check_sink_settings)
    build: Callable[[str, Any], Any] = attrs.field(validator=attrs.validators.is_callable())


@attrs.frozen
class SourceType:
    """
    A kind of source that `[sources.NAME] type = "…"` can name.

    Args:
        name: What the configuration calls it.

        settings: The attrs class of its settings.

        build: Called with the source's name and its settings; returns an object whose `read()`
            yields one mapping of columns after another.
            `journeykit import NAME` maps the columns as it does those of a file.
    """

    name: str = attrs.field(validator=attrs.validators.instance_of(str))
    settings: type = attrs.field(validator=_check_settings)
    build: Callable[[str, Any], Any] = attrs.field(validator=attrs.validators.is_callable())


@attrs.frozen
class Endpoint:
    """
    An HTTP endpoint that a plugin adds under the mount point.

    Args:
        path: Below the mount point, without a leading slash: `"zapier/subscribe"`.

        methods: Upper case.

        handle: Called with a `journeykit.web.Request`; returns a `journeykit.web.Response`.
    """

    path: str = attrs.field(validator=attrs.validators.matches_re(r"[^/\s][^\s]*"))
    methods: tuple[str, ...] = attrs.field(
        converter=to_tuple,
        validator=attrs.validators.deep_iterable(attrs.validators.instance_of(str)),
    )
    handle: Callable[[Any], Any] = attrs.field(validator=attrs.validators.is_callable())
