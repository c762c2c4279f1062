"""A Django project for tests: configured once a process, as Django wants it."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.http import HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, override_settings
from django.test.utils import setup_test_environment, teardown_test_environment
from django.urls import include, path
from tests.web.django.processes import Shop, new_database

from journeykit import Event, JourneyKit
from journeykit.web.visitor import COOKIE

OURS = "journeykit.web.django.middleware.JourneyKitMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
PEOPLE = "django.contrib.auth.middleware.AuthenticationMiddleware"
CSRF = "django.middleware.csrf.CsrfViewMiddleware"


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Configure Django, and return its database."""
    database = tmp_path_factory.mktemp("django") / "shop.sqlite3"
    settings.configure(
        SECRET_KEY="tests",
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "journeykit.web.django",
        ],
        MIDDLEWARE=[SESSIONS, CSRF, PEOPLE, OURS],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(database)}},
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        LANGUAGES=[("en", "English"), ("ar", "Arabic")],
        ROOT_URLCONF=_urls(),
        USE_TZ=True,
    )
    django.setup()
    setup_test_environment()
    call_command("migrate", verbosity=0)
    yield database
    connections.close_all()
    asyncio.run(sync_to_async(connections.close_all)())
    teardown_test_environment()


def _page(body: str) -> HttpResponse:
    return HttpResponse(f"<!doctype html><html><body><h1>A shop</h1>{body}</body></html>")


def _kit() -> JourneyKit:
    from journeykit.web.django import kit

    return kit


def _track(request: Any, name: str) -> HttpResponse:
    receipt = _kit().track(name)
    return HttpResponse(receipt.id or f"{receipt.reason}")


async def _atrack(request: Any, name: str) -> HttpResponse:
    receipt = _kit().track(name)
    return HttpResponse(receipt.id or f"{receipt.reason}")


def _stream(request: Any) -> StreamingHttpResponse:
    def pieces() -> Iterator[str]:
        yield "one "
        yield f"{bool(_kit().track('Streamed'))}"

    _kit().track("Before")
    return StreamingHttpResponse(pieces())


async def _astream(request: Any) -> StreamingHttpResponse:
    async def pieces() -> Any:
        yield "one "
        await asyncio.sleep(0)
        yield f"{bool(_kit().track('Streamed'))}"

    _kit().track("Before")
    return StreamingHttpResponse(pieces())


def _sign_in(request: Any, who: str) -> HttpResponse:
    from django.contrib.auth import login
    from django.contrib.auth.models import User

    _kit().track("Seen Before")
    login(request, User.objects.get_or_create(username=who)[0])
    _kit().track("Signed In")
    return HttpResponse("in")


async def _asign_in(request: Any, who: str) -> HttpResponse:
    from django.contrib.auth import alogin
    from django.contrib.auth.models import User

    user, _ = await User.objects.aget_or_create(username=who)
    _kit().track("Seen Before")
    await alogin(request, user)
    _kit().track("Signed In")
    return HttpResponse("in")


def _sign_out(request: Any) -> HttpResponse:
    from django.contrib.auth import logout

    logout(request)
    _kit().track("Signed Out")
    return HttpResponse("out")


async def _asign_out(request: Any) -> HttpResponse:
    from django.contrib.auth import alogout

    await alogout(request)
    _kit().track("Signed Out")
    return HttpResponse("out")


def _quiet(request: Any) -> HttpResponse:
    return _page("quiet")


def _templated(request: Any, tag: str) -> HttpResponse:
    from django.template import engines

    template = engines["django"].from_string("{% load journeykit %}{% " + tag + " %}")
    return _page(template.render({}, None))


def _urls() -> types.ModuleType:
    module = types.ModuleType("shop_urls")
    module.urlpatterns = [
        path("quiet", _quiet, name="quiet"),
        path("tag/<tag>", _templated, name="templated"),
        *_views("s", _track, _stream, _sign_in, _sign_out),
        *_views("a", _atrack, _astream, _asign_in, _asign_out),
        path("own/journeykit/", include("journeykit.web.django.urls")),
    ]
    sys.modules[module.__name__] = module
    return module.__name__  # type: ignore[return-value]


def _views(kind: str, track: Any, stream: Any, sign_in: Any, sign_out: Any) -> list[Any]:
    return [
        path(f"{kind}/track/<name>", track, name="track"),
        path(f"{kind}/stream", stream, name="stream"),
        path(f"{kind}/in/<who>", sign_in, name="sign_in"),
        path(f"{kind}/out", sign_out, name="sign_out"),
    ]


@pytest.fixture
def project(database: Path, tmp_path: Path) -> Iterator[Callable[..., JourneyKit]]:
    """
    Return a function that gives the project its kit, and returns that.

    The text goes into `journeykit.toml`; `consent` is its mode; what is in capitals goes to the
    setting `JOURNEYKIT`, and `settings` to Django's other settings.
    """
    changed: list[Any] = []
    toml = tmp_path / "journeykit.toml"

    def project(
        text: str = "",
        *,
        consent: str = "opt_out",
        strict: bool = True,
        settings: dict[str, Any] | None = None,
        **options: Any,
    ) -> JourneyKit:
        from journeykit.web.django import get_kit

        head = '[journeykit]\nstore = "sqlite:///shop.db"\n'
        toml.write_text(f'{head}[consent]\nmode = "{consent}"\n{text}', encoding="utf-8")
        given = {"TOML": toml, "STRICT": strict, **options}
        changed.append(override_settings(JOURNEYKIT=given, **(settings or {})))
        changed[-1].enable()
        return get_kit()

    yield project
    for each in reversed(changed):
        each.disable()


class Browser:
    """
    A browser, and the kind of server and of view that it meets.

    Args:
        kind: `wsgi`, `asgi`, or `asgi-sync`: an async server and views that are not.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.client = Client() if kind == "wsgi" else AsyncClient()
        self.views = "a" if kind == "asgi" else "s"

    def get(self, page: str, **headers: str) -> Any:
        """Ask for a page of the views of this kind; others begin with a slash."""
        return self._ask("get", page, headers=headers)

    def post(self, page: str, data: Any = None, **more: Any) -> Any:
        """Send something."""
        return self._ask("post", page, data, **more)

    def _ask(self, method: str, page: str, *arguments: Any, **more: Any) -> Any:
        where = page if page.startswith("/") else f"/{self.views}/{page}"
        call = getattr(self.client, method)
        if self.kind == "wsgi":
            return call(where, *arguments, **more)

        async def ask() -> Any:
            response = await call(where, *arguments, **more)
            if response.streaming:
                stream = response.streaming_content
                pieces = [each async for each in stream] if response.is_async else list(stream)
                response.streaming_content = pieces
            return response

        return asyncio.run(ask())

    @property
    def cookie(self) -> str | None:
        """The value of the visitor's cookie."""
        found = self.client.cookies.get(COOKIE)
        return found.value if found is not None and found.value else None


@pytest.fixture(params=["wsgi", "asgi", "asgi-sync"])
def browser(request: pytest.FixtureRequest, database: Path) -> Browser:
    """Return a browser, for each kind of server and view in turn."""
    return Browser(request.param)


@pytest.fixture
def make_browser(database: Path) -> type[Browser]:
    """Return the class of browsers, for a server of one kind."""
    return Browser


@pytest.fixture
def events() -> Callable[[JourneyKit], list[Event]]:
    """Return a function that returns every event of the Log, in order."""

    def events(kit: JourneyKit) -> list[Event]:
        assert kit.flush()
        return [stored.event() for stored in kit.store.read(None, 10_000)]

    return events


def _initdb() -> Path:
    """Return what makes a PostgreSQL; Debian has it beside the path."""
    found = [shutil.which("initdb"), *map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    for each in filter(None, found):
        # The server stands beside it, though perhaps not beside a link to it.
        return Path(each).resolve()
    reason = "there is no PostgreSQL here (apt install postgresql)"
    if os.environ.get("JOURNEYKIT_REQUIRE_POSTGRES") == "1":
        pytest.fail(f"JOURNEYKIT_REQUIRE_POSTGRES=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres() -> Iterator[dict[str, Any]]:
    """Return how Django reaches a PostgreSQL of our own, if the machine has one."""
    initdb = _initdb()
    pytest.importorskip("psycopg")
    directory = Path(tempfile.mkdtemp(prefix="journeykit-pg-"))
    who: dict[str, Any] = {}
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(directory, owner.pw_uid, owner.pw_gid)
        who = {"user": "postgres", "group": owner.pw_gid, "extra_groups": []}
    data = directory / "data"
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(
        [initdb, "-D", data, "-A", "trust", "-U", "shop", "--no-sync"],
        check=True, cwd=directory, **who, **quiet,
    )  # fmt: skip
    server = subprocess.Popen(
        [
            initdb.with_name("postgres"),
            *("-D", data, "-k", directory, "-c", "listen_addresses=", "-c", "fsync=off"),
        ],
        cwd=directory, **who, **quiet,
    )  # fmt: skip
    try:
        yield {"ENGINE": "django.db.backends.postgresql", "HOST": str(directory), "USER": "shop"}
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        shutil.rmtree(directory)


@pytest.fixture(params=["sqlite", "postgres"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    """Return a shop whose processes are real, for each kind of database in turn."""
    if request.param == "sqlite":
        name = str(tmp_path / "orders.sqlite3")
        given = {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": {"timeout": 20}}
    else:
        server = request.getfixturevalue("postgres")
        given = {**server, "NAME": new_database(server, tmp_path.name)}
    return Shop(tmp_path, given)
