from __future__ import annotations

import base64
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme

from journeykit import Secret
from journeykit_webhook.settings import WebhookSettings
from journeykit_webhook.sink import WebhookSink

#: A secret as Standard Webhooks writes it, and another.
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OLD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

#: When sinks believe it is, in seconds since the epoch.
NOW = 1_772_452_800.0


@pytest.fixture(scope="session")
def secret() -> str:
    """Return the secret in force."""
    return SECRET


@pytest.fixture(scope="session")
def old_secret() -> str:
    """Return the secret that was in force before."""
    return OLD_SECRET


@pytest.fixture
def make_settings(monkeypatch: pytest.MonkeyPatch) -> Callable[..., WebhookSettings]:
    """Return a factory of settings that may post to this host, with the secret in a variable."""
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("OLD_WEBHOOK_SECRET", OLD_SECRET)

    def make_settings(url: str, *, rotate: bool = False, **more: Any) -> WebhookSettings:
        if rotate:
            more["old_secrets"] = [Secret(env="OLD_WEBHOOK_SECRET")]
        return WebhookSettings(
            **{"url": url, "secret": Secret(env="WEBHOOK_SECRET"), "allow": ["127.0.0.1"], **more}
        )

    return make_settings


@pytest.fixture
def make_sink(
    make_settings: Callable[..., WebhookSettings],
) -> Iterator[Callable[..., WebhookSink]]:
    """Return a factory of sinks for an address; they are closed at the end."""
    made: list[WebhookSink] = []

    def make_sink(
        url: str,
        *,
        tls: ssl.SSLContext | None = None,
        now: Callable[[], float] = lambda: NOW,
        **more: Any,
    ) -> WebhookSink:
        made.append(WebhookSink("partner", make_settings(url, **more), now=now, tls=tls))
        return made[-1]

    yield make_sink
    for sink in made:
        sink.close()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Return an authority that nobody knows."""
    return trustme.CA()
