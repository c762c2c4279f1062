"""Include this where journeykit's endpoints shall be: `path("journeykit/", include(...))`."""

from __future__ import annotations

from django.urls import path

from journeykit.web.django.project import LABEL
from journeykit.web.django.views import endpoint

app_name = LABEL
urlpatterns = [path("<path:path>", endpoint, name="endpoint")]
