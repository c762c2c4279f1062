"""Who signs in and out, by Django's own signals."""

from __future__ import annotations

from typing import Any

from django.apps import apps

from journeykit.web.django.visit import current_visit


def connect() -> None:
    """Listen to the signals, if the project has Django's own people."""
    if not apps.is_installed("django.contrib.auth"):
        return
    from django.contrib.auth.signals import user_logged_in, user_logged_out

    user_logged_in.connect(_signed_in, dispatch_uid="journeykit.signed_in")
    user_logged_out.connect(_signing_out, dispatch_uid="journeykit.signing_out")


def _signed_in(*, user: Any, **_: Any) -> None:
    visit = current_visit()
    if visit is not None:
        visit.signed_in(user)


def _signing_out(**_: Any) -> None:
    visit = current_visit()
    if visit is not None:
        visit.signing_out()
