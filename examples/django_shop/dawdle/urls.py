"""Where everything is. Arabic pages are those of the same address below /ar/."""

from django.conf.urls.i18n import i18n_patterns
from django.contrib import admin
from django.urls import include, path
from shop.views import counter

urlpatterns = [
    path("journeykit/", include("journeykit.web.django.urls")),
    # Its readers are the staff, who speak English.
    path("behind-the-counter", counter.show, name="counter"),
    *i18n_patterns(
        path("admin/", admin.site.urls),
        path("", include("shop.urls")),
        prefix_default_language=False,
    ),
]

handler403 = "shop.views.errors.refused"
handler404 = "shop.views.errors.not_found"
