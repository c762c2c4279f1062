"""Tokens against forged forms, and headers that keep foreign code out."""

import hmac
import secrets

from flask import Flask, Response, abort, request, session

POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'"
)


def csrf_token() -> str:
    """The secret of this visitor's session that every form sends back."""
    token: str = session.setdefault("csrf", secrets.token_urlsafe(24))
    return token


def _check_csrf() -> None:
    # journeykit's own pages guard themselves, and they have no token of the shop's.
    if request.method != "POST" or (request.endpoint or "").startswith("journeykit"):
        return
    sent, expected = request.form.get("csrf", ""), session.get("csrf", "")
    if not expected or not hmac.compare_digest(sent.encode(), expected.encode()):
        abort(400, "This form is too old or comes from elsewhere. Please go back and try again.")


def _add_headers(response: Response) -> Response:
    # What says so itself knows better: journeykit's scripts may be kept for a year.
    response.headers.setdefault("Content-Security-Policy", POLICY)
    response.headers.setdefault("Referrer-Policy", "same-origin")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def init_app(app: Flask) -> None:
    """Guard every POST and every answer."""
    app.before_request(_check_csrf)
    app.after_request(_add_headers)
    app.add_template_global(csrf_token)
