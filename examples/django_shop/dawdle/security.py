"""The policy for content, for the Django that has none of its own (before 6.0)."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin


class ContentSecurityPolicyMiddleware(MiddlewareMixin):
    """Says in each answer what a page may load, by SECURE_CSP."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if settings.DEBUG and response.status_code in {404, 500}:
            # Django's own error pages have their style inside.
            return response
        policy = "; ".join(f"{name} {' '.join(to)}" for name, to in settings.SECURE_CSP.items())
        response.headers.setdefault("Content-Security-Policy", policy)
        return response
