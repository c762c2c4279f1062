"""Open the Django shop, let pretend customers walk through it, and show how far they came."""

import logging
import os
import secrets
import sys
from pathlib import Path

import django
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.management import call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

from journeykit import JourneyKit

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))

from shoppers import demo  # noqa: E402 - next door


def make_shop(toml: Path, clock: demo.Clock) -> demo.Shop:
    os.environ["DJANGO_SETTINGS_MODULE"] = "dawdle.settings"
    os.environ["SHOP_TOML"] = str(toml)
    from django.conf import settings

    # As the shop's own setting, but for the clock.
    settings.JOURNEYKIT = {
        **{key: value for key, value in settings.JOURNEYKIT.items() if key != "TOML"},
        "KIT": lambda: JourneyKit.from_toml(toml, now=clock),
    }
    django.setup()
    call_command("migrate", verbosity=0)
    call_command("stock", verbosity=0)
    email, password = keeper()

    from dawdle.wsgi import application

    logging.getLogger("django.server").setLevel(logging.ERROR)
    logging.getLogger("django.request").setLevel(logging.ERROR)

    def listen(port: int) -> ThreadedWSGIServer:
        server = ThreadedWSGIServer((demo.HOST, port), WSGIRequestHandler)
        server.set_app(StaticFilesHandler(application))
        return server

    from journeykit.web.django import get_kit

    return demo.Shop(
        get_kit(),
        listen,
        lambda address: [("The admin", f"{address}/admin/  as {email}, password {password}")],
    )


def keeper() -> tuple[str, str]:
    """Somebody to sign in to the admin as, with another password each time."""
    from django.contrib.auth import get_user_model

    customers, password = get_user_model().objects, secrets.token_urlsafe(9)
    email = "keeper@example.com"
    found = customers.filter(email=email).first()
    if found is None:
        customers.create_superuser(email, password, name="The keeper")
    else:
        found.set_password(password)
        found.save()
    return email, password


if __name__ == "__main__":
    sys.exit(demo.run(HERE, make_shop))
