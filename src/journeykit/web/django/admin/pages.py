"""What all pages of the admin have in common: who may see them, and what to say without a store."""

from __future__ import annotations

import functools
import json
import time
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import quote, unquote
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.text import capfirst
from django.utils.translation import gettext

from journeykit.exceptions import (
    ConfigError,
    EventRejected,
    PluginError,
    StoreDamaged,
    StoreError,
)
from journeykit.web.django.admin import people
from journeykit.web.django.project import get_kit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from journeykit.kit import JourneyKit
    from journeykit.model.customer import Customer
    from journeykit.model.receipt import Receipt

#: How long a page waits for what it has recorded to be in force, in seconds: mostly a tenth.
_PATIENCE: Final = 2.0
_LOOK_SECONDS: Final = 0.02

_DAMAGED: Final = (
    "The store has rows that are not as they were written: `manage.py journeykit rebuild` makes "
    "again what the Log adds up to; what the Log itself has lost is in a backup."
)

_METHODS: Final = ("GET", "HEAD", "POST")

#: So much of a key Django's own history takes.
_REPR_LENGTH: Final = 200

#: The longest reason or note that is taken.
REASON_LENGTH: Final = 500


class Pages(admin.ModelAdmin):
    """The pages of one kind of thing: a list, and one thing."""

    #: What the pages are called, without `.html`: the list, and one thing.
    list_page = ""
    detail_page = ""
    #: Whether there is anything to change.
    changes = False
    #: What else there is: path → the name of the method and of the address.
    more: Mapping[str, str] = {}
    #: Methods that only look, also by POST.
    looks: frozenset[str] = frozenset()

    def has_add_permission(self, request: Any) -> bool:
        """Return that nobody adds anything: it comes from the Log."""
        return False

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        """Return that nobody deletes anything."""
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        """Return whether there is something that this person may change."""
        return self.changes and bool(super().has_change_permission(request, obj))

    def get_urls(self) -> list[Any]:
        """Return the addresses, under the names that Django's own have."""
        model = f"{self.opts.app_label}_{self.opts.model_name}"
        found = [path("", self._guarded(self.show_list), name=f"{model}_changelist")]
        for where, name in self.more.items():
            found.append(path(where, self._guarded(getattr(self, name)), name=f"{model}_{name}"))
        if self.detail_page:
            view = self._guarded(self.show_one)
            found.append(path("<path:object_id>/change/", view, name=f"{model}_change"))
        return found

    def show_list(self, request: Any, kit: JourneyKit) -> Any:
        """Show all of them."""
        raise NotImplementedError

    def show_one(self, request: Any, kit: JourneyKit, object_id: str) -> Any:
        """Show one."""
        raise NotImplementedError

    # What pages are made of

    def page(self, request: Any, kit: JourneyKit, name: str, title: str, **more: Any) -> Any:
        """Return a page."""
        return self._page(request, name, title, is_behind=kit.is_behind, **more)

    def url(self, name: str, *arguments: Any) -> str:
        """Return the address of a page of this kind; *name* is Django's, such as `changelist`."""
        full = f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}"
        given = [quote(str(each)) for each in arguments]
        found: str = reverse(full, args=given, current_app=self.admin_site.name)
        return found

    def person(self, request: Any, customer: Customer) -> people.Person:
        """Return a customer as this person may see them."""
        return people.person(request, self.admin_site, customer)

    def key_of(self, object_id: str) -> str:
        """Return the key that an address names."""
        return str(unquote(object_id))

    def unknown(self, request: Any, what: str) -> Any:
        """Say that there is no such thing, and show the list."""
        said = gettext("There is no %(name)s “%(key)s”.")
        messages.warning(request, said % {"name": self.opts.verbose_name, "key": what})
        return HttpResponseRedirect(self.url("changelist"))

    # What people do

    def record(
        self,
        request: Any,
        kit: JourneyKit,
        key: str,
        said: str,
        do: Callable[[], Receipt | list[Receipt]],
    ) -> bool:
        """
        Do something, wait until it is in force, and say what has become of it.

        Whoever asks for what cannot be done is told so by *do*, which raises `ValueError` then.

        Args:
            key: Of the thing that it is about.

            said: What was done, as a sentence.
        """
        try:
            done = do()
        except EventRejected as error:
            messages.error(request, gettext("It was not recorded: %s") % error.reason)
            return False
        receipts = done if isinstance(done, list) else [done]
        refused = next((each for each in receipts if not each), None)
        if refused is not None:
            why = f"{refused.reason}: {refused.detail}"
            messages.error(request, gettext("It was not recorded: %s") % why)
            return False
        self.log(request, key, said)
        if _is_in_force(kit):
            messages.success(request, said)
        else:
            later = gettext("It is recorded, and shows as soon as it was folded.")
            messages.warning(request, f"{said} {later}")
        return True

    def log(self, request: Any, key: str, said: str) -> None:
        """Tell Django's own history, which the index of the admin shows."""
        LogEntry.objects.create(
            user_id=request.user.pk,
            content_type=ContentType.objects.get_for_model(self.model),
            object_id=key,
            object_repr=key[-_REPR_LENGTH:],
            action_flag=CHANGE,
            change_message=said,
        )

    # How

    def _guarded(self, view: Callable[..., Any]) -> Any:
        """Return *view* for those who may see it, with the kit; it never fails for the store."""
        only_looks = view.__name__ in self.looks

        @functools.wraps(view)
        def guarded(request: Any, **given: Any) -> Any:
            request.current_app = self.admin_site.name
            if request.method not in _METHODS:
                return HttpResponseNotAllowed(_METHODS)
            writes = request.method == "POST" and not only_looks
            if not self.has_view_permission(request) or (
                writes and not self.has_change_permission(request)
            ):
                raise PermissionDenied
            try:
                kit = get_kit()
                if not _is_there(kit):
                    return self._unavailable(request, None, kit.store.name)
                answer = view(request, kit, **given)
                # A template asks the store, too.
                return answer.render() if isinstance(answer, TemplateResponse) else answer
            except (StoreError, ConfigError, PluginError) as error:
                return self._unavailable(request, error)
            except (json.JSONDecodeError, UnicodeDecodeError):
                return self._unavailable(request, StoreDamaged(_DAMAGED))

        return self.admin_site.admin_view(guarded)

    def _unavailable(self, request: Any, error: Exception | None, store: str = "") -> Any:
        title = capfirst(self.opts.verbose_name_plural)
        lines = [] if error is None else str(error).splitlines()
        page = self._page(request, "unavailable", title, lines=lines, store=store)
        page.status_code = 200 if error is None else 503
        return page.render()

    def _page(self, request: Any, name: str, title: str, **more: Any) -> Any:
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "may_change": self.has_change_permission(request),
            "list_url": self.url("changelist"),
            **more,
        }
        return TemplateResponse(request, f"journeykit/admin/{name}.html", context)


def _is_in_force(kit: JourneyKit) -> bool:
    """Return whether what was recorded is folded; waits for that."""
    deadline = time.monotonic() + _PATIENCE
    try:
        if not kit.catch_up(_PATIENCE):
            return False
        # Where folding is left to a worker, this process has only brought it to the Log.
        while kit.is_behind:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_SECONDS)
    except StoreError:
        return False
    return True


def _is_there(kit: JourneyKit) -> bool:
    """Return whether there is a store; who only looks makes none."""
    sizes = kit.store.sizes()
    return not sizes or any(sizes.values())
