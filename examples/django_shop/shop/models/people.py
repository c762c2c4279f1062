"""Who has an account: customers, who know themselves by an e-mail address, and the staff."""

from typing import Any

from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.db import models
from django.utils.translation import gettext_lazy as _


class CustomerManager(BaseUserManager["Customer"]):
    """Makes accounts, and finds them however the address was typed."""

    def create_user(self, email: str, password: str | None = None, **more: Any) -> "Customer":
        customer = self.model(email=email.lower(), **more)
        customer.set_password(password)
        customer.save(using=self._db)
        return customer

    def create_superuser(self, email: str, password: str, **more: Any) -> "Customer":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **more)

    def get_by_natural_key(self, username: str | None) -> "Customer":
        return self.get(email=(username or "").lower())


class Customer(AbstractUser):
    """Somebody with an account."""

    username = first_name = last_name = None
    name = models.CharField(_("name"), max_length=60)
    email = models.EmailField(_("e-mail address"), unique=True, max_length=120)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = ("name",)

    objects = CustomerManager()

    class Meta:
        verbose_name = _("customer")
        verbose_name_plural = _("customers")

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        super().clean()
        self.email = self.email.lower()

    def get_full_name(self) -> str:
        return self.name

    def get_short_name(self) -> str:
        return self.name
