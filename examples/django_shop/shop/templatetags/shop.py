"""What the shop's templates know beside Django's own."""

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import ngettext

from shop import money

register = template.Library()


@register.filter
def price(cents: int) -> str:
    """The amount as people read it."""
    return money.price(cents)


@register.filter
def minus(cents: int) -> int:
    """The same amount, to be taken off."""
    return -cents


@register.filter
def percent(share: float) -> str:
    """A share of one, in whole per cent."""
    return f"{share:.0%}"


@register.simple_tag
def stars(count: int) -> SafeString:
    """So many stars of five, also for those who hear the page."""
    label = ngettext("%(count)s of 5 stars", "%(count)s of 5 stars", count) % {"count": count}
    return format_html(
        '<span class="stars" role="img" aria-label="{}">{}<span class="dim">{}</span></span>',
        label,
        "★" * count,
        "★" * (5 - count),
    )
