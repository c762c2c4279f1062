"""The shop's handle on journeykit: the one place that the views import it from."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse

from journeykit.web.django import kit, track_in_transaction

__all__ = ["customer_id", "kit", "page_viewed", "track_in_transaction"]


def customer_id(request: HttpRequest) -> int | None:
    """Who is signed in. Staff are no customers, also while they look at the shop."""
    user = request.user
    return None if user.is_anonymous or user.is_staff else user.pk


def page_viewed(
    request: HttpRequest, page: HttpResponse, name: str, properties: Mapping[str, Any]
) -> HttpResponse:
    """Track a view of the page, and return it.

    A page view is a GET that goes well. A HEAD and a page that the browser merely fetched ahead
    are none.
    """
    is_fetched_ahead = "prefetch" in request.headers.get("Sec-Purpose", "")
    if request.method == "GET" and page.status_code == 200 and not is_fetched_ahead:
        kit.track(name, properties)
    return page
