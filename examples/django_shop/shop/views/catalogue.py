"""The shop window: home, the shelves, search, and one product."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from shop import orders
from shop.journey import kit, page_viewed
from shop.models import Category, Product
from shop.models.goods import search

PROMOTION = {
    "promotion_id": "long-way-home",
    "name": "Take the long way home",
    "creative": "evening-hills",
    "position": "home-top",
}
FAVOURITES = ("two-cup-flask", "map-of-good-benches", "who-sings-there", "porch-lantern")


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    found = Product.objects.in_bulk(FAVOURITES, field_name="slug")
    favourites = [found[slug] for slug in FAVOURITES if slug in found]
    page = render(request, "shop/home.html", {"favourites": favourites})
    return page_viewed(request, page, "Promotion Viewed", PROMOTION)


@require_safe
def promotion(request: HttpRequest) -> HttpResponse:
    kit.track("Promotion Clicked", PROMOTION)
    return redirect(f"{reverse('catalogue:shelf')}?category=keep-warm")


@require_safe
def shelf(request: HttpRequest) -> HttpResponse:
    query = " ".join(request.GET.get("q", "").split())[:80]
    key = request.GET.get("category", "")
    category = get_object_or_404(Category, key=key) if key else None
    found = search(query, key)
    shown = {"query": query, "category": category, "found": found}
    page = render(request, "shop/products.html", shown)
    if query:
        facts = {"query": query, "category": key, "results": len(found)}
        return page_viewed(request, page, "Products Searched", facts)
    listed = {"list_id": key or "everything", "products": [item.facts() for item in found]}
    return page_viewed(request, page, "Product List Viewed", listed)


@require_safe
def product(request: HttpRequest, slug: str) -> HttpResponse:
    item = find(slug)
    shown = {
        "product": item,
        "category": item.category,
        "reviews": item.reviews.all()[:50],
        "may_review": orders.to_review(request, item) is not None,
    }
    page = render(request, "shop/product.html", shown)
    return page_viewed(request, page, "Product Viewed", item.facts())


@require_safe
def notes(request: HttpRequest) -> HttpResponse:
    return render(request, "shop/notes.html")


def find(slug: str) -> Product:
    """The product of that address, or a 404."""
    return get_object_or_404(Product.objects.select_related("category"), slug=slug)
