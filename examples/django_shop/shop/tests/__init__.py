"""The shop's own tests: `python manage.py test`."""
