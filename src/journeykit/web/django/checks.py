"""
What `manage.py check` says of journeykit: each with an id, and what to do.

Errors are what would stop the server; warnings are what would not work, or not as meant.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's own word
from django.db import DatabaseError, connections
from django.utils import translation

from journeykit.config.settings import Web
from journeykit.exceptions import ConfigError, PluginError
from journeykit.web.django import project as projects
from journeykit.web.django.options import SETTING
from journeykit.web.visitor import COOKIE

if TYPE_CHECKING:
    from journeykit.web.django.project import Project

_OURS: Final = "journeykit.web.django.middleware.JourneyKitMiddleware"
_SESSIONS: Final = "django.contrib.sessions.middleware.SessionMiddleware"
_PEOPLE: Final = "django.contrib.auth.middleware.AuthenticationMiddleware"
_GZIP: Final = "django.middleware.gzip.GZipMiddleware"
_POLICIES: Final = (
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "csp.middleware.CSPMiddleware",
)
_COOKIES: Final = ("SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "LANGUAGE_COOKIE_NAME")


def register() -> None:
    """Register all checks."""
    checks.register(_check_settings, checks.Tags.compatibility)
    checks.register(_check_middleware, checks.Tags.compatibility)
    checks.register(_check_urls, checks.Tags.urls)
    checks.register(_check_policy, checks.Tags.security)
    checks.register(_check_cookie, checks.Tags.security)
    checks.register(_check_deployed_cookie, checks.Tags.security, deploy=True)
    checks.register(_check_store, checks.Tags.files)
    checks.register(_check_outbox, checks.Tags.database)


def _project() -> Project | None:
    """Return the project; None where `journeykit.E001` says what is wrong with it."""
    try:
        return projects.get_project()
    except (ConfigError, PluginError):
        return None


def _check_settings(**_: Any) -> list[CheckMessage]:
    try:
        projects.get_project()
    except ConfigError as error:
        hint = _place(error.source)
        return [Error(problem, hint=hint, id="journeykit.E001") for problem in error.problems]
    except PluginError as error:
        return [Error(str(error), hint="Correct the plugin, or disable it.", id="journeykit.E002")]
    return []


def _place(source: str) -> str:
    given = getattr(settings, "JOURNEYKIT", None)
    named = isinstance(given, Mapping) and str(given.get("TOML")) == source
    if named and not Path(source).exists():
        return f"Write {source}, or name another file as TOML in {SETTING}."
    return f"Correct it in {source}."


def _check_middleware(**_: Any) -> Iterator[CheckMessage]:
    listed = list(settings.MIDDLEWARE)
    count = listed.count(_OURS)
    if not count:
        yield Warning(
            "JourneyKitMiddleware is not in MIDDLEWARE, so that requests know no customer.",
            hint=f"Add {_OURS!r} behind {_PEOPLE!r}.",
            id="journeykit.W001",
        )
        return
    if count > 1:
        yield Warning(
            f"JourneyKitMiddleware is in MIDDLEWARE {count} times; only the first does anything.",
            hint="List it once.",
            id="journeykit.W002",
        )
    place = listed.index(_OURS)
    for other in (_SESSIONS, _PEOPLE):
        if other in listed[place:]:
            yield Warning(
                f"JourneyKitMiddleware is before {other.rpartition('.')[2]}, so that it cannot "
                f"tell who is signed in.",
                hint=f"List {_OURS!r} behind {other!r}.",
                id="journeykit.W003",
            )
    project = _project()
    if project is not None and project.options.inject and _GZIP in listed[place:]:
        yield Warning(
            "JourneyKitMiddleware is before GZipMiddleware, so that it finds pages compressed and "
            "puts no scripts into them.",
            hint=f"List {_OURS!r} behind {_GZIP!r}, or use {{% journeykit_prompts %}}.",
            id="journeykit.W004",
        )


def _check_urls(**_: Any) -> Iterator[CheckMessage]:
    project = _project()
    if project is None or not getattr(settings, "ROOT_URLCONF", None):
        return
    mount = projects.find_mount()
    if mount is None:
        if project.needs_urls:
            yield Warning(
                "journeykit's URLs are not included, so that no page can ask a prompt.",
                hint='Add path("journeykit/", include("journeykit.web.django.urls")) to '
                f"{settings.ROOT_URLCONF}.",
                id="journeykit.W005",
            )
        return
    if _varies(mount):
        yield Warning(
            "journeykit's URLs are included in i18n_patterns(), so that they move with the "
            "visitor's language.",
            hint="Include them outside of i18n_patterns().",
            id="journeykit.W006",
        )
    declared = project.kit.settings.web.mount
    if declared not in {Web().mount, mount}:
        yield Warning(
            f"[web] mount is {declared!r}, and the URLs are included at {mount!r}, which counts.",
            hint=f"Take mount out of {project.kit.settings.origin}, or include them there.",
            id="journeykit.W007",
        )


def _varies(mount: str) -> bool:
    if not settings.USE_I18N:
        return False
    for code, _ in settings.LANGUAGES:
        with translation.override(code):
            if projects.find_mount() != mount:
                return True
    return False


def _check_policy(**_: Any) -> Iterator[CheckMessage]:
    project = _project()
    listed = list(settings.MIDDLEWARE)
    if project is None or not project.needs_urls:
        return
    for name, policy in _policies():
        for directive in ("script-src", "connect-src"):
            allowed = policy.get(directive, policy.get("default-src"))
            if allowed is not None and not _allows_us(directive, allowed):
                yield Warning(
                    f"{name} lets no page load from its own origin by {directive}, so that no "
                    f"prompt can ask.",
                    hint=f"Add \"'self'\" to {directive}.",
                    id="journeykit.W008",
                )
    for other in _POLICIES:
        if _OURS in listed and other in listed[listed.index(_OURS) :] and project.options.inject:
            yield Warning(
                f"JourneyKitMiddleware is before {other.rpartition('.')[2]}, so that the scripts "
                f"that it puts into pages lack their nonce.",
                hint=f"List {_OURS!r} behind {other!r}.",
                id="journeykit.W009",
            )


def _policies() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the policies for content that are in force, by the setting that has them."""
    django = getattr(settings, "SECURE_CSP", None)
    if isinstance(django, Mapping):
        yield "SECURE_CSP", django
    other = getattr(settings, "CONTENT_SECURITY_POLICY", None)
    if isinstance(other, Mapping):
        yield "CONTENT_SECURITY_POLICY", other.get("DIRECTIVES") or {}
    older = {
        name.lower(): getattr(settings, f"CSP_{name.replace('-', '_')}")
        for name in ("DEFAULT-SRC", "SCRIPT-SRC", "CONNECT-SRC")
        if getattr(settings, f"CSP_{name.replace('-', '_')}", None) is not None
    }
    if older:
        yield "CSP_DEFAULT_SRC and the like", older


def _allows_us(directive: str, allowed: object) -> bool:
    sources = [allowed] if isinstance(allowed, str) else list(allowed)  # type: ignore[call-overload]
    texts = [str(each).lower() for each in sources]
    named = any(text in {"'self'", "*", "https:", "http:"} or "." in text for text in texts)
    # Django's own sign for a nonce, and django-csp's.
    nonce = any("nonce" in text for text in texts) and directive == "script-src"
    return named or nonce


def _check_cookie(**_: Any) -> Iterator[CheckMessage]:
    for name in _COOKIES:
        if getattr(settings, name, None) == COOKIE:
            yield Error(
                f"{name} is {COOKIE!r}, which is the name of journeykit's own cookie.",
                hint=f"Give {name} another name.",
                id="journeykit.E003",
            )


def _check_deployed_cookie(**_: Any) -> Iterator[CheckMessage]:
    project = _project()
    if project is None or project.is_secure:
        return
    if project.options.cookie_secure is None and settings.SECURE_SSL_REDIRECT:
        return
    yield Warning(
        "The visitor's cookie may be sent over plain HTTP.",
        hint="Set SESSION_COOKIE_SECURE, or COOKIE_SECURE in JOURNEYKIT, to True.",
        id="journeykit.W010",
    )


def _check_store(**_: Any) -> Iterator[CheckMessage]:
    project = _project()
    path = None if project is None else project.store_path
    if path is None:
        return
    place = next((each for each in (path, *path.parents) if each.exists()), Path("/"))
    wrong = None
    if place.is_dir() and not os.access(place, os.W_OK | os.X_OK):
        wrong = place
    elif place == path and not os.access(path, os.W_OK):
        wrong = path
    elif place == path and not os.access(path.parent, os.W_OK | os.X_OK):
        wrong = path.parent
    elif place != path and not place.is_dir():
        wrong = place
    if wrong is not None:
        yield Warning(
            f"The store cannot be written at {wrong}, so that nothing would be recorded.",
            hint="Let the user that runs the shop write there, or name another store in "
            "[journeykit] store.",
            id="journeykit.W011",
        )


def _check_outbox(*, databases: Collection[str] | None = None, **_: Any) -> Iterator[CheckMessage]:
    project = _project()
    # Who migrates is about to make it.
    if project is None or sys.argv[1:2] == ["migrate"]:
        return
    from journeykit.web.django.models import OutboxEvent

    table = OutboxEvent._meta.db_table  # noqa: SLF001 - Django's public part of a model
    for alias in project.options.outbox:
        if alias not in (databases or ()):
            continue
        try:
            there = table in connections[alias].introspection.table_names()
        except DatabaseError:
            # Django's own checks say what is wrong with it.
            continue
        if not there:
            yield Warning(
                f"The table {table} is not in the database {alias!r}, so that "
                f"track_in_transaction() cannot keep its promise.",
                hint=f"Run manage.py migrate --database {alias}, or take it out of OUTBOX in "
                f"JOURNEYKIT.",
                id="journeykit.W012",
            )
