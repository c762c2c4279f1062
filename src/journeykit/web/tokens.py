"""
Signed tokens, which prove that an impression was made for who answers it.

A page gets a token with each question.
It names nobody, and is of no use to anybody else, for another impression, or later.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import os
import re
import secrets
import tempfile
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from journeykit.model.customer import Customer

_log = logging.getLogger("journeykit")

_KEY_BYTES: Final = 32
_FORM: Final = re.compile(r"([0-9a-f]{1,12})\.([A-Za-z0-9_-]{0,32})\.([A-Za-z0-9_-]{22})")


class Problem(StrEnum):
    """What is wrong with a token."""

    #: It is none, was changed, or belongs to another impression or another customer.
    FOREIGN = "foreign"
    #: Its time is over.
    EXPIRED = "expired"


class Tokens:
    """Makes and checks tokens with one key, which all processes of a shop share."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, impression: str, customer: Customer, expires: int, version: str = "") -> str:
        """
        Return a token for *impression*, shown to *customer*.

        Args:
            expires: Until when it is good, in seconds since the epoch.

            version: Which version of the prompt was shown; letters, digits, `_` and `-`.
        """
        subject = next(iter(_subjects(customer)), "")
        return f"{expires:x}.{version}.{self._mac(impression, subject, f'{expires:x}', version)}"

    def check(self, token: object, impression: str, customer: Customer, now: int) -> Problem | None:
        """Return what is wrong with *token*, or None."""
        match = _FORM.fullmatch(token) if isinstance(token, str) else None
        if match is None:
            return Problem.FOREIGN
        expires, version, mac = match.groups()
        # Who has signed in since has one id more, and is still who was asked.
        expected = [
            self._mac(impression, subject, expires, version) for subject in _subjects(customer)
        ]
        if not any(hmac.compare_digest(mac, each) for each in expected):
            return Problem.FOREIGN
        return Problem.EXPIRED if now >= int(expires, 16) else None

    def version(self, token: str) -> str:
        """Return the version of the prompt that a token which was checked is for."""
        return token.split(".")[1]

    def _mac(self, *parts: str) -> str:
        text = "\x1f".join(("journeykit.impression", *parts)).encode("utf-8", "surrogatepass")
        digest = hmac.digest(self._key, text, "sha256")[:16]
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _subjects(customer: Customer) -> list[str]:
    """Return what tells who somebody is, the id that outlives a sign-in first."""
    ids = (("a", customer.anonymous_id), ("u", customer.user_id))
    return [f"{kind}:{value}" for kind, value in ids if value is not None]


def key_of(secret: str) -> bytes:
    """Return the key that follows from a secret of the configuration."""
    return hashlib.blake2b(
        secret.encode(), digest_size=_KEY_BYTES, person=b"journeykit.web"
    ).digest()


def kept_key(path: Path | None) -> bytes:
    """
    Return the key in the file at *path*, which is made once and for its owner only.

    Where there is no place for a file, the key lasts as long as this process.
    """
    if path is None:
        return secrets.token_bytes(_KEY_BYTES)
    with suppress(OSError):
        key = path.read_bytes()
        if len(key) == _KEY_BYTES:
            return key
    try:
        return _make(path)
    except OSError as error:
        _log.warning("journeykit.web_key_not_kept", extra={"error": type(error).__name__})
        return secrets.token_bytes(_KEY_BYTES)


def _make(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    made = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(handle)
        # Whoever comes second takes what the first has made.
        with suppress(FileExistsError):
            path.hardlink_to(made)
        key = path.read_bytes()
        if len(key) != _KEY_BYTES:
            # Cut short by a full disk or a hand: nothing that it signed can be checked any more.
            made.replace(path)
            key = path.read_bytes()
        return key
    finally:
        made.unlink(missing_ok=True)
