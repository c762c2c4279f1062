"""For servers such as gunicorn: `gunicorn --chdir examples/django_shop dawdle.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dawdle.settings")

application = get_wsgi_application()
