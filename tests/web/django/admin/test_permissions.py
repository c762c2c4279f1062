from __future__ import annotations

import io
import json
import sys
import types
from typing import Any

import pytest
from django.test import Client, override_settings
from django.urls import include, path
from tests.web.django.admin.conftest import ours
from tests.web.django.admin.pages import LISTS, details

#: Those with something to change.
CHANGED = ("painpoint", "prompt", "case", "parkedevent")


@pytest.mark.parametrize("page", LISTS)
def test_who_is_not_signed_in_is_asked_to(boss: Any, page: str) -> None:
    """Without a session every page leads to the admin's own sign-in."""
    response = Client().get(f"/admin/journeykit/{page}/")
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("page", LISTS)
def test_customers_of_the_shop_come_nowhere(boss: Any, sign_in: Any, page: str) -> None:
    """Who is no member of the staff is not let in, whatever their permissions."""
    shopper = sign_in(f"view_{page}", name="shopper", staff=False)
    assert shopper.get(f"{page}/").status_code == 302


@pytest.mark.parametrize("page", LISTS)
def test_one_right_opens_one_kind_of_page(boss: Any, sign_in: Any, page: str) -> None:
    """A right to view opens the pages of its kind, and no other."""
    eve = sign_in(f"view_{page}", name="eve")
    opened = {each for each in LISTS if eve.get(f"{each}/").status_code == 200}
    assert opened == {page}
    for kind, where in details(boss).items():
        expected = 200 if kind == page else 403
        assert eve.get(where).status_code == expected


def test_the_index_lists_what_somebody_may_see(boss: Any, sign_in: Any) -> None:
    """The index of the admin names only the kinds that somebody has a right to, with the right."""
    eve = sign_in("view_case", "change_prompt", name="eve")
    text = eve.client.get("/admin/").content.decode()
    assert "/admin/journeykit/case/" in text
    assert "/admin/journeykit/prompt/" in text
    assert "/admin/journeykit/customer/" not in text
    assert 'class="viewlink"' in text
    assert 'class="changelink"' in text


@pytest.mark.parametrize("page", CHANGED)
def test_who_may_only_look_has_no_form_and_is_refused(boss: Any, sign_in: Any, page: str) -> None:
    """A right to view shows no form, and a form that is sent all the same is refused."""
    eve = sign_in(f"view_{page}", name="eve")
    where = details(boss)[page]
    assert "<form" not in ours(eve.get(where))
    before = boss.kit.status()["counters"]["events"]
    assert eve.client.post(f"/admin/journeykit/{where}", {"reason": "no"}).status_code == 403
    assert boss.kit.status()["counters"]["events"] == before


def test_who_may_only_look_replays_nothing(boss: Any, sign_in: Any) -> None:
    """The address that replays is refused to who may only view parked events."""
    eve = sign_in("view_parkedevent", name="eve")
    sent = {"owner": "sink:crm", "confirmed": "yes"}
    assert eve.client.post("/admin/journeykit/parkedevent/replay/", sent).status_code == 403
    assert not boss.kit.parked()[0].replay
    assert "replayed" not in boss.kit.store.counters()


def test_a_right_to_change_is_a_right_to_view(boss: Any, sign_in: Any) -> None:
    """As everywhere in the admin, who may change may view."""
    eve = sign_in(*(f"change_{page}" for page in CHANGED), name="eve")
    assert {eve.get(f"{page}/").status_code for page in CHANGED} == {200}


@pytest.mark.parametrize("page", ["painpoint", "case", "answer"])
def test_customers_are_links_only_for_who_may_see_them(boss: Any, sign_in: Any, page: str) -> None:
    """Who may not see customers reads their ids without a link to their path."""
    eve = sign_in(f"view_{page}", name="eve")
    where = details(boss).get(page, "answer/")
    assert "/customer/" not in ours(eve.get(where))
    assert "/customer/" in boss.text(where)


def test_a_customers_cases_and_answers_need_their_own_rights(boss: Any, sign_in: Any) -> None:
    """The page of a customer has their cases and answers for who may see those, too."""
    eve = sign_in("view_customer", name="eve")
    where = details(boss)["customer"]
    for text, seen in ((ours(eve.get(where)), False), (boss.text(where), True)):
        assert ("A low score" in text) is seen
        assert ("more: it was *late*" in text.partition("Latest events")[0]) is seen


def test_forms_need_a_token(boss: Any) -> None:
    """A form without its token is refused, also the one that only searches."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(boss.user)
    for where in ("prompt/after/change/", "customer/find/", "parkedevent/replay/"):
        assert client.post(f"/admin/journeykit/{where}", {"id": "1"}).status_code == 403


def test_looking_changes_nothing(boss: Any) -> None:
    """No page writes anything to the store when it is opened."""
    kit = boss.kit
    before = kit.store.counters(), kit.store.parked(), len(kit.feedback.changes())
    for where in [*(f"{page}/" for page in LISTS), *details(boss).values(), "prompt/caps/"]:
        boss.text(where)
    assert boss.get("parkedevent/replay/").status_code == 302
    assert boss.get("customer/find/").status_code == 302
    assert kit.flush()
    assert (kit.store.counters(), kit.store.parked(), len(kit.feedback.changes())) == before


def test_other_methods_are_told(boss: Any) -> None:
    """A method that no page knows is answered with those that there are."""
    response = boss.client.put("/admin/journeykit/prompt/")
    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD, POST"


def test_nobody_adds_or_deletes(boss: Any) -> None:
    """There are no pages to add or to delete anything."""
    for page in LISTS:
        assert boss.get(f"{page}/add/").status_code == 404
        assert boss.get(f"{page}/1/delete/").status_code == 404


def test_a_site_of_ones_own(boss: Any, sign_in: Any) -> None:
    """`register` shows all pages on another site, whose links stay on it."""
    from django.contrib.admin import AdminSite

    from journeykit.web.django.admin import register

    site = AdminSite(name="office")
    register(site)
    register(site)
    module: Any = types.ModuleType("office_urls")
    module.urlpatterns = [
        path("office/", site.urls),
        path("journeykit/", include("journeykit.web.django.urls")),
    ]
    sys.modules["office_urls"] = module
    with override_settings(ROOT_URLCONF="office_urls"):
        for page in LISTS:
            assert boss.client.get(f"/office/journeykit/{page}/").status_code == 200
        text = ours(boss.client.get("/office/journeykit/customer/"))
    assert "/office/journeykit/customer/u_3A1/change/" in text
    assert "/admin/" not in text


@pytest.mark.parametrize("missing", ["Customer", "PainPoint", "Case"])
def test_a_site_without_some_of_the_pages(boss: Any, missing: str) -> None:
    """Pages that were taken off a site are linked from none of the others, which are as before."""
    from django.contrib.admin import AdminSite

    from journeykit.web.django import models
    from journeykit.web.django.admin import register

    site = AdminSite(name="part")
    register(site)
    site.unregister(getattr(models, missing))
    module: Any = types.ModuleType("part_urls")
    module.urlpatterns = [
        path("admin/", site.urls),
        path("journeykit/", include("journeykit.web.django.urls")),
    ]
    sys.modules["part_urls"] = module
    pages = {
        **{name: f"{name}/" for name in LISTS},
        **{f"{k}+": v for k, v in details(boss).items()},
    }
    with override_settings(ROOT_URLCONF="part_urls"):
        found = {
            name: boss.client.get(f"/admin/journeykit/{page}")
            for name, page in pages.items()
            if name.rstrip("+") != missing.lower()
        }
    assert {name: each.status_code for name, each in found.items()} == dict.fromkeys(found, 200)
    assert not any(f"/journeykit/{missing.lower()}/" in ours(each) for each in found.values())


def test_names_do_not_differ_from_the_migration(database: object, admin: None) -> None:
    """The migrations say what the models do."""
    from django.core.management import call_command

    call_command("makemigrations", "journeykit", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize("everything", [False, True])
def test_a_dump_of_the_database_leaves_the_names_out(boss: Any, everything: bool) -> None:
    """`dumpdata` asks every model for its rows, and finds none where there is no table."""
    from django.core.management import call_command

    out = io.StringIO()
    call_command("dumpdata", use_base_manager=everything, stdout=out)
    found = {each["model"] for each in json.loads(out.getvalue())}
    assert "auth.user" in found
    assert not {each for each in found if each.startswith("journeykit.")}


def test_a_link_to_the_site_leads_nowhere(boss: Any) -> None:
    """Django's own redirect to a thing on the site finds none of these."""
    from django.contrib.contenttypes.models import ContentType

    from journeykit.web.django.models import Customer

    number = ContentType.objects.get_for_model(Customer).pk
    assert boss.client.get(f"/admin/r/{number}/u:1/").status_code == 404


def test_the_checks_of_django_find_nothing(boss: Any) -> None:
    """Django's own checks of the admin have nothing to say."""
    from django.core import checks

    found = [each.id for each in checks.run_checks() if "admin" in str(each.id)]
    assert found == []


def test_without_the_admin_nothing_of_it_is_imported() -> None:
    """A project without Django's admin has the app, its checks and its command as before."""
    import subprocess

    code = """
import django, sys
from django.conf import settings
settings.configure(INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes",
    "journeykit.web.django"], JOURNEYKIT={"KIT": "x.y"})
django.setup()
from django.apps import apps
assert apps.get_model("journeykit", "Prompt")._meta.managed is False
assert "journeykit.web.django.admin" not in sys.modules
assert "django.contrib.admin" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
