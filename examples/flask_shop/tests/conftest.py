"""A shop of its own for each test, and its events read back from the file sink."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(EXAMPLE))
# Next door: the pretend customers.
sys.path.append(str(EXAMPLE.parent))

from dawdle import create_app  # noqa: E402
from flask import Flask  # noqa: E402
from flask.testing import FlaskClient  # noqa: E402

Events = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    """Return the example's journeykit.toml, copied where a test may leave data."""
    return Path(shutil.copy(EXAMPLE / "journeykit.toml", tmp_path))


@pytest.fixture
def app(toml: Path) -> Iterator[Flask]:
    """Return a shop with no customers yet."""
    app = create_app(toml=toml)
    app.testing = True
    yield app
    app.extensions["journeykit"].close()


class Customer:
    """A test client that fills in forms as a page gives them."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def get(self, path: str, **options: Any) -> Any:
        return self.client.get(path, **options)

    def post(self, path: str, **fields: Any) -> Any:
        with self.client.session_transaction() as session:
            session.setdefault("csrf", "token")
            fields["csrf"] = session["csrf"]
        return self.client.post(path, data=fields)

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


@pytest.fixture
def customer(app: Flask) -> Customer:
    """Return somebody who has just come in."""
    return Customer(app.test_client())


@pytest.fixture
def another(app: Flask) -> Customer:
    """Return somebody else, at another browser."""
    return Customer(app.test_client())


@pytest.fixture
def events(app: Flask, toml: Path) -> Events:
    """Return a function that reads the touchpoints and facts since it was last called."""
    file, seen = toml.parent / "var" / "events.jsonl", 0

    def events() -> list[dict[str, Any]]:
        nonlocal seen
        assert app.extensions["journeykit"].flush()
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        new, seen = lines[seen:], len(lines)
        found = (json.loads(line) for line in new)
        return [event for event in found if event["kind"] != "derived"]

    return events
