"""Fill the shelves from the lists in goods/."""

import tomllib
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from shop.models import Category, Product

GOODS = Path(__file__).parents[2] / "goods"


class Command(BaseCommand):
    help = "Fills the shelves: what is there is brought up to date, and nothing is taken away."

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        english, arabic = (_read(f"{name}.toml") for name in ("products", "products.ar"))
        for place, row in enumerate(english["categories"]):
            key = row.pop("key")
            values = {"place": place, **_texts(row, arabic["categories"].get(key, {}))}
            Category.objects.update_or_create(values, key=key)
        shelves = {shelf.key: shelf for shelf in Category.objects.all()}
        for place, row in enumerate(english["products"]):
            slug = row.pop("slug")
            known = {"category": shelves[row.pop("category")], "price": row.pop("price")}
            values = {"place": place, **known, **_texts(row, arabic["products"].get(slug, {}))}
            Product.objects.update_or_create(values, slug=slug)
        if options["verbosity"]:
            count = len(english["products"])
            self.stdout.write(f"{count} things are on {len(shelves)} shelves.")


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((GOODS / name).read_text("utf-8"))


def _texts(english: dict[str, str], arabic: dict[str, str]) -> dict[str, str]:
    return {f"{key}_en": text for key, text in english.items()} | {
        f"{key}_ar": text for key, text in arabic.items()
    }
