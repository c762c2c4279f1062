"""What templates show, whichever template language they are written in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language

from journeykit.web.django.project import root_of
from journeykit.web.django.visit import current_visit, page_of
from journeykit.web.http import Request

if TYPE_CHECKING:
    from journeykit.web.django.visit import RequestVisit


def journeykit_prompts() -> SafeString:
    """Return what lets a page ask for prompts; put it at the end of the body."""
    visit = current_visit()
    return mark_safe("" if visit is None else prompts_of(visit))  # noqa: S308 - escaped there


def journeykit_form() -> SafeString:
    """Return the prompt of the moment for the page, which works where no script runs."""
    visit = current_visit()
    endpoints = None if visit is None else visit.project.endpoints
    if visit is None or endpoints is None:
        return mark_safe("")
    visit.personal = True
    request = visit.request
    root = root_of(request)
    here = request.get_full_path().removeprefix(root)
    asked = request_of(request, "", query={"lang": get_language() or ""})
    return mark_safe(endpoints.form(asked, here))  # noqa: S308 - escaped there


def prompts_of(visit: RequestVisit) -> str:
    """Return what lets a page ask for prompts; empty where our URLs are not included."""
    endpoints = visit.project.endpoints
    if endpoints is None or not endpoints:
        return ""
    visit.tagged = True
    request = visit.request
    return endpoints.scripts(page_of(request), root_of(request), nonce=_nonce(request))


def request_of(
    request: Any, path: str, body: bytes = b"", query: dict[str, str] | None = None
) -> Request:
    """Return Django's request as the endpoints know it."""
    return Request(
        method=request.method,
        path=path,
        query=request.GET.dict() if query is None else query,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
        root=root_of(request),
    )


def _nonce(request: Any) -> str:
    """Return the nonce of the page's policy for content, where something makes one."""
    # django-csp's, or that of Django 6; both put it into the header once it was read.
    nonce = getattr(request, "csp_nonce", None)
    if nonce is None:
        nonce = getattr(request, "_csp_nonce", None)
    return "" if nonce is None else str(nonce)
