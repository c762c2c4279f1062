from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import AsyncClient, override_settings
from django.utils import timezone
from tests.web.django.admin import shop
from tests.web.django.admin.conftest import ours
from tests.web.django.admin.pages import LISTS, details
from tests.web.django.conftest import OURS

from journeykit import Customer, JourneyKit

MakeKit = Callable[..., JourneyKit]


@pytest.fixture
def anna(sign_in: Any) -> Any:
    """Return somebody who may do everything."""
    return sign_in(name="anna", is_superuser=True)


def cells(text: str, head: str) -> list[str]:
    """Return the words of the row that begins with *head*."""
    rows = re.findall(r"<tr>.*?</tr>", text, flags=re.DOTALL)
    words = [
        [re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", cell)).strip() for cell in found]
        for found in (re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows)
    ]
    return next(found for found in words if found and found[0].startswith(head))


# Where there is nothing, and where nothing can be read


@pytest.mark.parametrize("page", LISTS)
def test_an_empty_shop_is_told_what_to_do(make_kit: MakeKit, anna: Any, page: str) -> None:
    """Every list of a shop with nothing in it says so, and what to do next."""
    kit = make_kit(shop.EMPTY)
    kit.track("Product Viewed", customer="1")
    assert kit.flush()
    text = anna.text(f"{page}/")
    assert "<tbody>" not in text
    assert 'class="help"' in text


@pytest.mark.parametrize("page", LISTS)
def test_a_shop_where_nothing_was_recorded(
    make_kit: MakeKit, anna: Any, page: str, tmp_path: Path
) -> None:
    """Before the first event every page says where the store will be, and makes none."""
    make_kit()
    assert "shop.db" in anna.text(f"{page}/")
    assert not (tmp_path / "shop.db").exists()


@pytest.mark.parametrize("page", LISTS)
def test_a_store_that_cannot_be_read(boss: Any, page: str, tmp_path: Path) -> None:
    """Where the store is no database any more, every page says so in a line, and is no error."""
    boss.kit.close()
    for file in tmp_path.glob("shop.db*"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    (tmp_path / "shop.db").write_bytes(b"this is no database" * 500)
    response = boss.get(f"{page}/")
    assert response.status_code == 503
    assert "errornote" in ours(response)
    assert "shop.db" in ours(response)


@pytest.mark.parametrize("page", ["journey/", "case/", "answer/", "customer/u_3A2/change/"])
def test_rows_that_are_damaged(boss: Any, page: str, tmp_path: Path) -> None:
    """Where a row is not what was written the page says so, and what to do."""
    with contextlib.closing(sqlite3.connect(tmp_path / "shop.db")) as db, db:
        db.execute("UPDATE log SET body = x'7b00ff'")
        db.execute("UPDATE state SET data = x'7b00ff'")
    response = boss.get(page)
    assert response.status_code == 503
    assert "journeykit rebuild" in ours(response)


def test_a_newer_store_is_shown_and_not_written(boss: Any, tmp_path: Path) -> None:
    """Where a newer journeykit has changed the store, pages are shown, and a change says so."""
    assert boss.kit.flush()
    with contextlib.closing(sqlite3.connect(tmp_path / "shop.db", isolation_level=None)) as db:
        db.execute("UPDATE meta SET value = 99 WHERE key = 'min_writer'")
    assert boss.get("prompt/").status_code == 200
    sent = {"number": boss.kit.parked()[0].number, "confirmed": "yes"}
    response = boss.post("parkedevent/replay/", **sent)
    assert response.status_code == 503
    assert "upgrade journeykit" in ours(response)


@pytest.mark.parametrize("page", LISTS)
def test_a_mistake_in_the_declarations(anna: Any, page: str) -> None:
    """Where the project has no kit for its mistakes, the pages name them."""
    others = [each for each in settings.MIDDLEWARE if each != OURS]
    mistaken = {"TOML": "/nowhere/journeykit.toml"}
    with override_settings(JOURNEYKIT=mistaken, MIDDLEWARE=others):
        response = anna.get(f"{page}/")
    assert response.status_code == 503
    assert "/nowhere/journeykit.toml" in ours(response)


def test_what_is_not_folded_is_told(boss: Any, tmp_path: Path) -> None:
    """Where the Log is ahead of what is shown, a line says so."""
    assert "not folded yet" not in boss.text("customer/")
    assert boss.kit.flush()
    boss.kit.close()
    other = JourneyKit.from_toml(tmp_path / "journeykit.toml", sinks=[shop.Refusing()])
    other.start(commits_only=True)
    other.track("Product Viewed", customer="99", durable=True)
    with override_settings(JOURNEYKIT={"KIT": other}):
        assert "not folded yet" in boss.text("customer/")
    other.close()


@pytest.mark.parametrize(
    "page",
    [
        *("journey/nowhere/change/", "customer/u_3A999/change/", "customer/x/change/"),
        *("customer/~junk/change/", "customer/~/change/", "painpoint/no.such/change/"),
        *("prompt/nothing/change/", "case/01a20635/change/", "case/zz/change/"),
        *("parkedevent/99/change/", "parkedevent/x/change/", "parkedevent/0/change/"),
        f"parkedevent/{'9' * 40}/change/",
    ],
)
def test_what_there_is_not_leads_to_the_list(boss: Any, page: str) -> None:
    """An address of something unknown shows the list, with a line that says so."""
    response = boss.client.get(f"/admin/journeykit/{page}", follow=True)
    assert response.redirect_chain == [(f"/admin/journeykit/{page.partition('/')[0]}/", 302)]
    assert "There is no" in ours(response)


@pytest.mark.parametrize("page", ["journey", "customer", "painpoint", "prompt", "case"])
def test_what_there_is_not_is_no_markup(boss: Any, page: str) -> None:
    """An address with markup in it is shown as it was written."""
    where = f"/admin/journeykit/{page}/%3Cscript%3Ealert(1)%3C%2Fscript%3E/change/"
    text = ours(boss.client.get(where, follow=True))
    assert "<script" not in text
    assert "There is no" in text


@pytest.mark.parametrize(
    ("page", "query"),
    [
        ("customer/", {"journey": "none", "stage": "none", "after": "\x00~é", "who": "x"}),
        ("customer/", {"journey": "shop", "stage": "none", "after": "~junk"}),
        ("painpoint/", {"journey": "x", "stage": "y", "segment": "z", "value": "é", "all": "2"}),
        ("answer/", {"prompt": "x", "at_least": "x", "since": "soon", "before": "\x00"}),
        ("answer/", {"since": "0001-01-01", "until": "9999-12-31"}),
        ("case/", {"state": "x", "owner": "\x00", "rule": "é", "p": "-1", "before": "x"}),
        ("case/", {"state": "closed", "before": "\x00"}),
        ("parkedevent/", {"owner": "x", "after": "-1"}),
        ("parkedevent/", {"after": "9" * 40}),
    ],
)
def test_junk_in_an_address_is_no_error(boss: Any, page: str, query: dict[str, str]) -> None:
    """Filters and places that are none are left out, or find nothing."""
    assert boss.get(page, **query).status_code == 200


# What pages show


def test_a_journey_has_its_figures(boss: Any) -> None:
    """The list has what was begun and completed; the page has stages, shares and times."""
    assert cells(boss.text("journey/"), "The shop") == ["The shop", "1", "7", "3", "43%", "148.50"]
    text = boss.text("journey/shop/change/")
    stage = cells(text, "Buying")
    assert stage[:2] == ["Buying", "3"]
    assert stage[2:4] == ["6", "86%"]
    assert stage[5] == "4 minutes"
    assert 'href="/admin/journeykit/customer/?journey=shop&amp;stage=buy"' in text
    assert 'href="/admin/journeykit/painpoint/?journey=shop"' in text
    assert "From the beginning to the goal" in text


def test_customers_are_narrowed_down(boss: Any) -> None:
    """The list has people, or visitors; all, or those who are in a stage."""
    everybody = re.findall(r"customer/([^/]+)/change", boss.text("customer/"))
    assert everybody == [f"u_3A{number}" for number in range(1, 7)]
    there = boss.text("customer/", journey="shop", stage="buy")
    assert re.findall(r"customer/([^/]+)/change", there) == ["u_3A1", "u_3A3", "u_3A5"]
    visitors = boss.text("customer/", who="visitors")
    assert re.findall(r"customer/([^/]+)/change", visitors) == ["a_3Anobody-yet"]
    assert "visitor nobody-y…" in visitors


def test_customers_are_shown_a_page_at_a_time(boss: Any, monkeypatch: Any) -> None:
    """Each page leads to the next, whichever filter there is, until everybody was shown."""
    from journeykit.web.django.admin import customers

    monkeypatch.setattr(customers, "_PAGE", 2)
    for query in ("", "?journey=shop"):
        seen, where = [], f"customer/{query}"
        while where:
            text = ours(boss.client.get(f"/admin/journeykit/{where}"))
            seen += re.findall(r"customer/u_3A(\d)/change", text)
            more = re.search(r'href="(\?[^"]*after=[^"]*)"', text)
            where = "customer/" + more[1].replace("&amp;", "&") if more else ""
        assert seen == ["1", "2", "3", "4", "5", "6"]


@pytest.mark.parametrize("given", ["2", "device-2", " 2 "])
def test_a_customer_is_found_by_each_id(boss: Any, given: str) -> None:
    """A user id and a visitor's id both lead to the page of the person, and are in no address."""
    response = boss.post("customer/find/", id=given)
    assert "Customer " in ours(response)
    assert "entered use, completed" in ours(response)


@pytest.mark.parametrize("given", ["", "99", "x" * 9000, "\x00"])
def test_nobody_is_found(boss: Any, given: str) -> None:
    """An id that nobody has leads back to the list."""
    response = boss.post("customer/find/", id=given)
    assert response.redirect_chain[-1][0] == "/admin/journeykit/customer/"


def test_the_page_of_a_customer_tells_their_path(boss: Any) -> None:
    """It has each step with its reason, what they said, their cases and events."""
    text = boss.text(details(boss)["customer"])
    for said in (
        "entered use, completed",
        "a rule of use; the goal",
        "device-2",
        "A low score: after: 1",
        "it was *late*",
        "Payment Declined",
        "cart_id",
        "product",
    ):
        assert said in text


def test_the_page_of_a_customer_leads_to_their_account(boss: Any, sign_in: Any) -> None:
    """Who may see Django's users gets there from the customer, where the ids are those."""
    assert 'href="/admin/auth/user/2/change/"' in boss.text(details(boss)["customer"])
    eve = sign_in("view_customer", name="eve")
    assert "/auth/user/" not in eve.text(details(boss)["customer"])


@pytest.mark.parametrize("zone", ["America/Chicago", "Asia/Tokyo"])
def test_times_at_the_ends_of_the_calendar(boss: Any, zone: str) -> None:
    """Events of the first and of the last day that there are have a page in each time zone."""
    for year, month, day in ((1, 1, 1), (9999, 12, 31)):
        at = datetime(year, month, day, 0 if year == 1 else 23, tzinfo=UTC)
        boss.kit.track("Product Viewed", {"n": year}, customer="clock", at=at)
    shop.settle(boss.kit)
    with timezone.override(zone):
        text = boss.text("customer/u_3Aclock/change/")
    assert "<bdi>9999</bdi>" in text
    assert "<bdi>1</bdi>" in text


def test_an_event_whose_page_is_a_word(boss: Any) -> None:
    """What an application binds as context need not look like that of the browser."""
    with boss.kit.bind_customer(Customer("ctx"), context={"page": "home"}):
        boss.kit.track("Product Viewed")
    shop.settle(boss.kit)
    assert "Product Viewed" in boss.text("customer/u_3Actx/change/")


def test_an_address_of_a_customer_is_in_no_address(boss: Any) -> None:
    """A user id that is an e-mail address is not readable where servers write addresses down."""
    boss.kit.track("Product Viewed", customer="ada@example.org")
    shop.settle(boss.kit)
    text = boss.text("customer/")
    (link,) = re.findall(r'href="([^"]+)"><bdi>ada@example.org', text)
    assert "example" not in link
    assert "entered look" in ours(boss.client.get(link))
    response = boss.post("customer/find/", id="ada@example.org")
    assert response.redirect_chain == [(link, 302)]


def test_pain_points_are_narrowed_down(boss: Any) -> None:
    """The ranking counts only what was found in that journey and stage, or of that segment."""
    head = cells(boss.text("painpoint/"), "payment.declined")
    assert head[:5] == ["payment.declined", "medium", "4", "4", "2"]
    assert cells(boss.text("painpoint/", journey="shop", stage="buy"), "payment")[2] == "4"
    gold = boss.text("painpoint/", segment="plan", value="gold")
    assert cells(gold, "payment")[2] == "2"
    assert "payment.declined" not in boss.text("painpoint/", stage="use", journey="shop")
    none = boss.text("painpoint/", segment="plan", value="platinum")
    assert "Nothing was found there" in none


def test_a_pain_point_has_its_evidence(boss: Any) -> None:
    """Its page has for whom it was found, and the events that prove it."""
    text = boss.text(details(boss)["painpoint"])
    assert text.count('href="/admin/journeykit/customer/u_3A2/change/"') == 2
    assert "c1" in text
    assert "Payment Declined" in text


def test_a_pain_point_that_was_not_found(boss: Any) -> None:
    """A rule that has found nothing has a page that says so."""
    assert "was not found yet" in boss.text("painpoint/search.looped/change/")


def test_answers_are_the_newest_first_and_narrowed_down(boss: Any) -> None:
    """The list has what was said, by prompt, score and day."""
    text = boss.text("answer/")
    assert re.findall(r'<td class="jk-number">(\d)</td>', text) == ["3", "2", "5", "1"]
    assert "held back until there are 5 answers" in text
    assert "it was *late*" in text
    for query, expected in (
        ({"at_most": "2"}, 2),
        ({"at_least": "5"}, 1),
        ({"at_least": "2", "at_most": "2"}, 1),
        ({"prompt": "after"}, 3),
        ({"prompt": "why"}, 0),
        ({"since": f"{datetime.now(UTC) - timedelta(days=2):%Y-%m-%d}"}, 3),
        ({"until": f"{datetime.now(UTC) - timedelta(days=2):%Y-%m-%d}"}, 0),
    ):
        narrowed = boss.text("answer/", **query)
        assert narrowed.count("it was *late*") == expected, query


def test_answers_are_shown_a_page_at_a_time(boss: Any, monkeypatch: Any) -> None:
    """Each page of answers leads to the next."""
    from journeykit.web.django.admin import answers

    monkeypatch.setattr(answers, "_PAGE", 2)
    text = boss.text("answer/")
    assert text.count("it was *late*") == 2
    query = re.search(r'href="\?(before=[^"]+)"', text)
    assert query is not None
    rest = ours(boss.client.get(f"/admin/journeykit/answer/?{query[1]}"))
    assert rest.count("it was *late*") == 1
    assert "First page" in rest
    # The scores are above the first page only.
    assert ("held back" in text, "held back" in rest) == (True, False)


def test_a_score_has_its_interval(boss: Any) -> None:
    """With enough answers the score stands above them, with its interval."""
    for number in range(4):
        who = Customer(f"more-{number}", f"more-device-{number}")
        with boss.kit.bind_customer(who):
            boss.kit.track("Order Completed", {"order_id": f"more-{number}"})
        shop.settle(boss.kit)
        shop.answer(boss.kit, who, 5, "fine")
    shop.settle(boss.kit)
    row = cells(boss.text("answer/"), "after")
    assert row[1] == "CSAT 71%"
    assert re.fullmatch(r"\d+% to \d+%", row[2])
    assert row[3] == "7"


def test_cases_are_narrowed_down(boss: Any) -> None:
    """The list has open cases, by owner, and those that are resolved."""
    case = details(boss)["case"]
    assert case in boss.text("case/")
    assert case in boss.text("case/", owner="care")
    assert case not in boss.text("case/", owner="")
    assert case not in boss.text("case/", owner="boss")
    assert case not in boss.text("case/", state="resolved")
    assert case not in boss.text("case/", state="overdue")


def test_cases_that_are_overdue_are_marked(make_kit: MakeKit, anna: Any) -> None:
    """A case whose clock has run out says so in the list and on its page."""
    kit = make_kit(shop.TOML.replace("[cases]", '[cases]\nfirst_response = "0.001s"'))
    shop.fill(kit)
    anna.kit = kit
    assert "overdue</span>" in anna.text("case/", state="overdue")
    assert "overdue</span>" in anna.text(details(anna)["case"])


def test_the_page_of_a_case_tells_its_story(boss: Any) -> None:
    """It has clocks, what it rests on, and what has happened."""
    text = boss.text(details(boss)["case"])
    for said in ("First response", "running", "it was *late*", "opened → care", "the courier"):
        assert said in text


def test_parked_events_have_their_reason(boss: Any) -> None:
    """The list has whose they are and why; the page has the event, whole."""
    row = cells(boss.text("parkedevent/").partition("<tbody>")[2], "")
    assert row[2:5] == ["Coupon Denied", "sink:crm", "there is no such field: coupon"]
    assert "SPRING" in boss.text(details(boss)["parkedevent"])


def test_parked_events_are_shown_a_page_at_a_time(boss: Any, monkeypatch: Any) -> None:
    """Each page of parked events leads to the next, of all or of one owner."""
    from journeykit.web.django.admin import parked

    for number in range(4):
        boss.kit.track("Coupon Denied", {"coupon": f"C{number}"}, customer="1")
    shop.settle(boss.kit)
    numbers = [str(each.number) for each in boss.kit.parked()]
    assert len(numbers) == 5
    monkeypatch.setattr(parked, "_PAGE", 2)
    for query in ("", "?owner=sink%3Acrm"):
        seen, where = [], f"parkedevent/{query}"
        while where:
            text = ours(boss.client.get(f"/admin/journeykit/{where}"))
            seen += re.findall(r"parkedevent/(\d+)/change", text)
            more = re.search(r'href="(\?[^"]*after=[^"]*)"', text)
            where = "parkedevent/" + more[1].replace("&amp;", "&") if more else ""
        assert seen == numbers


def test_what_customers_write_is_no_markup(boss: Any) -> None:
    """Markup in ids, properties and answers is shown as it was written."""
    evil = "<script>alert(1)</script>"
    with boss.kit.bind_customer(Customer(evil, f"{evil}d")):
        boss.kit.track("Product Viewed", {"product_id": evil})
        boss.kit.track("Payment Declined", {"cart_id": evil})
        boss.kit.track("Coupon Denied", {"coupon": evil})
    shop.settle(boss.kit)
    where = re.findall(r'href="/admin/journeykit/([^"]+)"><bdi>&lt;script', boss.text("customer/"))
    for page in (*where, "painpoint/payment.declined/change/", "parkedevent/"):
        assert evil not in boss.text(page)
        assert "&lt;script&gt;" in boss.text(page) or page == "parkedevent/"


def test_pages_are_translated_as_django_is(boss: Any) -> None:
    """Words that Django has are in the reader's language, and the page has its direction."""
    response = boss.client.get("/admin/journeykit/case/", headers={"Accept-Language": "ar"})
    assert '<html lang="ar" dir="rtl">' in response.content.decode()
    assert response.status_code == 200


def test_an_async_server_has_the_admin_too(boss: Any) -> None:
    """Under ASGI pages are shown, and changes recorded, as elsewhere."""
    client = AsyncClient()
    client.cookies = boss.client.cookies

    async def use() -> tuple[int, int]:
        seen = await client.get("/admin/journeykit/painpoint/")
        sent = {"what": "mute", "reason": "known"}
        where = "/admin/journeykit/painpoint/payment.declined/change/"
        return seen.status_code, (await client.post(where, sent)).status_code

    assert asyncio.run(use()) == (200, 302)
    figures, _ = boss.kit.pain_point("payment.declined")
    assert figures.muted.actor == "boss"


# What pages cost


@pytest.fixture
def counted(boss: Any) -> Iterator[Callable[[str], int]]:
    """Return a function that counts the statements of SQLite's behind a page."""
    store = boss.kit.store

    def counted(page: str) -> int:
        boss.text(page)
        statements: list[str] = []
        with store._read() as db:
            db.set_trace_callback(statements.append)
        boss.text(page)
        with store._read() as db:
            db.set_trace_callback(None)
        return len(statements)

    return counted


@pytest.mark.parametrize("page", [*(f"{each}/" for each in LISTS), "customer/?journey=shop"])
def test_more_customers_cost_no_more_statements(
    boss: Any, counted: Callable[[str], int], page: str, monkeypatch: Any
) -> None:
    """A page reads as often from a store with twice as many customers."""
    from journeykit.web.django.admin import customers

    monkeypatch.setattr(customers, "_PAGE", 3)
    before = counted(page)
    for number in range(20):
        who = Customer(f"more-{number}", f"more-device-{number}")
        boss.kit.track("Product Viewed", customer=who)
        boss.kit.track("Payment Declined", {"cart_id": str(number)}, customer=who)
    shop.settle(boss.kit)
    assert counted(page) <= before
