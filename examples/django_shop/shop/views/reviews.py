"""What people tell others: reviews and links to share."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from shop import orders
from shop.forms import ReviewForm
from shop.journey import kit

from .catalogue import find


@require_http_methods(["GET", "HEAD", "POST"])
def review(request: HttpRequest, slug: str) -> HttpResponse:
    product = find(slug)
    order = orders.to_review(request, product)
    if request.method != "POST":
        author = "" if request.user.is_anonymous else request.user.name
        form = ReviewForm(initial={"author": author})
        shown = {"product": product, "form": form, "may_review": order is not None}
        return render(request, "shop/review.html", shown)
    if order is None:
        raise PermissionDenied(_("Reviews come from those who bought."))
    form = ReviewForm(request.POST)
    form.instance.order, form.instance.product = order, product
    if not form.is_valid():
        shown = {"product": product, "form": form, "may_review": True}
        return render(request, "shop/review.html", shown, status=422)
    written = form.save()
    # The words stay in the shop: people write all sorts of things about themselves.
    facts = {"product_id": slug, "review_id": written.id, "order_id": order.number}
    kit.track("Product Reviewed", {**facts, "rating": written.stars})
    messages.success(request, _("Thank you. Your review is up."))
    return redirect(f"{product.get_absolute_url()}#reviews")


@require_http_methods(["GET", "HEAD", "POST"])
def share(request: HttpRequest, slug: str) -> HttpResponse:
    product = find(slug)
    if request.method == "POST":
        kit.track("Product Shared", {"share_via": "link", **product.facts()})
        return redirect("reviews:link", slug)
    address = request.build_absolute_uri(f"{product.get_absolute_url()}?via=friend")
    return render(request, "shop/share.html", {"product": product, "address": address})
