"""A shop of its own for each test, and what it told journeykit."""

from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.test import Client, TransactionTestCase, override_settings

from journeykit import Event
from journeykit.web.django import kit


class Customer:
    """Somebody at a browser."""

    def __init__(self, **options: Any) -> None:
        self.client = Client(**options)

    def get(self, path: str, **more: Any) -> Any:
        return self.client.get(path, **more)

    def post(self, path: str, **fields: Any) -> Any:
        return self.client.post(path, fields)

    def go_to_payment(self, slug: str = "soup-mug") -> None:
        self.post(f"/basket/add/{slug}", quantity=1)
        self.post("/checkout")
        where = {"street": "Footpath 1", "postcode": "8001", "city": "Zürich"}
        self.post("/checkout/address", name="Ada", email="ada@example.com", **where)

    def pay(self, number: str = "4242 4242 4242 4242") -> Any:
        return self.post("/checkout/payment", number=number, expiry="12/39", code="123")

    def sign_up(self, email: str = "ada@example.com") -> Any:
        password = "slowly, slowly"
        return self.post("/account/sign-up", name="Ada", email=email, password=password)


class ShopTestCase(TransactionTestCase):
    """Commits as the shop does, since that is when an order is told."""

    def setUp(self) -> None:
        given = override_settings(
            # A kit of its own, in memory, which raises what it would only count in the shop.
            JOURNEYKIT={**settings.JOURNEYKIT, "STRICT": True},
            PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        )
        given.enable()
        self.addCleanup(given.disable)
        call_command("stock", verbosity=0)
        self.customer, self.another = Customer(), Customer()
        self._seen = 0

    def events(self) -> list[Event]:
        """What customers did since it was last called, and what became known of them."""
        self.assertTrue(kit.flush())
        found = [stored.event() for stored in kit.store.read(None, 10_000)]
        new, self._seen = found[self._seen :], len(found)
        return [
            event
            for event in new
            if event.kind == "touchpoint"
            or event.name in {"customer.identified", "customer.consented"}
        ]

    def names(self) -> list[str]:
        return [event.name for event in self.events()]
