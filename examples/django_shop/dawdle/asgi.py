"""For servers such as uvicorn: `uvicorn --app-dir examples/django_shop dawdle.asgi:application`."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dawdle.settings")

application = get_asgi_application()
