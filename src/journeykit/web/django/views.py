"""The one view: everything that a browser may ask journeykit."""

from __future__ import annotations

from typing import Any, Final

from django.http import Http404, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from journeykit.web.django.markup import request_of
from journeykit.web.django.project import get_project

#: How much of a body that is too large is read and thrown away, and how much of it at a time.
_MOST_DISCARDED, _PIECE = 16 * 2**20, 65_536

_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS"})


# Callers hold no CSRF token: programs have no pages, and a page may be older than its session.
# The core asks for the origin instead.
@csrf_exempt
def endpoint(request: Any, path: str) -> HttpResponse:
    """Answer a request to *path* below the mount point."""
    endpoints = get_project().endpoints
    if endpoints is None:
        raise Http404
    answer = endpoints.handle(request_of(request, path, _body(request, endpoints.most_bytes(path))))
    response = HttpResponse(answer.body, status=answer.status, headers=dict(answer.headers))
    if not answer.body and "content-type" not in {name.lower() for name in answer.headers}:
        del response["Content-Type"]
    return response


# Also where the whole project asks for people who are signed in.
endpoint.login_required = False


def _body(request: Any, most: int | None) -> bytes:
    if request.method in _WITHOUT_BODY:
        return b""
    if most is None:
        whole: bytes = request.body
        return whole
    body: bytes = request.read(most + 1)
    if len(body) > most:
        _discard(request)
    return body


def _discard(request: Any) -> None:
    """Take the rest of a body that is too large, so that the caller gets to read the answer."""
    for _ in range(_MOST_DISCARDED // _PIECE):
        if not request.read(_PIECE):
            return
