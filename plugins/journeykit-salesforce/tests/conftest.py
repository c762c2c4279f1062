"""An org of Salesforce on this host, and sinks that write to it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from journeykit import Secret
from journeykit.delivery.http import HttpTimeouts
from journeykit_salesforce.mapping import ObjectMapping
from journeykit_salesforce.metadata import describe
from journeykit_salesforce.settings import SalesforceSettings
from journeykit_salesforce.sink import SalesforceSink

#: Short, since tests wait for them.
QUICK = HttpTimeouts(connect=2.0, read=0.5, whole=1.0)


def _load(name: str) -> ModuleType:
    """Return the module *name* beside this one: a folder of tests is no package."""
    spec = importlib.util.spec_from_file_location(
        f"salesforce_{name}", Path(__file__).parent / f"{name}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_fake = _load("org")


@pytest.fixture(autouse=True)
def _alone(this_host_only: None) -> None:
    """Let no test reach another host."""


@pytest.fixture(scope="session")
def fake() -> ModuleType:
    """Return the module of the org."""
    return _fake


@pytest.fixture
def org() -> Any:
    """Return an org to which what the default mapping needs is deployed."""
    org = _fake.Org()
    org.deploy(describe(SalesforceSettings(**CLIENT, url="http://localhost").mappings, "62.0"))
    return org


#: The credentials that the org takes.
CLIENT: dict[str, Any] = {
    "client_id": _fake.CLIENT_ID,
    "secret": Secret(env="SALESFORCE_SECRET"),
}


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the secret where the settings say that it is."""
    monkeypatch.setenv("SALESFORCE_SECRET", _fake.SECRET)


@pytest.fixture
def server(org: Any) -> Iterator[Any]:
    """Return the org's server."""
    with _fake.OrgServer(org) as server:
        yield server


@pytest.fixture
def outside(server: Any) -> Any:
    """Return what touchpoints the org has taken."""
    return _fake.Written(server)


@pytest.fixture
def make_settings(server: Any) -> Callable[..., SalesforceSettings]:
    """Return a function that makes settings for the org."""

    def make_settings(**more: Any) -> SalesforceSettings:
        return SalesforceSettings(**{**CLIENT, "url": server.url, "every": timedelta(0), **more})

    return make_settings


@pytest.fixture
def make_sink(
    make_settings: Callable[..., SalesforceSettings], org: Any
) -> Iterator[Callable[..., SalesforceSink]]:
    """Return a function that makes sinks; what they write to is deployed."""
    made = []

    def make_sink(**more: Any) -> SalesforceSink:
        objects = more.pop("objects", ())
        more["objects"] = tuple(ObjectMapping(**each) for each in objects)
        options = {name: more.pop(name) for name in ("now", "timeouts") if name in more}
        settings = make_settings(**more)
        org.deploy(describe(settings.mappings, settings.api_version))
        made.append(SalesforceSink("crm", settings, **{"timeouts": QUICK, **options}))
        return made[-1]

    yield make_sink
    for sink in made:
        sink.close()


@pytest.fixture(scope="session")
def rsa_key() -> tuple[str, Any]:
    """Return a private key in PEM form, and its public one."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem.decode(), key.public_key()
