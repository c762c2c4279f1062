"""What the layout of every page shows."""

from functools import partial
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import translate_url
from django.utils.translation import get_language, get_language_info

from .carts import cart_count
from .models import Category


def layout(request: HttpRequest) -> dict[str, Any]:
    """Return functions: what a page does not show is not asked for."""
    return {
        "shelves": Category.objects.all,
        "basket_count": partial(cart_count, request),
        "other_languages": partial(_other_languages, request),
    }


def _other_languages(request: HttpRequest) -> list[dict[str, Any]]:
    here = request.get_full_path()
    return [
        {**get_language_info(code), "url": translate_url(here, code)}
        for code, _ in settings.LANGUAGES
        if code != get_language()
    ]
