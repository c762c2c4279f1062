"""Pages about customers: who they are is their id, and where they were is their path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.contrib.auth import get_user_model
from django.http import HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.utils.text import capfirst
from django.utils.translation import gettext

from journeykit.model.customer import Customer
from journeykit.web.django import models
from journeykit.web.django.admin import people
from journeykit.web.django.admin.pages import Pages
from journeykit.web.django.project import get_project

if TYPE_CHECKING:
    from journeykit.kit import JourneyKit
    from journeykit.model.event import Event

#: How many customers, and how many of one's events, a page has.
_PAGE: Final = 50

#: The most runs of one customer that are told: a till has more.
_RUNS: Final = 20

#: The longest id that is looked for.
_ID_LENGTH: Final = 500


class CustomerPages(Pages):
    """Customers."""

    detail_page = "customer"
    more = {"find/": "find"}  # noqa: RUF012 - never changed
    looks = frozenset({"find"})

    def show_list(self, request: Any, kit: JourneyKit) -> Any:
        """Show customers, a page at a time."""
        chosen = {name: request.GET[name] for name in ("journey", "stage") if request.GET.get(name)}
        journeys = {each.key: each for each in kit.journeys}
        journey = journeys.get(chosen.get("journey", ""))
        if journey is None:
            chosen = {}
        elif chosen.get("stage") not in [None, *(stage.key for stage in journey.stages)]:
            chosen.pop("stage")
        known = request.GET.get("who") != "visitors"
        after = people.from_address(request.GET.get("after", "")) or None
        found = kit.browse.customers(known=known, after=after, limit=_PAGE, **chosen)
        return self.page(
            request,
            kit,
            "customers",
            capfirst(self.opts.verbose_name_plural),
            rows=[(self.person(request, each.customer), each) for each in found.customers],
            known=known,
            chosen=chosen,
            journeys=list(journeys.values()),
            stages=[] if journey is None else journey.stages,
            begins=after is None,
            after=None if found.after is None else people.to_address(found.after),
            find_url=self.url("find"),
        )

    def find(self, request: Any, kit: JourneyKit) -> Any:
        """Go to the customer with an id; it comes in the body, so that no address has it."""
        given = request.POST.get("id", "").strip()[:_ID_LENGTH]
        for customer in (Customer(given), Customer(None, given)):
            if given and kit.browse.customer(customer) is not None:
                return HttpResponseRedirect(people.customer_url(self.admin_site, customer))
        if given:
            said = gettext("Nobody was seen with the id “%s”. Write it whole.")
            messages.warning(request, said % given)
        return HttpResponseRedirect(self.url("changelist"))

    def show_one(self, request: Any, kit: JourneyKit, object_id: str) -> Any:
        """Show one customer: where they are, their path, what they said, and their cases."""
        customer = people.customer_at(object_id)
        found = None if customer is None else kit.explain(customer, _RUNS)
        if customer is None or found is None:
            return self.unknown(request, gettext("with this id"))
        events = kit.browse.events(customer, _PAGE)
        may = request.user.has_perm
        return self.page(
            request,
            kit,
            "customer",
            gettext("Customer %s") % self.person(request, customer).name,
            found=found,
            others=[each[2:] for each in found.known_as if each != found.customer],
            paths=found.paths,
            events=[(event, _step_of(event)) for event in events],
            answers=kit.feedback.answers_of(customer) if may("journeykit.view_answer") else (),
            cases=self._cases(request, kit, customer),
            user_url=self._user_url(request, customer),
        )

    def _cases(self, request: Any, kit: JourneyKit, customer: Customer) -> list[tuple[Any, str]]:
        if not people.may_see(request, self.admin_site, models.Case):
            return []
        site = self.admin_site.name
        return [
            (case, reverse("admin:journeykit_case_change", args=[case.id], current_app=site))
            for case in kit.cases.list(customer=customer, everything=True)
        ]

    def _user_url(self, request: Any, customer: Customer) -> str | None:
        """Return where Django's own user is, where the ids are theirs."""
        model = get_user_model()
        pages: admin.ModelAdmin | None = self.admin_site._registry.get(model)  # noqa: SLF001
        if not customer.user_id or pages is None or get_project().options.user_id is not None:
            return None
        if not pages.has_view_permission(request):
            return None
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"  # noqa: SLF001
        try:
            url: str = reverse(
                name, args=[quote(customer.user_id)], current_app=self.admin_site.name
            )
        except NoReverseMatch:
            return None
        return url


def _step_of(event: Event) -> str | None:
    """Return what an application calls the page that an event was on; contexts hold anything."""
    page = (event.context or {}).get("page")
    return page.get("name") if isinstance(page, dict) else None
