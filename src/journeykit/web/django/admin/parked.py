"""Pages about parked events: what could not be delivered, why, and another try."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from django.contrib import messages
from django.http import HttpResponseRedirect
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext

from journeykit.model.times import to_datetime
from journeykit.web.django.admin.pages import Pages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from journeykit.kit import JourneyKit
    from journeykit.store.protocol import Parked

#: How many a page has, and so how many are chosen at once.
_PAGE: Final = 100

_DIGITS: Final = 18


class ParkedPages(Pages):
    """Parked events."""

    detail_page = "parked_event"
    changes = True
    more = {"replay/": "replay"}  # noqa: RUF012 - never changed

    def show_list(self, request: Any, kit: JourneyKit) -> Any:
        """Show what is parked, the oldest first."""
        counts = dict(sorted(kit.store.parked_counts().items()))
        owner = request.GET.get("owner") or None
        owner = owner if owner in counts else None
        after = _number(request.GET.get("after")) or 0
        found = kit.parked(owner, after=after, limit=_PAGE + 1)
        return self.page(
            request,
            kit,
            "parked_events",
            capfirst(self.opts.verbose_name_plural),
            rows=[self._row(each) for each in found[:_PAGE]],
            counts=counts,
            owner=owner,
            begins=not after,
            after=found[_PAGE - 1].number if len(found) > _PAGE else None,
            replay_url=self.url("replay"),
        )

    def show_one(self, request: Any, kit: JourneyKit, object_id: str) -> Any:
        """Show one, whole."""
        number = _number(self.key_of(object_id))
        found = [] if not number else kit.parked(after=number - 1, limit=1)
        if not found or found[0].number != number:
            return self.unknown(request, self.key_of(object_id))
        item = found[0]
        return self.page(
            request,
            kit,
            "parked_event",
            f"{item.entry.name} ({item.number})",
            row=self._row(item),
            event=json.dumps(json.loads(item.entry.body), indent=2, ensure_ascii=False),
            replay_url=self.url("replay"),
        )

    def replay(self, request: Any, kit: JourneyKit) -> Any:
        """Ask whether to try again what was chosen, and do it."""
        if request.method != "POST":
            return HttpResponseRedirect(self.url("changelist"))
        numbers = [n for n in map(_number, request.POST.getlist("number")[:_PAGE]) if n]
        owner = request.POST.get("owner") or None
        counts = kit.store.parked_counts()
        if not numbers and owner not in counts:
            messages.warning(request, gettext("Choose what to try again first."))
            return HttpResponseRedirect(self.url("changelist"))
        if request.POST.get("confirmed") == "yes":
            return self._replay(request, kit, None if numbers else owner, numbers)
        count = len(numbers) or counts[owner or ""]
        title = gettext("Try again?")
        return self.page(request, kit, "replay", title, numbers=numbers, owner=owner, count=count)

    def _replay(
        self, request: Any, kit: JourneyKit, owner: str | None, numbers: Sequence[int]
    ) -> Any:
        count = kit.replay_parked(owner, numbers or None)
        if count:
            said = ngettext(
                "%d event is tried again; if it fails again it stays here.",
                "%d events are tried again; what fails again stays here.",
                count,
            )
            self.log(request, owner or ", ".join(map(str, numbers)), said % count)
            messages.success(request, said % count)
        else:
            messages.info(request, gettext("Nothing waits for another try."))
        return HttpResponseRedirect(self.url("changelist"))

    def _row(self, item: Parked) -> dict[str, Any]:
        return {
            "item": item,
            "since": to_datetime(item.parked_at),
            "url": self.url("change", item.number),
        }


def _number(text: str | None) -> int | None:
    """Return the number that *text* is; None if it is none."""
    given = text or ""
    return int(given) if given.isascii() and given.isdigit() and len(given) <= _DIGITS else None
