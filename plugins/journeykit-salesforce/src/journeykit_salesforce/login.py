"""Signs in to Salesforce: by client credentials, or by a JWT that a private key signs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import attrs

from journeykit import DeliveryError
from journeykit.delivery.answers import told
from journeykit.model import jsonbytes
from journeykit_salesforce.errors import token_problem
from journeykit_salesforce.settings import SalesforceSettings, check_url

if TYPE_CHECKING:
    import httpx

    from journeykit import Secret

TOKEN_PATH: Final = "/services/oauth2/token"  # noqa: S105 - an address

_JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"

#: How long an assertion is good for, in seconds; Salesforce takes no more than that.
_ASSERTION_SECONDS: Final = 180

#: Where an org may be: what a token leads to must end in one of these.
_HOSTS: Final = (
    ".salesforce.com",
    ".force.com",
    ".salesforce.mil",
    ".cloudforce.com",
    ".sfcrmproducts.cn",
)


@attrs.frozen
class Session:
    """Where the org is, and what lets us in; Salesforce does not say for how long."""

    url: str
    token: str = attrs.field(repr=False)


class Login:
    """
    Gets sessions, and keeps the one that works.

    Args:
        now: The clock for assertions, in seconds since the epoch.
    """

    def __init__(self, settings: SalesforceSettings, now: Callable[[], float]) -> None:
        self._settings = settings
        self._now = now
        self._session: Session | None = None
        if settings.private_key is not None:
            _check_key(settings.private_key)

    def forget(self, session: Session) -> None:
        """Sign in anew next time: *session* has ended."""
        if self._session is session:
            self._session = None

    def session(
        self, client: httpx.Client, exchange: Callable[[httpx.Request], httpx.Response]
    ) -> Session:
        """
        Return the session, signing in if there is none.

        Raises:
            DeliveryError: Nobody answers, or we are not let in; that may be put right.
        """
        if self._session is None:
            url = f"{self._settings.url}{TOKEN_PATH}"
            request = client.build_request("POST", url, data=self._form())
            self._session = self._read(exchange(request))
        return self._session

    def _form(self) -> dict[str, str]:
        settings = self._settings
        if settings.private_key is not None:
            return {"grant_type": _JWT_BEARER, "assertion": self._assertion(settings.private_key)}
        secret = settings.secret.reveal() if settings.secret is not None else ""
        return {
            "grant_type": "client_credentials",
            "client_id": settings.client_id,
            "client_secret": secret,
        }

    def _assertion(self, key: Secret) -> str:
        import jwt

        settings = self._settings
        claims = {
            "iss": settings.client_id,
            "sub": settings.username,
            "aud": settings.audience,
            "exp": int(self._now()) + _ASSERTION_SECONDS,
        }
        return jwt.encode(claims, key.reveal(), algorithm="RS256")

    def _read(self, response: httpx.Response) -> Session:
        where = self._settings.url
        if not response.is_success:
            status = response.status_code
            if 300 <= status < 400:
                msg = f"{where}: HTTP {status}; redirects are not followed; check url"
            elif status >= 500 or status == 429:
                msg = f"{where}: {told(status)}"
            else:
                msg = f"{where}: no token: HTTP {status}: {token_problem(response.content)}"
            raise DeliveryError(msg, retry_after=_seconds(response.headers.get("retry-after")))
        said = _mapping(response.content)
        token, url = said.get("access_token"), said.get("instance_url")
        if not isinstance(token, str) or not isinstance(url, str) or not token.isascii():
            raise DeliveryError(f"{where}: its answer has no token; check url")
        return Session(self._place(url), token)

    def _place(self, url: str) -> str:
        """Return where the org is; a token goes to Salesforce, or to where the settings say."""
        host = urlsplit(url).hostname or ""
        known = {urlsplit(self._settings.url).hostname, *self._settings.hosts}
        try:
            if host in known or host.endswith(_HOSTS):
                return check_url(url)
        except ValueError:
            pass
        msg = f"{self._settings.url}: its token leads to a host that is not Salesforce's"
        raise DeliveryError(f"{msg}; if it is yours, name it in hosts")


def _mapping(body: bytes) -> dict[str, Any]:
    try:
        said = jsonbytes.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _seconds(header: str | None) -> float | None:
    return float(header) if header and header.strip().isdecimal() else None


def _check_key(key: Secret) -> None:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        loaded = load_pem_private_key(key.reveal().encode(), password=None)
    except (ValueError, TypeError):
        # Not what it says: it may quote the key.
        raise ValueError(
            "private_key: expected a private key in PEM form, without a password"
        ) from None
    if not isinstance(loaded, RSAPrivateKey):
        raise ValueError("private_key: expected an RSA key, which Salesforce asks for")  # noqa: TRY004 - a value
