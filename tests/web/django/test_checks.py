from __future__ import annotations

import os
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.core import checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings
from django.urls import include, path

from journeykit import ConfigError, JourneyKit

Project = Callable[..., JourneyKit]

OURS = "journeykit.web.django.middleware.JourneyKitMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
PEOPLE = "django.contrib.auth.middleware.AuthenticationMiddleware"
GZIP = "django.middleware.gzip.GZipMiddleware"
CSP = "django.middleware.csp.ContentSecurityPolicyMiddleware"

PROMPT = """
[[prompts]]
key = "after"
kind = "csat"
when = { event = "Order Completed" }
ask = { always = true }
text = "How was it?"
"""


def _ids(*, deploy: bool = False, **more: Any) -> list[str]:
    found = checks.run_checks(include_deployment_checks=deploy, **more)
    ours = [each for each in found if each.id.startswith("journeykit.")]
    assert all(each.hint for each in ours)
    return sorted(each.id.removeprefix("journeykit.") for each in ours)


def _urls(name: str, patterns: list[Any]) -> str:
    module = types.ModuleType(name)
    module.urlpatterns = patterns
    sys.modules[name] = module
    return name


def test_a_shop_that_is_set_up_hears_nothing(project: Project, database: object) -> None:
    """A project as the documentation has it passes all checks, those for a deployment and its database too."""
    project(PROMPT, settings={"SESSION_COOKIE_SECURE": True})

    assert _ids(deploy=True, databases=["default"]) == []


def test_checks_make_nothing(project: Project, database: object, tmp_path: Path) -> None:
    """To check opens no store and starts no thread."""
    project(PROMPT)
    _ids(deploy=True)

    assert not list(tmp_path.glob("shop*"))


@pytest.mark.parametrize(
    ("middleware", "expected"),
    [
        ([SESSIONS, PEOPLE, OURS], []),
        ([SESSIONS, PEOPLE], ["W001"]),
        ([SESSIONS, PEOPLE, OURS, OURS], ["W002"]),
        ([SESSIONS, OURS, PEOPLE], ["W003"]),
        ([OURS, SESSIONS, PEOPLE], ["W003", "W003"]),
        ([GZIP, SESSIONS, PEOPLE, OURS], []),
        ([SESSIONS, PEOPLE, OURS, GZIP], ["W004"]),
        ([CSP, SESSIONS, PEOPLE, OURS], []),
        ([SESSIONS, PEOPLE, OURS, CSP], ["W009"]),
    ],
)
def test_the_middleware_has_a_place(
    project: Project, database: object, middleware: list[str], expected: list[str]
) -> None:
    """Missing, twice, before who it needs, or before who hides pages from it: each has an id."""
    project(PROMPT, INJECT=True)

    with override_settings(MIDDLEWARE=middleware):
        assert _ids() == expected


def test_the_urls_have_a_place(project: Project, database: object) -> None:
    """URLs that are missing, that move with the language, or that are not where `[web]` says: each has an id."""
    ours = path("jk/", include("journeykit.web.django.urls"))
    nowhere = _urls("urls_nowhere", [])
    moving = _urls("urls_moving", i18n_patterns(ours))

    project(PROMPT)
    with override_settings(ROOT_URLCONF=nowhere):
        assert _ids() == ["W005"]
    with override_settings(ROOT_URLCONF=moving):
        assert _ids() == ["W006"]

    project(f'{PROMPT}\n[web]\nmount = "/other"\n')
    assert _ids() == ["W007"]
    project(f'{PROMPT}\n[web]\nmount = "/own/journeykit"\n')
    assert _ids() == []


def test_urls_are_not_asked_for_where_nothing_is_served(project: Project, database: object) -> None:
    """A project without prompts needs no URLs, and hears nothing of them."""
    project()

    with override_settings(ROOT_URLCONF=_urls("urls_nothing", [])):
        assert _ids() == []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"SECURE_CSP": {"default-src": ["'self'"]}}, []),
        ({"SECURE_CSP": {"default-src": ["'none'"]}}, ["W008", "W008"]),
        ({"SECURE_CSP": {"default-src": ["'self'"], "script-src": ["'none'"]}}, ["W008"]),
        (
            {"SECURE_CSP": {"script-src": ["<CSP_NONCE_SENTINEL>"], "connect-src": ["'self'"]}},
            [],
        ),
        ({"CONTENT_SECURITY_POLICY": {"DIRECTIVES": {"default-src": ["'none'"]}}}, ["W008"] * 2),
        ({"CSP_DEFAULT_SRC": ("'none'",)}, ["W008", "W008"]),
        ({"CSP_DEFAULT_SRC": ("'none'",), "CSP_SCRIPT_SRC": ("'self'",)}, ["W008"]),
        ({"SECURE_CSP": {}}, []),
    ],
)
def test_a_policy_that_blocks_us_is_named(
    project: Project, database: object, settings: Any, expected: list[str]
) -> None:
    """A policy for content that keeps the script or its requests out has an id, whoever's it is."""
    project(PROMPT, settings=settings)

    assert _ids() == expected


def test_cookies_have_names_and_are_secure(project: Project, database: object) -> None:
    """A cookie of Django's by our name is an error; one for plain HTTP a warning of a deployment."""
    project()
    assert _ids(deploy=True) == ["W010"]

    with override_settings(SECURE_SSL_REDIRECT=True):
        assert _ids(deploy=True) == []
    with override_settings(SESSION_COOKIE_NAME="journeykit_id"):
        assert _ids() == ["E003"]
    project(COOKIE_SECURE=False, settings={"SESSION_COOKIE_SECURE": True})
    assert _ids(deploy=True) == ["W010"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_store_that_cannot_be_written_is_named(
    project: Project, database: object, tmp_path: Path
) -> None:
    """A directory in which the store cannot be made has an id."""
    project()
    tmp_path.chmod(0o500)
    try:
        assert _ids() == ["W011"]
    finally:
        tmp_path.chmod(0o700)


def test_a_store_below_a_file_is_named(project: Project, database: object, tmp_path: Path) -> None:
    """A store whose directory is a file has an id, whoever runs the check."""
    (tmp_path / "taken").write_text("")
    toml = tmp_path / "elsewhere.toml"
    toml.write_text(
        '[journeykit]\nstore = "sqlite:///taken/shop.db"\n[consent]\nmode = "opt_out"\n'
    )
    project(TOML=toml)

    assert _ids() == ["W011"]


def test_a_missing_migration_is_named(
    project: Project, database: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where our table is missing, a check of the database says so, but not while somebody migrates."""
    from django.db import connection

    project()
    with connection.schema_editor() as editor:
        editor.execute("ALTER TABLE journeykit_outbox RENAME TO elsewhere")
    try:
        assert _ids() == []
        assert _ids(databases=["default"]) == ["W012"]
        monkeypatch.setattr(sys, "argv", ["manage.py", "migrate"])
        assert _ids(databases=["default"]) == []
        project(OUTBOX=[])
        assert _ids(databases=["default"]) == []
    finally:
        with connection.schema_editor() as editor:
            editor.execute("ALTER TABLE elsewhere RENAME TO journeykit_outbox")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (None, ["is missing, or no dict"]),
        ([], ["is missing, or no dict"]),
        ({}, ["TOML, KIT: only one of both"]),
        ({"TOML": "a.toml", "KIT": "os.getcwd"}, ["TOML, KIT: only one of both"]),
        ({"TOML": 7}, ["TOML: is 7"]),
        ({"TOML": "a.toml", "TOMLS": 1}, ["TOMLS: there is no such key"]),
        ({"TOML": "a.toml", "USER_ID": "no.such.function"}, ["USER_ID: "]),
        ({"TOML": "a.toml", "USER_ID": 7}, ["USER_ID: is 7"]),
        ({"TOML": "a.toml", "PURPOSES": "os.sep"}, ["PURPOSES: is 'os.sep'"]),
        ({"TOML": "a.toml", "INJECT": "yes"}, ["INJECT: is 'yes'"]),
        ({"TOML": "a.toml", "PLUGINS": "one"}, ["PLUGINS: is 'one'"]),
        ({"TOML": "a.toml", "OUTBOX": ["orders"]}, ["OUTBOX: there is no database 'orders'"]),
        ({"KIT": "os.getcwd", "STRICT": True}, ["STRICT: has no effect beside KIT"]),
        ({"KIT": "os.getcwd"}, ["KIT: gave a str"]),
        ({"TOML": 7, "INJECT": 1}, ["TOML: is 7", "INJECT: is 1"]),
    ],
)
def test_every_mistake_of_the_setting_is_named(
    database: object, given: Any, named: list[str]
) -> None:
    """What is wrong in `JOURNEYKIT` is an error each, and what says the same as another is one of both."""
    with override_settings(JOURNEYKIT=given):
        found = [each for each in checks.run_checks() if each.id == "journeykit.E001"]

    assert [text for text, each in zip(named, found, strict=True) if text not in each.msg] == []


def test_every_mistake_of_the_declarations_is_named(project: Project, database: object) -> None:
    """`manage.py check` fails with each mistake in `journeykit.toml`, and where that is."""
    with pytest.raises(ConfigError):
        project("[nonsense]\n[web]\nmount = 7\n")

    with pytest.raises(SystemCheckError) as caught:
        call_command("check")

    text = str(caught.value)
    assert text.count("journeykit.E001") >= 2
    assert "journeykit.toml" in text


def test_a_file_that_is_not_there_is_named_with_the_key(database: object, tmp_path: Path) -> None:
    """Where `TOML` names no file, what to do is to write it, or to name another one there."""
    missing = tmp_path / "nowhere.toml"

    with override_settings(JOURNEYKIT={"TOML": missing}):
        [found] = [each for each in checks.run_checks() if each.id == "journeykit.E001"]

    assert "there is no such file" in found.msg
    assert found.hint == f"Write {missing}, or name another file as TOML in the setting JOURNEYKIT."


def test_agreement_has_to_be_asked(project: Project, database: object) -> None:
    """Where only who has agreed is recorded, a project without `PURPOSES` does not start."""
    with pytest.raises(ConfigError, match="the setting JOURNEYKIT needs PURPOSES, a function"):
        project(consent="opt_in")

    assert _ids() == ["E001"]


def test_the_page_has_every_check_and_every_key() -> None:
    """The documentation of Django says what each id means, and what each key of the setting is."""
    from journeykit.web.django import checks as module
    from journeykit.web.django import options

    root = Path(__file__).resolve().parents[3]
    page = (root / "docs/django.md").read_text(encoding="utf-8")
    source = Path(module.__file__).read_text(encoding="utf-8")

    ids = set(re.findall(r"journeykit\.[EW]\d{3}", source))
    assert len(ids) > 10
    assert set(re.findall(r"^\| `(journeykit\.[EW]\d{3})`", page, re.MULTILINE)) == ids
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE)) == set(options._READERS)
