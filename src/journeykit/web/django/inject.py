"""Scripts for pages whose templates cannot be changed: only where the project asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from journeykit.web.django.markup import prompts_of

if TYPE_CHECKING:
    from journeykit.web.django.visit import RequestVisit

_END: Final = b"</body>"


def inject(visit: RequestVisit, response: Any) -> None:
    """Put what lets a page ask before its end, if it is a whole page and does not ask yet."""
    if visit.tagged or not _is_page(visit.request, response):
        return
    content = response.content
    place = content.lower().rfind(_END)
    if place < 0:
        return
    markup = prompts_of(visit).encode(response.charset)
    if not markup:
        return
    response.content = content[:place] + markup + content[place:]
    if response.has_header("Content-Length"):
        response.headers["Content-Length"] = str(len(response.content))


def _is_page(request: Any, response: Any) -> bool:
    kind = response.get("Content-Type", "").partition(";")[0].strip().lower()
    match = request.resolver_match
    return (
        not response.streaming
        and not response.get("Content-Encoding")
        and kind == "text/html"
        and not response.get("Content-Disposition", "").lower().startswith("attachment")
        # Colleagues are not asked.
        and (match is None or "admin" not in match.app_names)
    )
