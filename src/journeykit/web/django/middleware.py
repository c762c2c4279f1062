"""The middleware: list it behind Django's own, which know the session and the person."""

from __future__ import annotations

from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction

from journeykit.web.django.inject import inject
from journeykit.web.django.project import get_project
from journeykit.web.django.visit import RequestVisit


class JourneyKitMiddleware:
    """
    Binds the visitor of each request while it is answered.

    Raises:
        ConfigError: The setting or the declarations have mistakes; it names all of them, and the
            server does not start.

        ImproperlyConfigured: The app is not installed.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Any) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
        get_project()

    def __call__(self, request: Any) -> Any:
        """Answer *request* with its visitor bound."""
        if self._is_async:
            return self._acall(request)
        visit = _begin(request)
        if visit is None:
            return self._get_response(request)
        try:
            visit.open()
            response = self._get_response(request)
            _finish(visit, response)
        finally:
            visit.close()
        return response

    async def _acall(self, request: Any) -> Any:
        visit = _begin(request)
        if visit is None:
            return await self._get_response(request)
        try:
            await visit.aopen()
            response = await self._get_response(request)
            _finish(visit, response)
        finally:
            visit.close()
        return response


def _begin(request: Any) -> RequestVisit | None:
    """Return the visit of *request*; None where the middleware is listed twice."""
    if getattr(request, "_journeykit", None) is not None:
        return None
    project = get_project()
    project.outbox.begin()
    request._journeykit = visit = RequestVisit(project, request)  # noqa: SLF001 - the one name that we take there
    return visit


def _finish(visit: RequestVisit, response: Any) -> None:
    if visit.project.options.inject:
        inject(visit, response)
    visit.finish(response)
