"""What the shop sells."""

import re
from typing import Any

from django.db import models
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from shop.money import CURRENCY, euros


class Translated:
    """A text in the reader's language, and in English where it is missing."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        language = (get_language() or "en").partition("-")[0]
        here = getattr(instance, f"{self._name}_{language}", "")
        return here or getattr(instance, f"{self._name}_en")


class Category(models.Model):
    """A shelf."""

    key = models.SlugField(_("key"), unique=True)
    place = models.PositiveSmallIntegerField(_("place"), default=0)
    title_en = models.CharField(_("title"), max_length=80)
    blurb_en = models.CharField(_("blurb"), max_length=200)
    title_ar = models.CharField(_("title in Arabic"), max_length=80, blank=True)
    blurb_ar = models.CharField(_("blurb in Arabic"), max_length=200, blank=True)

    title, blurb = Translated(), Translated()

    class Meta:
        ordering = ("place",)
        verbose_name = _("shelf")
        verbose_name_plural = _("shelves")

    def __str__(self) -> str:
        return self.title


class Product(models.Model):
    """A thing on a shelf."""

    slug = models.SlugField(_("address"), unique=True)
    category = models.ForeignKey(
        Category, models.PROTECT, related_name="products", verbose_name=_("shelf")
    )
    place = models.PositiveSmallIntegerField(_("place"), default=0)
    price = models.PositiveIntegerField(_("price in cents"))
    name_en = models.CharField(_("name"), max_length=80)
    line_en = models.CharField(_("first line"), max_length=200)
    text_en = models.TextField(_("text"))
    details_en = models.CharField(_("details"), max_length=200)
    name_ar = models.CharField(_("name in Arabic"), max_length=80, blank=True)
    line_ar = models.CharField(_("first line in Arabic"), max_length=200, blank=True)
    text_ar = models.TextField(_("text in Arabic"), blank=True)
    details_ar = models.CharField(_("details in Arabic"), max_length=200, blank=True)

    name, line, text, details = Translated(), Translated(), Translated(), Translated()

    class Meta:
        ordering = ("place",)
        verbose_name = _("product")
        verbose_name_plural = _("products")

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("catalogue:product", args=[self.slug])

    @property
    def art(self) -> str:
        """Its picture, under static/."""
        return f"art/{self.slug}.svg"

    def facts(self, quantity: int = 1) -> dict[str, Any]:
        """The product as the standard event vocabulary describes it, whoever looks at it."""
        return {
            "product_id": self.slug,
            "name": self.name_en,
            "category": self.category.key,
            "price": euros(self.price),
            "quantity": quantity,
            "currency": CURRENCY,
        }


def search(query: str = "", shelf: str = "") -> list[Product]:
    """The products, of one shelf or of all, with words that begin as those of `query`."""
    found = Product.objects.select_related("category")
    if shelf:
        found = found.filter(category__key=shelf)
    words = _words(query)
    return [
        item for item in found if all(any(w.startswith(word) for w in _of(item)) for word in words)
    ]


def _of(item: Product) -> set[str]:
    return _words(f"{item.name} {item.line} {item.text} {item.details}")


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))
