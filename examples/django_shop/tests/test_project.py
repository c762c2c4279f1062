"""What Django's own commands say of the shop."""

import gettext
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

EXAMPLE = Path(__file__).resolve().parent.parent
ARABIC = EXAMPLE / "shop" / "locale" / "ar" / "LC_MESSAGES"


@pytest.mark.slow
def test_the_shop_s_own_tests_pass(place: Any) -> None:
    """All tests that a Django developer would run pass, with warnings as errors."""
    done = place.manage("test", "shop", "--buffer", PYTHONWARNINGS="error")
    assert done.returncode == 0, done.stderr
    found = re.search(r"Ran (\d+) tests", done.stderr)
    assert found, done.stderr
    assert int(found[1]) > 40
    assert "skipped" not in done.stderr


def test_deployed_nothing_is_to_be_said(place: Any) -> None:
    """Reached by a name of its own, the shop gives Django's checks nothing to say."""
    command = ("check", "--deploy", "--database", "default", "--fail-level", "INFO")
    done = place.manage(*command, SHOP_HOSTS="shop.example.com")
    assert done.returncode == 0, done.stderr
    assert "no issues (0 silenced)" in done.stdout


def test_here_nothing_of_ours_is_to_be_said(place: Any) -> None:
    """On this machine only, over plain HTTP, the checks name what is missing, and the cookie."""
    done = place.manage("check", "--deploy", "--database", "default")
    assert done.returncode == 0
    assert "security.W008" in done.stderr
    assert re.findall(r"journeykit\.\w+", done.stderr) == ["journeykit.W010"]
    assert place.manage("check", "--database", "default").stdout.startswith("System check id")


def test_a_name_closes_plain_http(place: Any) -> None:
    """With a name the shop answers over HTTPS only, and without one only this machine."""
    script = (
        "from django.test import Client\n"
        "for host in ('shop.example.com', 'localhost'):\n"
        "    answer = Client().get('/products', headers={'host': host})\n"
        "    print(answer.status_code, answer.headers.get('Location'))\n"
    )
    named = place.manage("shell", "-c", script, SHOP_HOSTS="shop.example.com")
    assert named.stdout.split("\n")[-3:-1] == ["301 https://shop.example.com/products", "400 None"]
    here = place.manage("shell", "-c", script)
    assert here.stdout.split("\n")[-3:-1] == ["400 None", "200 None"]


def test_no_migration_is_missing(place: Any) -> None:
    """The migrations are those of the models."""
    done = place.manage("makemigrations", "--check", "--dry-run")
    assert done.returncode == 0, done.stdout


def test_every_text_is_there_in_arabic() -> None:
    """Each message has its translation, in all forms of a number, and none is a guess."""
    with (ARABIC / "django.po").open("rb") as file:
        catalog = read_po(file, locale="ar")
    assert catalog.num_plurals == 6
    assert len(catalog) > 200
    for message in catalog:
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        assert all(strings), message.id
        assert not message.id or not message.fuzzy, message.id
        assert not message.pluralizable or len(strings) == 6, message.id


def test_the_texts_are_compiled() -> None:
    """What Django reads is what the translators have written."""
    with (ARABIC / "django.po").open("rb") as file:
        written = read_po(file, locale="ar")
    with (ARABIC / "django.mo").open("rb") as file:
        compiled = read_mo(file)
    assert entries(compiled) == entries(written)


def entries(catalog: Any) -> dict[Any, Any]:
    """The translations by what they translate; a file of either kind lists plurals its own way."""
    return {
        (text(message.context or ""), flat(message.id)): flat(message.string)
        for message in catalog
        if message.id
    }


def text(context: str | bytes) -> str:
    return context.decode() if isinstance(context, bytes) else context


def flat(texts: Any) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else tuple(texts)


@pytest.mark.skipif(shutil.which("xgettext") is None, reason="gettext is not installed")
def test_no_text_is_left_out(tmp_path: Path) -> None:
    """What the code and the templates say is what has been translated."""
    shutil.copytree(EXAMPLE, tmp_path / "shop", ignore=shutil.ignore_patterns("var", ".demo.lock"))
    manage = [sys.executable, "../manage.py", "makemessages", "-l", "ar", "--no-obsolete"]
    subprocess.run(manage, cwd=tmp_path / "shop" / "shop", check=True, capture_output=True)
    file = tmp_path / "shop" / ARABIC.relative_to(EXAMPLE) / "django.po"
    with file.open("rb") as new, (ARABIC / "django.po").open("rb") as old:
        found, known = (entries(read_po(each, locale="ar")) for each in (new, old))
    assert found == known


def test_gettext_finds_the_form_of_a_number() -> None:
    """Arabic has a form for none, one, two, a few, many and the rest."""
    with (ARABIC / "django.mo").open("rb") as file:
        found = gettext.GNUTranslations(file)
    forms = {found.ngettext("thing", "things", number) for number in (1, 2, 3, 11)}
    assert len(forms) == 4
