"""Pages about pain points: where it hurts, for whom, and what was decided about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.http import HttpResponseRedirect
from django.utils.text import capfirst
from django.utils.translation import gettext, gettext_lazy

from journeykit.insight import FoundWhere
from journeykit.model.customer import Customer
from journeykit.web.django.admin.pages import REASON_LENGTH, Pages
from journeykit.web.django.admin.people import name_of

if TYPE_CHECKING:
    from journeykit.insight import PainPointCase
    from journeykit.kit import JourneyKit

#: For how many customers the evidence is shown.
_CASES: Final = 50

MUTE, UNMUTE, RESOLVE = "mute", "unmute", "resolve"


class DecisionForm(forms.Form):
    """What somebody decides about a pain point."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=REASON_LENGTH,
        help_text=gettext_lazy("Why, for those who read it later."),
    )
    cause = forms.CharField(
        label=gettext_lazy("Cause"),
        required=False,
        max_length=REASON_LENGTH,
        help_text=gettext_lazy("What lay behind it, where it is resolved."),
    )


class PainPointPages(Pages):
    """Pain points."""

    detail_page = "pain_point"
    changes = True

    def show_list(self, request: Any, kit: JourneyKit) -> Any:
        """Show what was found, the most customers first."""
        where, chosen = _where(request, kit)
        everything = request.GET.get("all") == "1"
        found = kit.pain_points(everything=everything, where=where)
        rows = [(each, self.url("change", each.code)) for each in found]
        return self.page(
            request,
            kit,
            "pain_points",
            capfirst(self.opts.verbose_name_plural),
            rows=rows,
            chosen=chosen,
            everything=everything,
            journeys=kit.journeys,
            stages=_stages(kit, chosen.get("journey")),
            segments=kit.settings.insight.segments,
            rules=kit.rules,
        )

    def show_one(self, request: Any, kit: JourneyKit, object_id: str) -> Any:
        """Show one pain point with its evidence, and take a decision about it."""
        code = self.key_of(object_id)
        form = DecisionForm(request.POST if request.method == "POST" else None)
        try:
            figures, cases = kit.pain_point(code, _CASES)
            if form.is_bound and form.is_valid() and self._decide(request, kit, code, form):
                return HttpResponseRedirect(request.get_full_path())
        except LookupError:
            return self.unknown(request, code)
        return self.page(
            request,
            kit,
            "pain_point",
            code,
            figures=figures,
            rows=[(self._whose(request, each), each) for each in cases],
            evidence=self._evidence(request, kit, cases),
            form=form,
        )

    def _decide(self, request: Any, kit: JourneyKit, code: str, form: Any) -> bool:
        given = {"actor": name_of(request.user), "reason": form.cleaned_data["reason"]}
        what = request.POST.get("what")
        if what == RESOLVE:
            cause = form.cleaned_data["cause"] or None
            said = gettext("Pain point %s is resolved.") % code
            return self.record(
                request, kit, code, said, lambda: kit.resolve(code, cause=cause, **given)
            )
        if what in (MUTE, UNMUTE):
            undo = what == UNMUTE
            said = (
                gettext("Pain point %s is not muted any more.")
                if undo
                else gettext("Pain point %s is muted.")
            )
            return self.record(
                request, kit, code, said % code, lambda: kit.mute(code, undo=undo, **given)
            )
        form.add_error(None, gettext("Choose what to do."))
        return False

    def _whose(self, request: Any, each: PainPointCase) -> Any:
        if not each.customer:
            return None
        customer = Customer(each.customer) if each.known else Customer(None, each.customer)
        return self.person(request, customer)

    def _evidence(
        self, request: Any, kit: JourneyKit, cases: list[PainPointCase]
    ) -> list[tuple[Any, Any]]:
        """Return the newest events that prove it, with whose they are."""
        ids = [event for case in cases for event in case.evidence[-1:]][:_CASES]
        events = kit.browse.evidence(ids)
        found = ((event, event.customer) for event in reversed(events))
        return [
            (event, self.person(request, who) if who is not None and who else None)
            for event, who in found
        ]


def _where(request: Any, kit: JourneyKit) -> tuple[FoundWhere, dict[str, str]]:
    """Return what the list is narrowed down to; what there is not is left out."""
    asked = {name: request.GET.get(name, "") for name in ("journey", "stage", "segment", "value")}
    chosen: dict[str, str] = {}
    if asked["journey"] in {each.key for each in kit.journeys}:
        chosen["journey"] = asked["journey"]
    if asked["stage"] in _stages(kit, chosen.get("journey")):
        chosen["stage"] = asked["stage"]
    if asked["segment"] in kit.settings.insight.segments and asked["value"]:
        chosen |= {"segment": asked["segment"], "value": asked["value"]}
    segment = (chosen["segment"], chosen["value"]) if "segment" in chosen else None
    where = FoundWhere(journey=chosen.get("journey"), stage=chosen.get("stage"), segment=segment)
    return where, chosen


def _stages(kit: JourneyKit, journey: str | None) -> list[str]:
    found = (
        stage.key for each in kit.journeys if journey in (None, each.key) for stage in each.stages
    )
    return list(dict.fromkeys(found))
