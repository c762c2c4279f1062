"""Pages for what went wrong."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    title, text = _("This path ends here"), _("There is no such page. It may have been a nice one.")
    return _page(request, 404, title, text)


def refused(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(request, 403, _("Not this way"), str(exception) or _("Please go back."))


def forged(request: HttpRequest, reason: str = "") -> HttpResponse:
    text = _("This form is too old or comes from elsewhere. Please go back and try again.")
    return _page(request, 403, _("Not this way"), text)


def _page(request: HttpRequest, status: int, title: str, text: str) -> HttpResponse:
    return render(request, "shop/error.html", {"title": title, "text": text}, status=status)
