"""Accounts: sign up, sign in, sign out, and what was ordered."""

from urllib.parse import urlsplit

from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from dawdle import customers, orders
from dawdle.customers import Customer
from dawdle.journey import kit
from journeykit.web.flask import sign_out

pages = Blueprint("account", __name__, url_prefix="/account")

SHORTEST_PASSWORD = 8


@pages.get("")
def show() -> str:
    return render_template("account.html", orders=orders.history())


@pages.get("/sign-up")
def sign_up() -> str:
    return render_template("sign_up.html", values={}, mistakes={})


@pages.post("/sign-up")
def create() -> Response | tuple[str, int]:
    values = {field: request.form.get(field, "").strip()[:120] for field in ("name", "email")}
    password = request.form.get("password", "")
    mistakes = _mistakes(values, password)
    customer = None if mistakes else customers.create(**values, password=password)
    if customer is None:
        mistakes = mistakes or {"email": "There is an account with this address already."}
        return render_template("sign_up.html", values=values, mistakes=mistakes), 422
    _let_in(customer)
    orders.adopt(customer.id)
    kit.identify(customer.id)
    kit.track("Signed Up", {"type": "form"})
    flash(f"Welcome, {customer.name}.")
    return redirect(_next())


@pages.get("/sign-in")
def sign_in() -> str:
    return render_template("sign_in.html", email="", wrong=False)


@pages.post("/sign-in")
def enter() -> Response | tuple[str, int]:
    email = request.form.get("email", "").strip()
    customer = customers.check(email, request.form.get("password", ""))
    if customer is None:
        return render_template("sign_in.html", email=email, wrong=True), 422
    _let_in(customer)
    kit.identify(customer.id)
    kit.track("Signed In")
    flash(f"Good to see you, {customer.name}.")
    return redirect(_next())


@pages.post("/sign-out")
def leave() -> Response:
    kit.track("Signed Out")
    session.clear()
    # Whoever comes next in this browser is somebody else.
    sign_out()
    flash("You are signed out. Mind the step.")
    return redirect(url_for("catalogue.home"))


def _let_in(customer: Customer) -> None:
    kept = {key: session[key] for key in ("cart_id", "orders") if key in session}
    # A session that was handed to somebody before they signed in must be worth nothing afterwards.
    session.clear()
    session.update(kept, user_id=customer.id)


def _mistakes(values: dict[str, str], password: str) -> dict[str, str]:
    found = {}
    if not values["name"]:
        found["name"] = "Please tell us what to call you."
    if "@" not in values["email"]:
        found["email"] = "An e-mail address has an @ in it."
    if len(password) < SHORTEST_PASSWORD:
        found["password"] = f"At least {SHORTEST_PASSWORD} characters, please. A sentence is fine."
    return found


def _next() -> str:
    """Where the visitor was going. A page of this shop, whatever the address says."""
    target = request.args.get("next", "")
    parts = urlsplit(target.replace("\\", "/"))
    is_ours = target.startswith("/") and not parts.netloc and not parts.scheme
    return target if is_ours else url_for("account.show")
