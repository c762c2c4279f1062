"""The project of `tests/web/django`, with Django's admin."""

from __future__ import annotations

import shutil
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from django.core.management import call_command
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import include, path
from tests.web.django.admin import shop
from tests.web.django.conftest import CSRF, OURS, PEOPLE, SESSIONS

from journeykit import JourneyKit

MESSAGES = "django.contrib.messages.middleware.MessageMiddleware"
LOCALE = "django.middleware.locale.LocaleMiddleware"
POLICY = "default-src 'self'; img-src 'self' data:; base-uri 'none'; object-src 'none'"


def strict(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Send a policy for content that allows nothing inline."""

    def middleware(request: Any) -> Any:
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return middleware


def _thanks(request: Any) -> HttpResponse:
    from django.template import engines

    from journeykit.web.django import kit

    kit.track("Order Completed", {"order_id": "now"}, durable=True)
    tag = "{% load journeykit %}{% journeykit_prompts %}"
    page = engines["django"].from_string(tag).render({}, None)
    return HttpResponse(
        f"<!doctype html><html lang=en><title>Shop</title><body><h1>Thanks</h1>{page}</body></html>"
    )


@pytest.fixture(scope="module")
def admin(database: Path) -> Iterator[None]:
    """Have the admin installed, with its tables."""
    from django.contrib import admin

    module = types.ModuleType("admin_urls")
    given: dict[str, Any] = {
        "INSTALLED_APPS": [
            *("django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes"),
            *("django.contrib.sessions", "django.contrib.messages", "django.contrib.staticfiles"),
            "journeykit.web.django",
        ],
        "MIDDLEWARE": [f"{__name__}.strict", SESSIONS, LOCALE, CSRF, PEOPLE, MESSAGES, OURS],
        "TEMPLATES": [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        "STATIC_URL": "/static/",
        "ALLOWED_HOSTS": ["testserver", "127.0.0.1"],
        "ROOT_URLCONF": "admin_urls",
        "USE_I18N": True,
        "JOURNEYKIT": {"KIT": _no_kit},
    }
    with override_settings(**given):
        module.urlpatterns = [  # type: ignore[attr-defined]
            path("admin/", admin.site.urls),
            path("thanks", _thanks, name="thanks"),
            path("journeykit/", include("journeykit.web.django.urls")),
        ]
        sys.modules[module.__name__] = module
        call_command("migrate", verbosity=0)
        yield


def _no_kit() -> Any:
    raise AssertionError("this test has no kit")


@attrs.define
class Admin:
    """Somebody in the admin of a shop."""

    client: Any
    user: Any
    kit: Any = None

    def get(self, page: str, **query: str) -> Any:
        """Open a page."""
        return self.client.get(f"/admin/journeykit/{page}", query)

    def post(self, page: str, **data: Any) -> Any:
        """Send a form, and follow where it leads."""
        given = {name.replace("__", "."): value for name, value in data.items()}
        return self.client.post(f"/admin/journeykit/{page}", given, follow=True)

    def text(self, page: str, **query: str) -> str:
        """Return what is ours of a page that there is."""
        response = self.get(page, **query)
        assert response.status_code == 200, response.content
        return ours(response)


def ours(response: Any) -> str:
    """Return the messages and what is ours of a page."""
    text: str = response.content.decode()
    return text.partition('id="content-start"')[2].partition("<footer")[0]


@contextmanager
def serving() -> Iterator[str]:
    """Serve the project, with its static files, and yield its address."""
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.handlers.wsgi import WSGIHandler
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
    server.daemon_threads = True
    server.set_app(StaticFilesHandler(WSGIHandler()))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.fixture
def sign_in(admin: None) -> Callable[..., Admin]:
    """Return a function that signs somebody in, with rights such as `view_prompt`."""

    def sign_in(*rights: str, name: str = "ada", staff: bool = True, **more: Any) -> Admin:
        from django.contrib.auth.models import Permission, User

        User.objects.filter(username=name).delete()
        user = User.objects.create_user(name, password="x", is_staff=staff, **more)
        found = Permission.objects.filter(content_type__app_label="journeykit", codename__in=rights)
        assert len(found) == len(rights)
        user.user_permissions.set(found)
        client = Client()
        client.force_login(user)
        return Admin(client, user)

    return sign_in


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a shop with something on every page, to be copied."""
    directory = tmp_path_factory.mktemp("filled")
    with declared(directory, shop.TOML) as kit:
        shop.fill(kit)
    return directory


def declared(directory: Path, toml: str, head: str = "") -> JourneyKit:
    """Return the kit of a text, with a sink that refuses."""
    file = directory / "journeykit.toml"
    begin = f'[journeykit]\nstore = "sqlite:///shop.db"\n{head}\n[consent]\nmode = "opt_out"\n'
    file.write_text(begin + toml, encoding="utf-8")
    return JourneyKit.from_toml(file, sinks=[shop.Refusing()])


@pytest.fixture
def make_kit(tmp_path: Path, admin: None) -> Iterator[Callable[..., JourneyKit]]:
    """Return a function that makes the project's kit of a text."""
    made: list[Any] = []

    def make_kit(toml: str = shop.TOML, *, head: str = "") -> JourneyKit:
        kit = declared(tmp_path, toml, head)
        changed = override_settings(JOURNEYKIT={"KIT": kit})
        changed.enable()
        made.append((kit, changed))
        return kit

    yield make_kit
    for kit, changed in reversed(made):
        changed.disable()
        kit.close()


@pytest.fixture
def boss(
    filled: Path, tmp_path: Path, make_kit: Callable[..., JourneyKit], sign_in: Callable[..., Admin]
) -> Admin:
    """Return somebody who may do everything, in a shop with something on every page."""
    shutil.copytree(filled, tmp_path, dirs_exist_ok=True)
    boss = sign_in(name="boss", is_superuser=True)
    boss.kit = make_kit()
    return boss
