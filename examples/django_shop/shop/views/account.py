"""Accounts: sign up, sign in, sign out, and what was ordered."""

from django.contrib import messages
from django.contrib.auth import login, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from shop import orders
from shop.forms import SignInForm, SignUpForm
from shop.journey import kit
from shop.models import Customer


@never_cache
@require_safe
def show(request: HttpRequest) -> HttpResponse:
    return render(request, "shop/account.html", {"orders": orders.visible(request)})


@sensitive_post_parameters("password")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_up(request: HttpRequest) -> HttpResponse:
    form = SignUpForm(request.POST or None)
    if not form.is_valid():
        return render(request, "shop/sign_up.html", {"form": form}, status=_status(form))
    customer = form.save()
    _let_in(request, customer)
    orders.adopt(request, customer)
    kit.track("Signed Up", {"type": "form"})
    messages.success(request, _("Welcome, %(name)s.") % {"name": customer.name})
    return redirect(_next(request))


@sensitive_post_parameters("password")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    form = SignInForm(request.POST or None)
    if not form.is_valid():
        return render(request, "shop/sign_in.html", {"form": form}, status=_status(form))
    _let_in(request, form.customer)
    kit.track("Signed In")
    messages.success(request, _("Good to see you, %(name)s.") % {"name": form.customer.name})
    return redirect(_next(request))


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    kit.track("Signed Out")
    logout(request)
    messages.success(request, _("You are signed out. Mind the step."))
    return redirect("catalogue:home")


def _let_in(request: HttpRequest, customer: Customer) -> None:
    # Django tells journeykit, by its signal; and it gives the session another key.
    login(request, customer, "django.contrib.auth.backends.ModelBackend")


def _status(form: SignInForm | SignUpForm) -> int:
    return 422 if form.is_bound else 200


def _next(request: HttpRequest) -> str:
    """Where the visitor was going. A page of this shop, whatever the address says."""
    target = request.GET.get("next", "")
    here = {request.get_host()}
    is_ours = url_has_allowed_host_and_scheme(target, here, require_https=request.is_secure())
    return target if is_ours and target.startswith("/") else resolve_url("account:show")
