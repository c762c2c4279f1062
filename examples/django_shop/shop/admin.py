"""What the staff see to."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.db.models import Model
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from .models import Category, Customer, Order, OrderLine, Payment, Product, Review
from .money import price

admin.site.site_header = admin.site.site_title = "Dawdle & Daughters"
admin.site.index_title = _("In the back room")


class ReadOnly:
    """What is only looked at: it came about in the shop."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def money(field: str, name: Any) -> Any:
    """A column of an amount, as people read it."""

    @admin.display(description=name, ordering=field)
    def column(self: Any, each: Model) -> str:
        return price(getattr(each, field))

    return column


@admin.register(Customer)
class CustomerAdmin(UserAdmin):
    ordering = ("email",)
    list_display = ("name", "email", "date_joined", "is_staff")
    search_fields = ("name", "email")
    fieldsets = (
        (None, {"fields": ("email", "password", "name")}),
        (
            _("Staff"),
            {
                "classes": ("collapse",),
                "fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions"),
            },
        ),
        (None, {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (
        (None, {"fields": ("name", "email", "usable_password", "password1", "password2")}),
    )


@admin.register(Category)
class CategoryAdmin(admin.ModelAdmin):
    list_display = ("title_en", "title_ar", "place")
    prepopulated_fields = {"key": ("title_en",)}


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    list_display = ("name_en", "name_ar", "category", "amount", "place")
    list_filter = ("category",)
    list_select_related = ("category",)
    search_fields = ("name_en", "line_en", "text_en", "name_ar")
    prepopulated_fields = {"slug": ("name_en",)}
    fieldsets = (
        (None, {"fields": ("slug", "category", "price", "place")}),
        (_("English"), {"fields": ("name_en", "line_en", "text_en", "details_en")}),
        (_("Arabic"), {"fields": ("name_ar", "line_ar", "text_ar", "details_ar")}),
    )
    amount = money("price", _("price"))


class LineInline(ReadOnly, admin.TabularInline):
    model = OrderLine
    fields = ("product", "quantity", "amount")
    readonly_fields = ("amount",)
    extra = 0
    amount = money("price", _("price"))


class PaymentInline(ReadOnly, admin.TabularInline):
    model = Payment
    fields = readonly_fields = ("made_at", "paid")
    extra = 0
    paid = money("amount", _("amount"))


@admin.register(Order)
class OrderAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("number", "placed_at", "name", "city", "paid", "delivered_at")
    list_filter = ("placed_at", ("delivered_at", admin.EmptyFieldListFilter))
    search_fields = ("number", "name", "email")
    date_hierarchy = "placed_at"
    inlines = (LineInline, PaymentInline)
    fieldsets = (
        (None, {"fields": ("number", "customer", "placed_at", "delivered_at")}),
        (_("Where to"), {"fields": ("name", "email", "street", "postcode", "city")}),
        (_("Paid"), {"fields": ("coupon_code", "goods", "off", "sending", "paid")}),
    )
    goods = money("subtotal", _("goods"))
    off = money("discount", _("discount"))
    sending = money("shipping", _("shipping"))

    @admin.display(description=_("total"))
    def paid(self, order: Order) -> str:
        return price(order.total)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("placed_at", "goods", "off", "sending", "paid")


@admin.register(Payment)
class PaymentAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("made_at", "order", "paid", "refused_for")
    list_filter = ("made_at", "refused_for")
    list_select_related = ("order",)
    paid = money("amount", _("amount"))


@admin.register(Review)
class ReviewAdmin(admin.ModelAdmin):
    list_display = ("product", "stars", "author", "written_at")
    list_filter = ("stars",)
    list_select_related = ("product",)
    search_fields = ("author", "body")
    readonly_fields = ("order", "product", "stars", "author", "body", "written_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False
