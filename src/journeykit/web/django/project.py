"""What a Django project has of journeykit, made when it is first asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, get_script_prefix, reverse

from journeykit import native
from journeykit.web.django.options import SETTING, read_options
from journeykit.web.endpoints import Endpoints
from journeykit.web.visits import Visits, check_purposes

if TYPE_CHECKING:
    from journeykit.kit import JourneyKit
    from journeykit.web.django.apps import JourneykitConfig
    from journeykit.web.django.options import Options
    from journeykit.web.django.outbox import Outbox

#: The label of our app, and the namespace of its URLs.
LABEL: Final = "journeykit"

_NOT_INSTALLED: Final = (
    'journeykit: "journeykit.web.django" is not in INSTALLED_APPS; add it, or take its middleware '
    "out of MIDDLEWARE and its URLs out of ROOT_URLCONF"
)
_ANOTHER: Final = 'journeykit: INSTALLED_APPS has {name!r}; write "journeykit.web.django" instead'


class Project:
    """
    The kit of a project, and what its parts share.

    Raises:
        ConfigError: The setting or the declarations have mistakes; it names all of them.

        PluginError: A plugin failed while it was asked what it adds.
    """

    def __init__(self) -> None:
        self.options: Options = read_options()
        self.kit: JourneyKit = self.options.make_kit()
        check_purposes(self.kit, self.options.purposes, SETTING, "PURPOSES")
        self.visits = Visits(self.kit.settings.consent)
        self._endpoints: Endpoints | None = None
        self._outbox: Outbox | None = None

    @property
    def endpoints(self) -> Endpoints | None:
        """What is served, where the URLs say; None where they do not."""
        if self._endpoints is None:
            mount = find_mount()
            if mount is not None:
                self._endpoints = Endpoints(self.kit, mount=mount)
        return self._endpoints

    @property
    def outbox(self) -> Outbox:
        """The events that wait in the shop's own databases."""
        if self._outbox is None:
            from journeykit.web.django.outbox import Outbox

            self._outbox = Outbox(self.kit, self.options.outbox)
        return self._outbox

    @property
    def needs_urls(self) -> bool:
        """Whether there is anything to serve."""
        return bool(Endpoints(self.kit))

    @property
    def store_path(self) -> Path | None:
        """The file of the store; None where it is in memory."""
        url, prefix = self.kit.settings.core.store, "sqlite:///"
        if not url.startswith(prefix):
            return None
        return Path(self.kit.settings.base) / url.removeprefix(prefix)

    @property
    def is_secure(self) -> bool:
        """Whether the visitor's cookie is for HTTPS only, however the request came."""
        given = self.options.cookie_secure
        return bool(settings.SESSION_COOKIE_SECURE if given is None else given)

    def close(self) -> None:
        """End what runs for it, and close the kit that was made for it."""
        if self._outbox is not None:
            self._outbox.stop()
        if self.options.toml is not None:
            self.kit.close()


class Holder:
    """Holds the project of this process."""

    def __init__(self) -> None:
        self._lock = native.rlock()
        self._project: Project | None = None

    def get(self) -> Project:
        """Return it, made now if there is none."""
        if self._project is None:
            with self._lock:
                if self._project is None:
                    self._project = Project()
        return self._project

    def forget(self) -> None:
        """Close it; the next one is made by the settings of then."""
        with self._lock:
            project, self._project = self._project, None
        if project is not None:
            project.close()


def get_project() -> Project:
    """
    Return the project of this process.

    Raises:
        django.core.exceptions.ImproperlyConfigured: The app is not installed.

        ConfigError: The setting or the declarations have mistakes; it names all of them.
    """
    try:
        app: JourneykitConfig = apps.get_app_config(LABEL)
    except LookupError as error:
        raise ImproperlyConfigured(_NOT_INSTALLED) from error
    # Any package can be an app, so "journeykit" is one too: an empty one of our label.
    if not hasattr(app, "holder"):
        raise ImproperlyConfigured(_ANOTHER.format(name=app.name))
    return app.holder.get()


def get_kit() -> JourneyKit:
    """
    Return the kit of the project, made now if there is none.

    Raises:
        django.core.exceptions.ImproperlyConfigured: The app is not installed.

        ConfigError: The setting or the declarations have mistakes; it names all of them.
    """
    return get_project().kit


def find_mount() -> str | None:
    """Return the path that our URLs are below, without that of the project; None if not there."""
    try:
        there: str = reverse(f"{LABEL}:endpoint", kwargs={"path": "x"})
    except NoReverseMatch:
        return None
    root: str = get_script_prefix().rstrip("/")
    return there.removeprefix(root).removesuffix("/x")


def root_of(request: Any) -> str:
    """Return the path that the project itself is mounted below; mostly empty."""
    return str(request.META.get("SCRIPT_NAME", "")).rstrip("/")
