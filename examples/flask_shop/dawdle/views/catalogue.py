"""The shop window: home, the shelves, search, and one product."""

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from dawdle import products, reviews
from dawdle.journey import kit, page_viewed
from dawdle.products import Product

pages = Blueprint("catalogue", __name__)

PROMOTION = {
    "promotion_id": "long-way-home",
    "name": "Take the long way home",
    "creative": "evening-hills",
    "position": "home-top",
}
FAVOURITES = ("two-cup-flask", "map-of-good-benches", "who-sings-there", "porch-lantern")


@pages.get("/")
def home() -> str:
    page_viewed("Promotion Viewed", PROMOTION)
    favourites = [find(slug) for slug in FAVOURITES]
    return render_template("home.html", promotion=PROMOTION, favourites=favourites)


@pages.get("/promotions/long-way-home")
def promotion() -> Response:
    kit.track("Promotion Clicked", PROMOTION)
    return redirect(url_for(".shelf", category="keep-warm"))


@pages.get("/products")
def shelf() -> str:
    query = " ".join(request.args.get("q", "").split())[:80]
    key = request.args.get("category", "")
    category = products.category(key) or (abort(404) if key else None)
    found = products.search(query, key)
    if query:
        page_viewed("Products Searched", {"query": query, "category": key, "results": len(found)})
    else:
        listed = [item.facts() for item in found]
        page_viewed("Product List Viewed", {"list_id": key or "everything", "products": listed})
    return render_template("products.html", query=query, category=category, found=found)


@pages.get("/products/<slug>")
def product(slug: str) -> str:
    item = find(slug)
    page_viewed("Product Viewed", item.facts())
    return render_template(
        "product.html",
        product=item,
        category=products.category(item.category),
        reviews=reviews.of_product(item),
        may_review=reviews.order_to_review(item) is not None,
    )


@pages.get("/what-we-note-down")
def notes() -> str:
    return render_template("notes.html")


def find(slug: str) -> Product:
    """The product of that address, or a 404."""
    return products.product(slug) or abort(404)
