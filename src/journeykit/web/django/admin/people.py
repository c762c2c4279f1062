"""What the admin calls people: colleagues in the Log, and customers in addresses."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final, NamedTuple

from django.contrib.admin.utils import quote, unquote
from django.contrib.auth import get_user_model
from django.urls import reverse
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.translation import gettext

from journeykit.model.customer import Customer, from_key
from journeykit.web.django import models

#: How many colleagues are offered as owners; who is not among them can be written.
_MOST_COLLEAGUES: Final = 200

#: How many letters of a visitor's id are shown.
_SHORT: Final = 8

_SEALED: Final = "~"
_TAG_BYTES: Final = 16
_SALT: Final = "journeykit.customer"


class Person(NamedTuple):
    """A customer on a page: what they are called, and where more is; None for who may not see."""

    name: str
    is_known: bool
    url: str | None


def name_of(user: Any) -> str:
    """
    Return what the Log calls a colleague: their user name.

    One that is an e-mail address would be taken out of the Log.
    """
    name = str(user.get_username())
    return f"user {user.pk}" if "@" in name else name


def colleagues() -> list[str]:
    """Return the names of those who may come into the admin."""
    people = get_user_model()._default_manager.filter(is_active=True)  # noqa: SLF001
    names = {field.name for field in people.model._meta.get_fields()}  # noqa: SLF001
    staff = people.filter(is_staff=True) if "is_staff" in names else people.none()
    return sorted({name_of(user) for user in staff.order_by("pk")[:_MOST_COLLEAGUES]})


def person(request: Any, site: Any, customer: Customer) -> Person:
    """Return a customer as *request* may see them."""
    known = bool(customer.user_id)
    if known:
        name = str(customer.user_id)
    else:
        begin = (customer.anonymous_id or "")[:_SHORT]
        name = gettext("visitor %(begin)s…") % {"begin": begin}
    may = customer and may_see(request, site, models.Customer)
    return Person(name, known, customer_url(site, customer) if may else None)


def may_see(request: Any, site: Any, model: type) -> bool:
    """Return whether *site* has pages about *model*, and *request* may see them."""
    pages = site._registry.get(model)  # noqa: SLF001
    return pages is not None and bool(pages.has_view_permission(request))


def customer_url(site: Any, customer: Customer) -> str:
    """Return where a customer is shown."""
    given = [quote(to_address(customer.key))]
    url: str = reverse("admin:journeykit_customer_change", args=given, current_app=site.name)
    return url


def customer_at(object_id: str) -> Customer | None:
    """Return whom an address is about; None if nobody."""
    key = from_address(unquote(object_id))
    customer = None if key is None else from_key(key)
    return customer if customer and key == customer.key else None


def to_address(key: str) -> str:
    """
    Return what stands for *key* in addresses, which servers write down.

    A key with an e-mail address in it is made unreadable with the secret key of the project.
    """
    if "@" not in key and not key.startswith(_SEALED):
        return key
    data = key.encode()
    tag = _tag(data)
    sealed = tag + _mixed(data, tag)
    return _SEALED + base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def from_address(text: str) -> str | None:
    """Return the key that *text* stands for; None if for none."""
    if not text.startswith(_SEALED):
        return text
    coded = text.removeprefix(_SEALED)
    try:
        sealed = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))
        data = _mixed(sealed[_TAG_BYTES:], sealed[:_TAG_BYTES])
        if not constant_time_compare(_tag(data), sealed[:_TAG_BYTES]):
            return None
        return data.decode()
    except (binascii.Error, ValueError):
        return None


def _tag(data: bytes) -> bytes:
    tag: bytes = salted_hmac(f"{_SALT}.tag", data, algorithm="sha256").digest()[:_TAG_BYTES]
    return tag


def _mixed(data: bytes, tag: bytes) -> bytes:
    """Return *data* with a stream of bytes mixed in that the tag begins; twice is as before."""
    stream = b""
    while len(stream) < len(data):
        place = tag + len(stream).to_bytes(4)
        stream += salted_hmac(f"{_SALT}.stream", place, algorithm="sha256").digest()
    return bytes(one ^ other for one, other in zip(data, stream, strict=False))
