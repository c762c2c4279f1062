"""
A project that takes orders, run as a process of its own by `test_outbox.py`.

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
from django.core.management import call_command
from django.db import connection, transaction

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
urlpatterns: list[object] = []

from journeykit.web.django import kit, track_in_transaction  # noqa: E402 - Django first


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
                "Order Completed", {"order_id": number}, customer="ada", id=f"order-{number}"
            )
            assert receipt
            assert receipt.reason == ("pending" if then == "untable" else None), receipt
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO orders VALUES (%s)", [number])
            if then == "rollback":
                raise LookupError
    except LookupError:
        pass


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
