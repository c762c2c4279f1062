"""The shop's pages, one namespace for each of its corners."""

from django.urls import include, path

from .views import account, cart, catalogue, checkout, reviews

catalogue_pages = [
    path("", catalogue.home, name="home"),
    path("promotions/long-way-home", catalogue.promotion, name="promotion"),
    path("products", catalogue.shelf, name="shelf"),
    path("products/<slug:slug>", catalogue.product, name="product"),
    path("what-we-note-down", catalogue.notes, name="notes"),
]
review_pages = [
    path("products/<slug:slug>/review", reviews.review, name="form"),
    path("products/<slug:slug>/share", reviews.share, name="link"),
]
cart_pages = [
    path("basket", cart.show, name="show"),
    path("basket/add/<slug:slug>", cart.add, name="add"),
    path("basket/change/<slug:slug>", cart.change, name="change"),
    path("basket/coupon", cart.enter_coupon, name="enter_coupon"),
]
checkout_pages = [
    path("checkout", checkout.start, name="start"),
    path("checkout/address", checkout.address, name="address"),
    path("checkout/payment", checkout.payment, name="payment"),
    path("orders/<str:number>", checkout.order, name="order"),
    path("orders/<str:number>/delivered", checkout.delivered, name="delivered"),
]
account_pages = [
    path("account", account.show, name="show"),
    path("account/sign-up", account.sign_up, name="sign_up"),
    path("account/sign-in", account.sign_in, name="sign_in"),
    path("account/sign-out", account.sign_out, name="sign_out"),
]

urlpatterns = [
    path("", include((catalogue_pages, "catalogue"))),
    path("", include((review_pages, "reviews"))),
    path("", include((cart_pages, "cart"))),
    path("", include((checkout_pages, "checkout"))),
    path("", include((account_pages, "account"))),
]
