"""How the admin writes shares, durations and values."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from django import template
from django.template.defaultfilters import date
from django.utils.timezone import template_localtime
from django.utils.translation import gettext, ngettext

if TYPE_CHECKING:
    from datetime import datetime

register = template.Library()

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@register.filter
def at(value: datetime | None, form: str) -> str:
    """Return a time as the reader's clock has it; one that no clock there has is told in UTC."""
    # Clocks that were never set, and makeshift values, are at the ends of time.
    with contextlib.suppress(OverflowError):
        value = template_localtime(value)
    return str(date(value, form))


@register.filter
def share(value: float | None) -> str:
    """Return a share in percent; a dash where there is none."""
    return "–" if value is None else f"{value:.0%}"


@register.filter
def span(seconds: float | None) -> str:
    """Return a duration in the unit that people think in."""
    if seconds is None:
        return "–"
    if seconds < _HOUR:
        unit = _MINUTE if seconds >= _MINUTE else 1
        count = round(seconds / unit)
        minutes = ngettext("%d minute", "%d minutes", count)
        said = minutes if unit == _MINUTE else ngettext("%d second", "%d seconds", count)
        return str(said % count)
    if seconds < 2 * _DAY:
        return str(gettext("%.1f hours") % (seconds / _HOUR))
    return str(gettext("%.1f days") % (seconds / _DAY))


@register.filter
def told(value: Any) -> str:
    """Return a JSON value as people read it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(gettext("yes") if value else gettext("no"))
    if isinstance(value, list):
        return ", ".join(told(each) for each in value) or "–"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {told(each)}" for name, each in value.items()) or "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
