"""What people tell others: reviews and links to share."""

from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from dawdle import reviews
from dawdle.customers import current_customer
from dawdle.journey import kit

from .catalogue import find

pages = Blueprint("reviews", __name__, url_prefix="/products/<slug>")


@pages.get("/review")
def form(slug: str) -> str:
    return _form(slug, {}, {})


@pages.post("/review")
def write(slug: str) -> Response | tuple[str, int]:
    product = find(slug)
    order_id = reviews.order_to_review(product) or abort(403, "Reviews come from those who bought.")
    stars = request.form.get("stars", 0, type=int)
    author, body = (request.form.get(field, "").strip() for field in ("author", "body"))
    mistakes = {}
    if not 1 <= stars <= 5:
        mistakes["stars"] = "Please pick between one and five stars."
    if not author:
        mistakes["author"] = "Please give a name to print with it."
    if mistakes:
        return _form(slug, {"stars": stars, "author": author, "body": body}, mistakes), 422
    review_id = reviews.write(order_id, product, author[:60], stars, body[:2000])
    if review_id:
        # The words stay in the shop: people write all sorts of things about themselves.
        facts = {"product_id": slug, "review_id": review_id, "order_id": order_id, "rating": stars}
        kit.track("Product Reviewed", facts)
        flash("Thank you. Your review is up.")
    return redirect(url_for("catalogue.product", slug=slug, _anchor="reviews"))


@pages.post("/share")
def share(slug: str) -> Response:
    product = find(slug)
    kit.track("Product Shared", {"share_via": "link", **product.facts()})
    return redirect(url_for(".link", slug=slug))


@pages.get("/share")
def link(slug: str) -> str:
    product = find(slug)
    address = url_for("catalogue.product", slug=slug, via="friend", _external=True)
    return render_template("share.html", product=product, address=address)


def _form(slug: str, values: dict[str, Any], mistakes: dict[str, str]) -> str:
    product, customer = find(slug), current_customer()
    values.setdefault("author", customer.name if customer else "")
    may_review = reviews.order_to_review(product) is not None
    return render_template(
        "review.html", product=product, values=values, mistakes=mistakes, may_review=may_review
    )
