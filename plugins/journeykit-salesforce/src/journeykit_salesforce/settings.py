"""`[sinks.NAME] type = "salesforce"`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

import attrs

from journeykit import Secret
from journeykit_salesforce.defaults import NAMES, default_mappings
from journeykit_salesforce.mapping import ObjectMapping

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_PEOPLE: Final = ("Contact", "Lead")


def check_url(url: str) -> str:
    """Return *url* without a slash at its end; raises `ValueError` unless it is a secure host."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ValueError(
            f'expected the address of your My Domain, "https://acme.my.salesforce.com", got {url!r}'
        )
    if not parts.hostname or parts.username or parts.path.strip("/") or parts.query:
        raise ValueError(f"expected scheme and host and nothing more, got {url!r}")
    return url.rstrip("/")


def _to_url(url: object) -> str:
    if not isinstance(url, str):
        raise TypeError(f"expected an address, got {url!r}")
    return check_url(url)


def _check_version(_: object, __: object, value: str) -> None:
    if not re.fullmatch(r"\d{2,3}\.\d", value) or float(value) < 46:
        raise ValueError(f'expected a version such as "62.0", not older than 46.0, got {value!r}')


def _check_share(_: object, __: object, value: float) -> None:
    if not 0 < value <= 1:
        raise ValueError(f"expected more than 0 and at most 1, got {value!r}")


def _check_person(_: object, __: object, value: str) -> None:
    if value not in (*_PEOPLE, "none"):
        raise ValueError(f'expected "Contact", "Lead" or "none", got {value!r}')


def _check_defaults(_: object, __: object, value: tuple[str, ...]) -> None:
    if unknown := [name for name in value if name not in NAMES]:
        raise ValueError(f"there is no {unknown[0]!r}; there are {', '.join(NAMES)}")


def _check_every(_: object, __: object, value: timedelta) -> None:
    if value < timedelta(0):
        raise ValueError(f"expected no less than nothing, got {value}")


@attrs.frozen(kw_only=True)
class SalesforceSettings:
    """
    Settings of `[sinks.NAME] type = "salesforce"`.

    Args:
        url: The org's own address, its My Domain.

        client_id: The consumer key of the connected app.

        secret: Its consumer secret, to sign in by client credentials.

        private_key: A private RSA key in PEM form, to sign in by JWT bearer instead.

        username: Who signs in by JWT.

        audience: Whom the JWT is for: `"https://test.salesforce.com"` for a sandbox.

        api_version: The version of the REST API.

        person: The object that stands for people: `"Contact"`, `"Lead"` or `"none"`.

        defaults: Which of the mappings that come with the plugin are in force.

        objects: Further mappings.

        every: How long to gather events for one request; full batches do not wait.

        api_share: How much of the org's requests of a day may be used up, by all its programs
            together, before this one waits.

        hosts: Further hosts that a token may lead to.

        dry_run: Whether records are made and counted, and nothing is sent.
    """

    url: str = attrs.field(converter=_to_url)
    client_id: str
    secret: Secret | None = None
    private_key: Secret | None = None
    username: str | None = None
    audience: str = attrs.field(default="https://login.salesforce.com", converter=_to_url)
    api_version: str = attrs.field(default="62.0", validator=_check_version)
    person: str = attrs.field(default="Contact", validator=_check_person)
    defaults: tuple[str, ...] = attrs.field(default=NAMES, validator=_check_defaults)
    objects: tuple[ObjectMapping, ...] = ()
    every: timedelta = attrs.field(default=timedelta(seconds=30), validator=_check_every)
    api_share: float = attrs.field(default=0.5, validator=_check_share)
    hosts: tuple[str, ...] = ()
    dry_run: bool = False

    def __attrs_post_init__(self) -> None:
        if (self.secret is None) is (self.private_key is None):
            raise ValueError(
                "name either secret (client credentials) or private_key (JWT bearer), "
                'as { env = "NAME" }'
            )
        if self.private_key is not None and not self.username:
            raise ValueError("username is missing: a JWT says who signs in")
        if not self.mappings:
            raise ValueError("objects: nothing would be written; declare one, or keep defaults")

    @property
    def mappings(self) -> list[ObjectMapping]:
        """Every mapping, in the order in which records are written."""
        person = None if self.person == "none" else self.person
        return [*default_mappings(self.defaults, person), *self.objects]
