"""The shop's handle on journeykit: the one place that the views import it from."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from flask import Response, after_this_request, current_app, request
from werkzeug.local import LocalProxy

if TYPE_CHECKING:
    from journeykit import JourneyKit

# The kit belongs to an app, not to this module: a process may serve several apps.
kit = cast("JourneyKit", LocalProxy(lambda: current_app.extensions["journeykit"]))


def page_viewed(name: str, properties: Mapping[str, Any]) -> None:
    """Track a view of the page being answered, once it has gone well.

    A page view is a GET that ends in 2xx. A HEAD, a redirect, an error and a page that the
    browser merely fetched ahead are none.
    """
    if request.method != "GET" or "prefetch" in request.headers.get("Sec-Purpose", ""):
        return

    @after_this_request
    def track(response: Response) -> Response:
        if 200 <= response.status_code < 300:
            kit.track(name, properties)
        return response
