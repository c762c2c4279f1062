"""
A project that takes orders, run as processes of its own by `test_outbox.py` and `test_servers.py`.

`orders.py prepare | take NUMBER [die|rollback] | orders NAME | look | numbers`; the environment says with which database.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path

HERE = Path(os.environ["ORDERS_DIRECTORY"])

settings.configure(
    SECRET_KEY="tests",
    INSTALLED_APPS=["journeykit.web.django"],
    DATABASES={"default": json.loads(os.environ["ORDERS_DATABASE"])},
    JOURNEYKIT={"TOML": HERE / "journeykit.toml"},
    MIDDLEWARE=["journeykit.web.django.middleware.JourneyKitMiddleware"],
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    USE_TZ=True,
)
django.setup()

from journeykit.capture.context import current_customer  # noqa: E402 - Django first
from journeykit.web.django import kit, track_in_transaction  # noqa: E402


def prepare() -> None:
    """Make the tables."""
    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE orders (number varchar(40) PRIMARY KEY)")


def take(number: str, then: str = "") -> None:
    """Take one order: roll it back, or die as soon as it is committed, if told to."""
    if then == "untable":
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE journeykit_outbox RENAME TO elsewhere")
    try:
        with transaction.atomic():
            if then == "die":
                transaction.on_commit(lambda: os.kill(os.getpid(), signal.SIGKILL))
            receipt = track_in_transaction(
                "Order Completed",
                {"order_id": number},
                customer=None if current_customer() else "ada",
                id=f"order-{number}",
            )
            assert receipt
            assert receipt.reason == ("pending" if then == "untable" else None), receipt
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO orders VALUES (%s)", [number])
            if then == "rollback":
                raise LookupError
    except LookupError:
        pass


def look(request: HttpRequest) -> HttpResponse:
    """Answer with a page that somebody looks at."""
    return HttpResponse(str(bool(kit.track("Product Viewed"))))


async def alook(request: HttpRequest) -> HttpResponse:
    """Answer likewise, in the loop."""
    return HttpResponse(str(bool(kit.track("Product Viewed"))))


def order(request: HttpRequest, number: str) -> HttpResponse:
    """Take an order; every third is rolled back."""
    take(number, "rollback" if int(number.rpartition("-")[2]) % 3 == 0 else "")
    return HttpResponse("thanks")


urlpatterns = [path("look", look), path("alook", alook), path("order/<number>", order)]
wsgi = get_wsgi_application()
asgi = get_asgi_application()


def main() -> None:
    """Do what the arguments say."""
    match sys.argv[1:]:
        case ["prepare"]:
            prepare()
        case ["prepare-again"]:
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE elsewhere RENAME TO journeykit_outbox")
        case ["take", number, *then]:
            take(number, *then)
            kit.close()
        case ["orders", name]:
            # Until it is killed: every third is rolled back.
            for number in range(1_000_000):
                take(f"{name}-{number}", "rollback" if number % 3 == 0 else "")
                if number == 1:
                    (HERE / f"{name}.began").touch()
        case ["look"]:
            # What every process does from its first request on; ends when the outbox is empty.
            from journeykit.web.django.models import OutboxEvent
            from journeykit.web.django.project import get_project

            get_project().outbox.begin()
            deadline = time.monotonic() + 25
            while OutboxEvent.objects.exists():
                assert time.monotonic() < deadline, "rows are left"
                time.sleep(0.05)
            assert kit.flush()
        case ["numbers"]:
            with connection.cursor() as cursor:
                cursor.execute("SELECT number FROM orders")
                sys.stdout.write(json.dumps([number for (number,) in cursor.fetchall()]))


if __name__ == "__main__":
    main()
